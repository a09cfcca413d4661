"""Removed experiments: their IDs are never given to others, because their results may still be referred to.

Belongs here: what is known of removed experiments. Does not belong here: their results (``garbage``).
"""

import json
from datetime import UTC, datetime
from pathlib import Path

from assay.errors import IdError
from assay.files import write_json
from assay.ids import validate_id


class Tombstones:
    """One small file per removed experiment: when, and the hash of its last spec."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "tombstones"

    def ids(self) -> set[str]:
        """Return the IDs of all removed experiments."""
        return (
            {path.name for path in self.folder.iterdir() if not path.name.startswith(".")}
            if self.folder.is_dir()
            else set()
        )

    def bury(self, experiment_id: str, digest: str = "") -> None:
        """Remember that an experiment was removed; the first to say so counts.

        Args:
            experiment_id: Which one.
            digest: Of its last resolved spec: the same spec may come back. Empty: nothing may.
        """
        path = self.folder / validate_id(experiment_id)
        if not path.exists():
            write_json(path, {"removed": datetime.now(UTC).isoformat(timespec="seconds"), "digest": digest})

    def refuse(self, experiment_id: str, digest: str) -> None:
        """Do nothing unless the experiment was removed and ``digest`` is not that of its last spec.

        Raises:
            IdError: It was; says when, and what can be done.
        """
        path = self.folder / validate_id(experiment_id)
        if path.exists():
            content = json.loads(path.read_bytes())
            if not content["digest"] or content["digest"] != digest:
                raise IdError(
                    f"Experiment {experiment_id!r} was removed ({content['removed']}) and its ID is not used again. "
                    f"Save the spec under another name, such as {experiment_id[:60]}-2, or put the former file back."
                )

    def restore(self, experiment_id: str) -> bool:
        """Forget that an experiment was removed; returns whether it was."""
        path = self.folder / validate_id(experiment_id)
        if not path.exists():
            return False
        path.unlink(missing_ok=True)
        return True
