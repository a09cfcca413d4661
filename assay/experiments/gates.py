"""Verdicts of blocking experiment tests, kept so that a later run of the training obeys them too.

Belongs here: storing and asking for verdicts. Does not belong here: the tests.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from assay.errors import DataError
from assay.files import write_json
from assay.ids import validate_id


def store_verdict(
    root: Path, experiment_id: str, kind: str, stage: str, fingerprint: str, failures: Sequence[str]
) -> None:
    """Store what the blocking tests of one kind said about one result of a stage; no failures means passed."""
    path = root / "gates" / validate_id(experiment_id) / stage / f"{kind}.json"
    write_json(path, {"fingerprint": fingerprint, "failures": list(failures)})


def require_passed(root: Path, experiment_id: str, ancestors: Mapping[str, str]) -> None:
    """Do nothing unless the blocking tests of one of exactly these results failed.

    Args:
        root: Storage root.
        experiment_id: Whose verdicts count.
        ancestors: Fingerprint by stage of everything that the caller's inputs were made from.

    Raises:
        DataError: They failed; lists each failure and says how to go on.
    """
    for stage, fingerprint in ancestors.items():
        failures = _failures(root / "gates" / validate_id(experiment_id) / stage, fingerprint)
        if failures:
            message = (
                f"Experiment {experiment_id!r}: {stage} failed a blocking test, so it is not trained. Change the "
                f"data or the {stage} section and materialize {stage} again, or remove the test from exptests."
            )
            raise DataError(message, failures)


def _failures(folder: Path, fingerprint: str) -> list[str]:
    verdicts = [json.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))]
    return [line for verdict in verdicts if verdict["fingerprint"] == fingerprint for line in verdict["failures"]]
