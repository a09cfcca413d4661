"""What an evaluation takes over from the experiment whose model it evaluates: its configuration, and which model it is.

The experiment is looked for once. What was found is kept in ``adopted/<id>.yaml``, so that ``latest`` means the same
tomorrow and a later training of the source changes no evaluation.

Belongs here: finding the source, laying the evaluation's keys over its keys. Does not belong here: fetching its files
(``fetching``).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.errors import NotThereYetError, SpecError
from assay.experiments.catalog import StoredExperiment, experiments_at, find_experiment, spec_at
from assay.experiments.folders import ExperimentFolders, prefix_of
from assay.pipeline import trains_from
from assay.spec.experiment import LATEST, SECTION_NAMES, ExistingExperiment, ExperimentSpec, FoundExperiment
from assay.spec.ids import validate_id
from assay.spec.loading import merged
from assay.spec.yaml_text import read_mapping, to_yaml
from assay.storage.files import write_text
from assay.storage.locations import Location, Locations
from assay.storage.locations.config import DEFAULT_LOCATION

KEY = "existing_experiment"


def adopted_path(root: Path, experiment_id: str) -> Path:
    """Return where it is kept what an evaluation took over."""
    return root / "adopted" / f"{validate_id(experiment_id)}.yaml"


def with_adopted(locations: Locations, experiment_id: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of an evaluation laid over those of the experiment whose model it evaluates.

    Args:
        locations: Where that one may be.
        experiment_id: The evaluation's own.
        values: Keys of its file, valid by themselves.

    Raises:
        NotThereYetError: The experiment has no model yet.
        SpecError: It is the evaluation itself, or of another task.
        StorageError: There is no such experiment.
    """
    wanted = ExistingExperiment.model_validate(values[KEY])
    if wanted.found is not None:
        return dict(values)
    if wanted.experiment_id == experiment_id:
        raise SpecError(f"experiment {experiment_id}", [f"{KEY} is {experiment_id!r}: it can't evaluate itself"])
    pattern = values.get("exp_folder_pattern", ExperimentSpec.model_fields["exp_folder_pattern"].default)
    task, prefix = values["task"], prefix_of(pattern, values["task"])
    asked = {**wanted.model_dump(exclude={"found"}), "task": task, "prefix": prefix}
    path = adopted_path(locations.root, experiment_id)
    kept = read_mapping(path.read_text(encoding="utf-8"), str(path)) if path.is_file() else {}
    if kept.get("asked") != asked:
        kept = {"asked": asked, **_look_for(locations, wanted, experiment_id, task, prefix)}
        write_text(path, to_yaml(kept))
    own = {**values, KEY: {**wanted.model_dump(), "found": kept["found"]}}
    return merged(kept["values"], own)


def find_evaluated(locations: Locations, wanted: ExistingExperiment) -> StoredExperiment:
    """Return the experiment that is named by its ID.

    Raises:
        StorageError: There is none; lists those that there are.
    """
    return _named(locations, wanted)[1]


def _look_for(
    locations: Locations, wanted: ExistingExperiment, experiment_id: str, task: str, prefix: str
) -> dict[str, Any]:
    if wanted.experiment_id == LATEST:
        location, source = _latest(locations, wanted, task, prefix)
    else:
        location, source = _named(locations, wanted)
    if source.task != task:
        problem = f"{KEY} {source.experiment_id!r} is of task {source.task}, but task is {task}"
        raise SpecError(f"experiment {experiment_id}", [problem])
    if "trained_model" not in source.results:
        raise NotThereYetError(f"Experiment {source.experiment_id!r} has no model yet; {experiment_id} waits for it.")
    spec = spec_at(location, source)
    scaling = source.results.get("normalized", "") if trains_from(spec) == "normalized" else ""
    found = FoundExperiment(
        experiment_id=source.experiment_id,
        run_id=source.run_id,
        folder=f"{location.name}/{source.folder}",
        model=source.results["trained_model"],
        scaling=scaling,
    )
    return {"found": found.model_dump(), "values": _configuration(spec)}


def _named(locations: Locations, wanted: ExistingExperiment) -> tuple[Location, StoredExperiment]:
    """Return an experiment by its ID, at the location that was named or else where this storage keeps it."""
    folder = None if wanted.location else ExperimentFolders(locations.root).find(wanted.experiment_id)
    location = locations.open(folder.path.parent.name if folder else wanted.location or DEFAULT_LOCATION)
    return location, find_experiment(location, wanted.experiment_id)


def _latest(
    locations: Locations, wanted: ExistingExperiment, task: str, prefix: str
) -> tuple[Location, StoredExperiment]:
    """Return the newest experiment of its own training; one that still trains, or evaluates another, is none."""
    own = [name for name in locations.names() if not locations.is_external(name)]
    places = [locations.open(name) for name in ([wanted.location] if wanted.location else own)]
    found = [(location, each) for location in places for each in experiments_at(location)]
    usable = [
        (location, each)
        for location, each in found
        if each.finished and each.task == task and each.prefix == prefix and "trained_model" in each.results
    ]
    trained = [(location, each) for location, each in usable if not each.evaluates]
    if not trained:
        others = sorted({f"{each.prefix} ({each.task})" for _, each in found})
        raise NotThereYetError(
            f"{KEY} is {LATEST!r}, but no experiment of task {task} whose folder begins with {prefix!r} has a model "
            f"yet. There are {', '.join(others) or 'no experiments'}."
        )
    return max(trained, key=lambda pair: (pair[1].run_id, pair[1].folder))


def _configuration(spec: ExperimentSpec) -> dict[str, Any]:
    """Return what an evaluation takes over; a section's seed only where it is not the experiment's."""
    values = {name: value for name, value in spec.as_dict().items() if name in (*SECTION_NAMES, "seed")}
    for name in SECTION_NAMES:
        if values[name].get("seed") == spec.seed:
            values[name] = {key: value for key, value in values[name].items() if key != "seed"}
    return values
