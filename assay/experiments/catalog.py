"""The experiments at a location, read from their own descriptions and never from folder names.

Belongs here: listing and finding experiments. Does not belong here: copying them (``copying``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field, ValidationError

from assay.errors import NotThereYetError, SpecError, StorageError, nearest
from assay.experiments.folders import INFO
from assay.spec.experiment import ExperimentSpec
from assay.spec.ids import is_id
from assay.spec.loading import spec_from
from assay.spec.yaml_text import read_mapping
from assay.storage.files import MANIFEST
from assay.storage.locations.config import Location, location_errors
from assay.storage.locations.filesystem import Tree
from assay.storage.locations.sync import PENDING
from assay.storage.records import FolderManifest, Record, parse_stored

MAX_LISTED = 20
"""Number of experiment IDs that an error message lists."""


@dataclass(frozen=True)
class StoredExperiment:
    """An experiment's folder at a location.

    Attributes:
        experiment_id: ID of the experiment.
        run_id: ID of the run that made the folder; run IDs sort by time.
        task: Task of the experiment.
        prefix: Prefix of the folder name, such as ``REG``.
        folder: Name of the folder below the location.
        results: Fingerprint of each stage's result in the folder.
        evaluates: Whether it evaluates the model of another experiment.
        finished: Whether the folder is complete, with a manifest and without a pending change.
        problem: Why the folder can't be used; empty if nothing in its records is damaged.
    """

    experiment_id: str
    run_id: str
    task: str
    prefix: str
    folder: str
    results: Mapping[str, str]
    evaluates: bool
    finished: bool
    problem: str = ""


def experiments_at(location: Location) -> list[StoredExperiment]:
    """Return the experiments at a location, oldest first; other folders and files are ignored.

    Raises:
        StorageError: The location can't be read.
    """
    with location_errors(location.name):
        folders = location.tree.folders()
        contents, problems = location.tree.read_all(
            [f"{folder}/{name}" for folder in folders for name in (INFO, MANIFEST, PENDING)]
        )
    found = [_experiment(folder, contents, problems) for folder in folders]
    return sorted((each for each in found if each is not None), key=lambda each: (each.run_id, each.folder))


class _Info(Record):
    """What ``experiment_info.yaml`` says, as far as it is needed to find experiments."""

    experiment_id: str
    run_id: str = Field(default="", max_length=200)
    task: str = Field(default="", max_length=200)
    prefix: str = Field(default="", max_length=200)


def _experiment(folder: str, contents: Mapping[str, bytes], problems: Mapping[str, str]) -> StoredExperiment | None:
    """Return the experiment in a folder; None for a folder of something else, which does not describe itself as one."""
    try:
        info = mapping_from(contents[f"{folder}/{INFO}"], folder)
        known = _Info.model_validate(info)
    except (KeyError, SpecError, ValidationError):
        return None
    if not is_id(known.experiment_id):
        return None
    problem = "; ".join(why for name, why in problems.items() if name.startswith(f"{folder}/"))
    manifest: dict[str, Any] = {}
    if f"{folder}/{MANIFEST}" in contents:
        try:
            manifest = parse_stored(contents[f"{folder}/{MANIFEST}"], f"{folder}/{MANIFEST}", FolderManifest)
        except StorageError as error:
            problem = str(error)
    return StoredExperiment(
        experiment_id=known.experiment_id,
        run_id=known.run_id,
        task=known.task,
        prefix=known.prefix,
        folder=folder,
        results=manifest.get("results", {}),
        evaluates=bool(info.get("source")),
        finished=bool(manifest) and not problem and f"{folder}/{PENDING}" not in contents,
        problem=problem,
    )


def mapping_from(content: bytes, name: str) -> dict[str, Any]:
    """Return the keys of a YAML file that somebody else may have written; ``name`` names it in messages.

    Raises:
        SpecError: It is not UTF-8, not YAML, or no mapping.
    """
    try:
        return read_mapping(content.decode(), name)
    except UnicodeDecodeError as error:
        raise SpecError(name, [f"is no text in UTF-8: {error.reason} at byte {error.start:,}"]) from error
    except RecursionError:
        raise SpecError(name, ["is nested too deeply"]) from None
    except ValueError as error:  # such as the date 2026-99-99, or a number of 5,000 digits
        raise SpecError(name, [f"holds a value that YAML can't express: {error}"]) from error


def find_experiment(location: Location, experiment_id: str) -> StoredExperiment:
    """Return the experiment with this ID at a location.

    Raises:
        StorageError: There is none, or more than one; the message lists the candidates.
        NotThereYetError: Its folder is not complete.
    """
    everything = experiments_at(location)
    found = [each for each in everything if each.experiment_id == experiment_id]
    where = f"Location {location.name!r} ({location.tree.shown})"
    if not found:
        raise StorageError(f"{where} has no experiment {experiment_id!r}. {_candidates(experiment_id, everything)}")
    if len(found) > 1:
        folders = ", ".join(each.folder for each in found)
        raise StorageError(f"{where} has {len(found)} experiments {experiment_id!r}: {folders}. Move all but one away.")
    if found[0].problem:
        raise StorageError(f"{where}: {found[0].folder} is damaged: {found[0].problem}. Copy or make it again.")
    if not found[0].finished:
        raise NotThereYetError(
            f"{where}: {found[0].folder} is not complete: nothing has been made there yet, or a copy was cut off. Run "
            "the experiment, or the copy, again; it goes on where it was."
        )
    return found[0]


def _candidates(experiment_id: str, everything: Sequence[StoredExperiment]) -> str:
    names = sorted({each.experiment_id for each in everything})
    if not names:
        return "It has no experiments at all."
    guess = nearest(experiment_id, names)
    hint = f"Did you mean {guess!r}? " if guess else ""
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return f"{hint}It has {', '.join(names[:MAX_LISTED])}{more}."


def spec_at(location: Location, experiment: StoredExperiment) -> ExperimentSpec:
    """Return the spec in an experiment's folder.

    Raises:
        SpecError: It is not valid in this version of Assay.
        StorageError: It is missing.
    """
    name = f"{experiment.folder}/configs/experiment.yaml"
    with location_errors(location.name):
        content = location.tree.read(name)
    if content is None:
        raise StorageError(f"Location {location.name!r}: {name} is missing, so nobody knows what the experiment is.")
    return spec_from(mapping_from(content, name), f"experiment {experiment.experiment_id} at {location.name}")


def tree_of(location: Location, experiment: StoredExperiment) -> Tree:
    """Return the folder of an experiment at a location."""
    return location.tree.below(experiment.folder)
