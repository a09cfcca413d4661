"""Whether an experiment's results can be made again: the same stages in an empty storage, compared file by file.

Belongs here: comparing two storages' results of one experiment. Does not belong here: running the experiment.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import polars as pl

from assay.experiments.contents import stage_results
from assay.storage.parquet import read_parquet
from assay.storage.results import Result
from assay.utils.text import pluralize


@dataclass(frozen=True)
class StageVerdict:
    """What became of one stage.

    Attributes:
        stage: Its name.
        files: Number of files compared.
        problem: What differs; empty if every byte is the same.
        largest: Largest difference of a number in its tables, relative to the column's largest; None where something
            other than numbers in tables differs, 0 where nothing does.
    """

    stage: str
    files: int
    problem: str = ""
    largest: float | None = 0.0

    def __str__(self) -> str:
        """Return the verdict for readers."""
        by = f", numbers by at most {self.largest:.2g} of the largest" if self.largest else ""
        return f"{self.problem}{by}" if self.problem else f"{pluralize(self.files, 'file')}, every byte the same"

    def is_within(self, tolerance: float) -> bool:
        """Return whether nothing differs by more than this; 0: whether every byte is the same."""
        return not self.problem or (tolerance > 0 and self.largest is not None and self.largest <= tolerance)


def compare_results(root: Path, again: Path, experiment_id: str) -> Iterator[StageVerdict]:
    """Yield a verdict per stage of an experiment.

    Args:
        root: Storage with its results.
        again: Storage in which they were made anew.
        experiment_id: The experiment, in both.
    """
    stored, made = stage_results(root, experiment_id), stage_results(again, experiment_id)
    for stage in [*stored, *(name for name in made if name not in stored)]:
        if stage not in made:
            yield StageVerdict(stage, 0, "was not made again", None)
        elif stage not in stored:
            yield StageVerdict(
                stage, 0, f"was deleted, so that nothing can be compared: assay run {experiment_id}", None
            )
        else:
            yield _compared(stage, stored[stage], made[stage])


def _compared(stage: str, one: Result, other: Result) -> StageVerdict:
    files = one.manifest["files"]
    if one.fingerprint != other.fingerprint:
        causes = [
            name
            for name in ("code_version", "section", "seed", "inputs")
            if one.manifest.get(name) != other.manifest.get(name)
        ]
        return StageVerdict(stage, 0, f"is another result now: {', '.join(causes) or 'the data'} changed", None)
    theirs = other.manifest["files"]
    differing = [name for name in {**files, **theirs} if _digest(files, name) != _digest(theirs, name)]
    if not differing:
        return StageVerdict(stage, len(files))
    tables = [
        _largest(one.folder / name, other.folder / name) for name in differing if name in files and name in theirs
    ]
    known = [each for each in tables if each is not None]
    largest = max(known) if len(known) == len(differing) else None
    shown = ", ".join(differing[:3]) + (f" and {len(differing) - 3} more" if len(differing) > 3 else "")
    problem = f"{len(differing)} of {pluralize(len(files), 'file')} differ: {shown}"
    return StageVerdict(stage, len(files), problem, largest)


def _digest(files: dict[str, dict[str, str]], name: str) -> str:
    return files[name]["sha256"] if name in files else ""


def _largest(one: Path, other: Path) -> float | None:
    """Return the largest relative difference of two tables' numbers; None for other files or other differences."""
    if one.suffix != ".parquet":
        return None
    first, second = read_parquet(one), read_parquet(other)
    if first.schema != second.schema or len(first) != len(second):
        return None
    numeric = pl.selectors.float()
    if not first.select(~numeric).equals(second.select(~numeric)):
        return None
    largest = 0.0
    for name in first.select(numeric).columns:
        missing = [each.fill_nan(None).is_null() for each in (first[name], second[name])]
        if not missing[0].equals(missing[1]):
            return None
        values, deviations = (each.abs().fill_nan(None).max() for each in (first[name], first[name] - second[name]))
        largest = max(largest, cast(float, deviations or 0.0) / max(cast(float, values or 0.0), 1e-30))
    return largest
