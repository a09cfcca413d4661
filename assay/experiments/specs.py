"""Spec files: one YAML per experiment, created exclusively, replaced atomically.

Belongs here: which experiments exist and what their files say. Does not belong here: results.
"""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from assay.errors import IdError, NotThereYetError, SpecError, unknown
from assay.experiments.evaluation import KEY as EVALUATED
from assay.experiments.evaluation import find_evaluated, with_source_values
from assay.experiments.folders import experiments_with_folder
from assay.pipeline import digest_of
from assay.spec.experiment import LATEST, TASK_PREFIX, ExistingExperiment, ExperimentSpec
from assay.spec.ids import invent_id, is_id, validate_id
from assay.spec.loading import load_spec, load_values, merged, spec_from
from assay.spec.yaml_text import read_mapping, to_yaml
from assay.storage.files import temporary_sibling, write_json, write_text
from assay.storage.locations.config import FILE as LOCATIONS_FILE
from assay.storage.locations.config import Locations

DEFAULT_TASK = "regression"

TEMPLATES = (*TASK_PREFIX, "multi_label")
"""What a new experiment can start from: a task, or a classification with several classes at once."""


class SpecFiles:
    """The folder of ``<id>.yaml`` files, and the names that were ever used in it.

    Args:
        folder: The folder.
        root: Storage root.
        locations: Where experiments that are evaluated may be; None: those of ``locations.yaml`` beside the folder.
    """

    def __init__(self, folder: Path, root: Path, locations: Locations | None = None) -> None:
        self.folder = folder.absolute()
        self.root = root.absolute()
        self.locations = locations or Locations(self.folder.parent / LOCATIONS_FILE, self.root)
        self.tombstones = Tombstones(self.root)

    def path(self, experiment_id: str) -> Path:
        """Return where an experiment's file is, or would be."""
        return self.folder / f"{validate_id(experiment_id)}.yaml"

    def ids(self) -> list[str]:
        """Return the IDs of all spec files, sorted; files whose names are no IDs are not experiments."""
        names = (path.stem for path in self.folder.glob("*.yaml"))
        return sorted(name for name in names if is_id(name))

    def used_ids(self) -> set[str]:
        """Return every ID that can't be given to a new experiment, those of removed experiments included."""
        return {*self.ids(), *self.tombstones.ids(), *experiments_with_folder(self.root)}

    def exists(self, experiment_id: str) -> bool:
        """Return whether the experiment has a file."""
        return self.path(experiment_id).is_file()

    def load(self, experiment_id: str) -> ExperimentSpec:
        """Return the validated spec of an experiment.

        Raises:
            IdError: The ID is not valid, or was that of another experiment, which was removed.
            SpecError: The file is missing or not valid.
            StorageError: It evaluates an experiment that is not there.
        """
        path = self.path(experiment_id)
        spec = self._completed(experiment_id, load_values(path), str(path))
        self.tombstones.check(experiment_id, digest_of(spec.as_dict()))
        return spec

    def _completed(self, experiment_id: str, values: Mapping[str, Any], source: str) -> ExperimentSpec:
        """Return the spec of an experiment's keys; what an evaluation leaves out is that of what it evaluates."""
        spec = spec_from(values, source)
        if spec.existing_experiment is None or spec.found is not None:
            return spec
        self._require_begun(experiment_id, spec.existing_experiment)
        return spec_from(with_source_values(self.locations, experiment_id, values), source)

    def _require_begun(self, experiment_id: str, wanted: ExistingExperiment) -> None:
        """Tell an experiment that was never run from one that does not exist."""
        source = wanted.experiment_id
        is_here = wanted.location is None and source not in (LATEST, experiment_id)
        if is_here and self.exists(source) and source not in experiments_with_folder(self.root):
            raise NotThereYetError(f"Experiment {source!r} was never run; {experiment_id} waits for its model.")

    def create(self, values: Mapping[str, Any], experiment_id: str | None = None) -> str:
        """Write a new spec file and return its ID; never overwrites.

        Args:
            values: Keys of the spec; validated before anything is written.
            experiment_id: Chosen by the user, or None to invent one.

        Raises:
            IdError: The ID is not valid or already used.
            SpecError: The values are not valid.
        """
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
        """Return False when somebody else took the name first: a hard link fails where the target exists."""
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
        """Return the keys of an experiment with overrides laid over its file, or over what a new one starts with.

        Raises:
            IdError, SpecError, StorageError: As ``load``.
        """
        known = self.exists(experiment_id)
        values = merged(load_values(self.path(experiment_id)) if known else self._beginning(overrides), overrides)
        self._completed(experiment_id, values, f"experiment {experiment_id} with the overrides given")
        return values

    def _beginning(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a new experiment starts with: its task's template; an evaluation, the other's task alone."""
        if not overrides.get(EVALUATED):
            return template(str(overrides.get("task", DEFAULT_TASK)))
        if "task" in overrides:
            return {}
        wanted = spec_from({"task": DEFAULT_TASK, EVALUATED: overrides[EVALUATED]}, "the overrides").existing_experiment
        if wanted is None or wanted.experiment_id == LATEST:
            return {}
        return {"task": find_evaluated(self.locations, wanted).task}

    def store(self, experiment_id: str, values: Mapping[str, Any]) -> None:
        """Write or replace an experiment's file atomically."""
        spec = spec_from(values, f"experiment {experiment_id}")
        if not self.exists(experiment_id):
            self.tombstones.check(experiment_id, digest_of(spec.as_dict()))
        write_text(self.path(experiment_id), to_yaml(dict(values)))


def template(name: str) -> dict[str, Any]:
    """Return the keys that a new experiment starts with.

    Args:
        name: One of ``TEMPLATES``.

    Raises:
        SpecError: There is no such template.
    """
    return read_mapping(template_text(name), f"template {name}")


def template_text(name: str) -> str:
    """Return the commented YAML that a new experiment starts with."""
    if name not in TEMPLATES:
        raise SpecError("new experiment", [unknown("Template", name, TEMPLATES)])
    return (files("assay") / "templates" / f"{name}.yaml").read_text(encoding="utf-8")


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

    def add(self, experiment_id: str, digest: str = "") -> None:
        """Remember that an experiment was removed; the first to say so counts.

        Args:
            experiment_id: Which one.
            digest: Of its last resolved spec: the same spec may come back. Empty: nothing may.
        """
        path = self.folder / validate_id(experiment_id)
        if not path.exists():
            write_json(path, {"removed": datetime.now(UTC).isoformat(timespec="seconds"), "digest": digest})

    def check(self, experiment_id: str, digest: str) -> None:
        """Do nothing unless the experiment was removed and ``digest`` is not that of its last spec.

        Raises:
            IdError: It was; says when, and what can be done.
        """
        path = self.folder / validate_id(experiment_id)
        if path.exists():
            content = json.loads(path.read_text())
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


def run_config_path(root: Path, run_id: str, experiment_id: str) -> Path:
    """Return where a run's copy of a spec is; ``run_id`` is made by Dagster, the experiment ID by users."""
    return root / "runs" / run_id / f"{validate_id(experiment_id)}.yaml"


def store_run_config(root: Path, run_id: str, experiment_id: str, spec: ExperimentSpec) -> ExperimentSpec:
    """Store the resolved spec under the run's ID, unless the run has one already; return the one that counts."""
    path = run_config_path(root, run_id, experiment_id)
    if not path.exists():
        draft = temporary_sibling(path)
        write_text(draft, to_yaml(spec.as_dict()))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another step of the same run was first
        finally:
            draft.unlink()
    return _load(path)


def load_run_config(root: Path, run_id: str, experiment_id: str) -> ExperimentSpec | None:
    """Return the run's copy of a spec, or None when the run has none yet."""
    path = run_config_path(root, run_id, experiment_id)
    return _load(path) if path.exists() else None


@lru_cache(maxsize=64)
def _load(path: Path) -> ExperimentSpec:
    """Read a frozen spec; it never changes, and every asset of a run asks for it."""
    return load_spec(path)
