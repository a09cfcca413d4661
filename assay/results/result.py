"""One complete result of a stage, and whether its files still are what they were.

Belongs here: reading a result's folder. Does not belong here: building or finding it (``store``).
"""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from assay.natural import natural_key
from assay.sealing import MANIFEST, describe_files

REPORT = "report.json"

Report = dict[str, Any]


@dataclass(frozen=True)
class Result:
    """A complete, immutable result of one stage.

    Attributes:
        stage: Stage name.
        fingerprint: Hash of everything that went into it.
        folder: Where its files are.
        reused: Whether it existed before it was asked for; says nothing about what it is.
    """

    stage: str
    fingerprint: str
    folder: Path
    reused: bool = field(default=True, compare=False)

    @cached_property
    def report(self) -> Report:
        """The statistics that the stage reported."""
        report: Report = json.loads((self.folder / REPORT).read_bytes())
        return report

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Size and SHA-256 of every file, and what the result was made from."""
        manifest: dict[str, Any] = json.loads((self.folder / MANIFEST).read_bytes())
        return manifest

    @property
    def pictures(self) -> list[Path]:
        """The PNG files made for looking at, sorted by name."""
        return sorted((self.folder / "pictures").glob("*.png"))

    @property
    def net_data(self) -> list[Path]:
        """The PNG files of what a network saw, epoch by epoch."""
        return sorted((self.folder / "net_data").glob("*.png"), key=lambda path: natural_key(path.name))

    @property
    def size_bytes(self) -> int:
        """Sum of the sizes of all files."""
        return sum(entry["size_bytes"] for entry in self.manifest["files"].values())


def verify(result: Result) -> list[str]:
    """Return what differs between a result's files and its manifest; empty when all is well."""
    wanted = result.manifest["files"]
    found = describe_files(result.folder)
    found.pop(MANIFEST, None)
    missing = [f"{name} is missing" for name in wanted if name not in found]
    extra = [f"{name} is not in the manifest" for name in found if name not in wanted]
    changed = [f"{name} has changed" for name in wanted if name in found and found[name] != wanted[name]]
    return missing + extra + changed
