"""Whether an experiment's results can be made again: the same stages in an empty storage, compared file by file.

Belongs here: running the experiment in a storage of its own, comparing two storages' results of one experiment.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import polars as pl

from assay.errors import SpecError, StorageError
from assay.experiments.contents import stage_results
from assay.experiments.workspace import EXPERIMENTS_VARIABLE, HOME_VARIABLE, STORAGE_VARIABLE
from assay.spec.experiment import ExperimentSpec
from assay.spec.yaml_text import to_yaml
from assay.storage.files import temporary_sibling
from assay.storage.locations.config import DEFAULT_LOCATION
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
        differing: Names of the files that differ.
    """

    stage: str
    files: int
    problem: str = ""
    largest: float | None = 0.0
    differing: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the verdict for readers."""
        by = f", numbers by at most {self.largest:.2g} of the largest" if self.largest else ""
        return f"{self.problem}{by}" if self.problem else f"{pluralize(self.files, 'file')}, every byte the same"

    def is_within(self, tolerance: float) -> bool:
        """Return whether nothing differs by more than this; 0: whether every byte is the same."""
        return not self.problem or (tolerance > 0 and self.largest is not None and self.largest <= tolerance)


def repeat_and_compare(root: Path, experiment_id: str, spec: ExperimentSpec) -> list[StageVerdict]:
    """Make an experiment's results anew in an empty storage, and compare them with those that are stored.

    It takes as long as the experiment did. Nothing that is stored is changed.

    Args:
        root: Storage with its results.
        experiment_id: The experiment.
        spec: Its spec.

    Returns:
        A verdict per stage.

    Raises:
        SpecError: It evaluates the model of another experiment.
        StorageError: It is not finished, or can't be run again.
    """
    if spec.found is not None:
        raise SpecError(experiment_id, [f"it evaluates a model of {spec.found.experiment_id}: verify that experiment"])
    if "analysis" not in stage_results(root, experiment_id):
        raise StorageError(f"Experiment {experiment_id!r} is not finished. Next: assay run {experiment_id}")
    scratch = temporary_sibling(root / "runs" / "verify")  # on the same disk; where it is left, gc finds it
    try:
        _run_anew(experiment_id, spec, scratch)
        return list(compare_results(root, scratch / "storage", experiment_id))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _run_anew(experiment_id: str, spec: ExperimentSpec, scratch: Path) -> None:
    """Run an experiment in a process with a storage and a Dagster home of its own."""
    experiments = scratch / "experiments"
    experiments.mkdir(parents=True)
    # Its place is part of no result: nothing may be written to the location of the original.
    values = {**spec.as_dict(), "exp_out_location": DEFAULT_LOCATION}
    (experiments / f"{experiment_id}.yaml").write_text(to_yaml(values), encoding="utf-8")
    own = {STORAGE_VARIABLE: "storage", EXPERIMENTS_VARIABLE: "experiments", HOME_VARIABLE: "home"}
    environment = {**os.environ, **{name: str(scratch / place) for name, place in own.items()}}
    command = [sys.executable, "-c", "from assay.cli.main import script; script()", "run", experiment_id]
    if subprocess.run(command, env=environment, check=False).returncode:  # noqa: S603
        raise StorageError(f"Experiment {experiment_id!r} could not be run again; the reason is above.")


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
    return StageVerdict(stage, len(files), problem, largest, tuple(differing))


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
