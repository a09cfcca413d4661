"""Spec files: one YAML file per experiment, created exclusively and replaced atomically.

A run works with its own copy of the resolved spec, its run configuration, so that an edit during the run can't reach
only some of its assets. Removed experiments leave a tombstone: their IDs are not used again, because their results may
still be referred to.

Belongs here: which experiments exist, their spec files, run configurations and tombstones. Does not belong here:
results, deleting them (``garbage``).
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from assay.errors import FileError, IdError, NotThereYetError, SpecError, nearest, unknown
from assay.experiments.evaluation import KEY as EVALUATED
from assay.experiments.evaluation import find_evaluated, with_source_values
from assay.experiments.folders import experiments_with_folder
from assay.pipeline import digest_of
from assay.spec.experiment import LATEST, TASK_PREFIX, ExistingExperiment, ExperimentSpec
from assay.spec.ids import CHAMPION, invent_id, is_id, suggest_id, validate_id
from assay.spec.loading import load_spec, load_values, merged, spec_from
from assay.spec.yaml_text import read_mapping, to_yaml
from assay.storage.files import json_text, temporary_sibling, write_text
from assay.storage.locations.config import FILE as LOCATIONS_FILE
from assay.storage.locations.config import Locations
from assay.storage.remote import remote_of
from assay.utils.reading import read_record

DEFAULT_TASK = "regression"

TEMPLATES = (*TASK_PREFIX, "multi_label")
"""Templates of new experiments: one per task, and one for classification with several classes per item."""


class SpecFiles:
    """The folder of spec files ``<id>.yaml``, and all IDs that were ever used in it.

    Args:
        folder: The folder.
        root: Storage root.
        locations: Locations of evaluated experiments; None for those of ``locations.yaml`` beside the folder.
    """

    def __init__(self, folder: Path, root: Path, locations: Locations | None = None) -> None:
        self.folder = folder.absolute()
        self.root = root.absolute()
        self.locations = locations or Locations(self.folder.parent / LOCATIONS_FILE, self.root)
        self.tombstones = Tombstones(self.root)

    def path(self, experiment_id: str) -> Path:
        """Return the path of an experiment's spec file, which need not exist."""
        return self.folder / f"{validate_id(experiment_id)}.yaml"

    def ids(self) -> list[str]:
        """Return the sorted IDs of all spec files; files whose names are not valid IDs are ignored."""
        names = (path.stem for path in self.folder.glob("*.yaml"))
        return sorted(name for name in names if is_id(name))

    def saved_at(self) -> dict[str, float]:
        """Return when each spec file was saved, in seconds since the epoch, by ID."""
        try:
            with os.scandir(self.folder) as entries:
                found = {entry.name.removesuffix(".yaml"): entry for entry in entries if entry.name.endswith(".yaml")}
                return {
                    name: entry.stat(follow_symlinks=False).st_mtime for name, entry in found.items() if is_id(name)
                }
        except FileNotFoundError:
            return {}

    def used_ids(self) -> set[str]:
        """Return every ID that a new experiment can't have, including those of removed experiments."""
        return {*self.ids(), *self.tombstones.ids(), *experiments_with_folder(self.root)}

    def exists(self, experiment_id: str) -> bool:
        """Return whether something has the name of the experiment's spec file, even if it can't be read."""
        return os.path.lexists(self.path(experiment_id))

    def load(self, experiment_id: str) -> ExperimentSpec:
        """Return the validated spec of an experiment.

        Raises:
            IdError: The ID is not valid, or belonged to another experiment that was removed.
            SpecError: The file is missing or not valid.
            StorageError: It evaluates an experiment that does not exist.
        """
        path = self.path(experiment_id)
        if not self.exists(experiment_id):
            guess = nearest(experiment_id, self.ids())
            hint = f" Did you mean {guess!r}?" if guess else ""
            raise SpecError(str(path), [f"does not exist.{hint} Create one with 'assay new regression'"])
        spec = self._completed(experiment_id, load_values(path), str(path))
        self.tombstones.check(experiment_id, digest_of(spec.as_dict()))
        return spec

    def _completed(self, experiment_id: str, values: Mapping[str, Any], source: str) -> ExperimentSpec:
        """Return the resolved spec; an evaluation inherits the keys that it leaves out from its source."""
        spec = spec_from(values, source)
        if spec.existing_experiment is None or spec.found is not None:
            return spec
        self._require_source_ran(experiment_id, spec.existing_experiment)
        return spec_from(with_source_values(self.locations, experiment_id, values), source)

    def _require_source_ran(self, experiment_id: str, reference: ExistingExperiment) -> None:
        """Raise ``NotThereYetError`` for a source that has a spec file here but was never run."""
        source = reference.experiment_id
        is_here = reference.location is None and source not in (LATEST, experiment_id)
        if is_here and self.exists(source) and source not in experiments_with_folder(self.root):
            raise NotThereYetError(f"Experiment {source!r} was never run; {experiment_id} waits for its model.")

    def create(self, values: Mapping[str, Any], experiment_id: str | None = None) -> str:
        """Write a new spec file and return its ID; an existing file is never overwritten.

        Args:
            values: Keys of the spec; they are validated before anything is written.
            experiment_id: ID chosen by the user; None to generate one.

        Raises:
            IdError: The ID is not valid, already used, or stands for the champion of a board.
            SpecError: The values are not valid.
        """
        if experiment_id == CHAMPION:
            free = suggest_id(f"{experiment_id}-1")
            raise IdError(
                f"Experiment ID {experiment_id!r} stands for the champion of a board. Nearest valid: {free!r}."
            )
        spec_from(values, f"new experiment {experiment_id or ''}".strip())
        while True:
            used = self.used_ids()
            name = invent_id(used) if experiment_id is None else validate_id(experiment_id)
            if name not in used and self._create_file(name, to_yaml(dict(values))):
                return name
            if experiment_id is not None:
                free = invent_id(used)
                raise IdError(f"Experiment ID {name!r} is already used. Choose another, for example {free!r}.")

    def _create_file(self, name: str, text: str) -> bool:
        """Create the file exclusively; returns False if it exists, because a hard link fails then."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f".{name}.{os.getpid()}.draft"
        write_text(draft, text)
        try:
            os.link(draft, self.path(name))
        except FileExistsError:
            return False
        finally:
            draft.unlink()
        return True

    def overridden(self, experiment_id: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keys of an experiment's file, or of a new experiment, with overrides merged into them.

        Raises:
            IdError, SpecError, StorageError: See ``load``.
        """
        known = self.exists(experiment_id)
        values = merged(load_values(self.path(experiment_id)) if known else self._initial_values(overrides), overrides)
        self._completed(experiment_id, values, f"experiment {experiment_id} with the overrides given")
        return values

    def _initial_values(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Return the initial keys of a new experiment: those of its template, or of an evaluation only the task."""
        if not overrides.get(EVALUATED):
            return template(str(overrides.get("task", DEFAULT_TASK)))
        if "task" in overrides:
            return {}
        values = {"task": DEFAULT_TASK, EVALUATED: overrides[EVALUATED]}
        reference = spec_from(values, "the overrides").existing_experiment
        if reference is None or reference.experiment_id == LATEST:
            return {}
        return {"task": find_evaluated(self.locations, reference).task}

    def store(self, experiment_id: str, values: Mapping[str, Any]) -> None:
        """Write or replace an experiment's file atomically."""
        spec = spec_from(values, f"experiment {experiment_id}")
        if not self.exists(experiment_id):
            self.tombstones.check(experiment_id, digest_of(spec.as_dict()))
        write_text(self.path(experiment_id), to_yaml(dict(values)))


def template(name: str) -> dict[str, Any]:
    """Return the keys of a template for new experiments.

    Args:
        name: One of ``TEMPLATES``.

    Raises:
        SpecError: There is no such template.
    """
    return read_mapping(template_text(name), f"template {name}")


def template_text(name: str) -> str:
    """Return the commented YAML of a template, see ``template``."""
    if name not in TEMPLATES:
        raise SpecError("new experiment", [unknown("Template", name, TEMPLATES)])
    return (files("assay") / "templates" / f"{name}.yaml").read_text(encoding="utf-8")


def removal_notice(experiment_id: str) -> str:
    """Return what to tell of an experiment whose file was removed."""
    return (
        f"The file of experiment {experiment_id!r} was removed. Its results stay until 'assay gc', its ID is not used "
        "again; the same file put back restores it."
    )


def mark_forgotten(root: Path, experiment_id: str) -> None:
    """Note that an experiment was forgotten on purpose, so that its missing file is no removal."""
    write_text(_forgotten(root, experiment_id), "")


def was_forgotten(root: Path, experiment_id: str, since_ns: int) -> bool:
    """Return whether an experiment was forgotten after a moment, in ns since the epoch; the note is used up."""
    path = _forgotten(root, experiment_id)
    try:
        is_later = path.stat().st_mtime_ns > since_ns
        path.unlink()
    except FileNotFoundError:
        return False
    return is_later


def _forgotten(root: Path, experiment_id: str) -> Path:
    return root / "automation" / "forgotten" / validate_id(experiment_id)


class Tombstones:
    """One small file per removed experiment, with the time of the removal and the digest of its last spec."""

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / "tombstones"

    def ids(self) -> set[str]:
        """Return the IDs of all removed experiments."""
        return (
            {path.name for path in self.folder.iterdir() if not path.name.startswith(".")}
            if self.folder.is_dir()
            else set()
        )

    def add(self, experiment_id: str, digest: str = "") -> None:
        """Record that an experiment was removed; an existing record is kept.

        Args:
            experiment_id: ID of the experiment.
            digest: Digest of its last resolved spec, which may be restored; empty if it can't be restored.
        """
        path, remote = self.folder / validate_id(experiment_id), remote_of(self.root)
        if remote is not None:
            remote.pull_one(f"tombstones/{experiment_id}")
        if not path.exists():
            text = json_text({"removed": datetime.now(UTC).isoformat(timespec="seconds"), "digest": digest})
            if remote is None:
                write_text(path, text)
            else:
                remote.push(f"tombstones/{experiment_id}", text.encode())

    def check(self, experiment_id: str, digest: str) -> None:
        """Refuse the ID of a removed experiment, except for its own last spec.

        Raises:
            IdError: The experiment was removed, and ``digest`` is not that of its last spec.
        """
        path = self.folder / validate_id(experiment_id)
        if path.exists():
            content = _read_tombstone(path)
            if not content.get("digest") or content["digest"] != digest:
                removed = content.get("removed", "nobody knows when")
                raise IdError(
                    f"Experiment {experiment_id!r} was removed ({removed}) and its ID is not used again. "
                    f"Save the spec under another name, such as {experiment_id[:60]}-2, or put the former file back."
                )

    def restore(self, experiment_id: str) -> bool:
        """Delete the record of a removed experiment; returns whether there was one."""
        path = self.folder / validate_id(experiment_id)
        if not path.exists():
            return False
        if (remote := remote_of(self.root)) is not None:
            remote.drop(f"tombstones/{experiment_id}")
        path.unlink(missing_ok=True)
        return True


def _read_tombstone(path: Path) -> dict[str, Any]:
    try:
        return read_record(path)
    except FileError as error:
        raise IdError(f"The record of a removed experiment can't be read. {error}. Delete it to use the ID.") from error
    except FileNotFoundError:
        return {}


def run_config_path(root: Path, run_id: str, experiment_id: str) -> Path:
    """Return the path of a run's configuration of an experiment; ``run_id`` is Dagster's ID of the run."""
    return root / "runs" / run_id / f"{validate_id(experiment_id)}.yaml"


def store_run_config(root: Path, run_id: str, experiment_id: str, spec: ExperimentSpec) -> ExperimentSpec:
    """Store a resolved spec as the run's configuration, unless the run has one; returns the run's configuration."""
    path = run_config_path(root, run_id, experiment_id)
    if not path.exists():
        draft = temporary_sibling(path)
        write_text(draft, to_yaml(spec.as_dict()))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another step of the same run stored it first
        finally:
            draft.unlink()
    return _load(path)


def load_run_config(root: Path, run_id: str, experiment_id: str) -> ExperimentSpec | None:
    """Return the run's configuration of an experiment; None if there is none yet."""
    path = run_config_path(root, run_id, experiment_id)
    return _load(path) if path.exists() else None


@lru_cache(maxsize=64)
def _load(path: Path) -> ExperimentSpec:
    """Read a run configuration; it is cached because it never changes and every asset of a run reads it."""
    return load_spec(path)
