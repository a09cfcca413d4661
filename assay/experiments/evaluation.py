"""Evaluations of an existing experiment's model: finding that source experiment, and inheriting its configuration.

The source is searched for once and recorded in ``adopted/<id>.yaml``: ``latest`` keeps its meaning, and a later
training of the source changes no evaluation.

Belongs here: finding the source, merging the evaluation's keys into those of the source. Does not belong here: copying
the source's results (``importing``).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.errors import FileError, NotThereYetError, SpecError, StorageError
from assay.experiments.catalog import StoredExperiment, experiments_at, find_experiment, mapping_from, spec_at
from assay.experiments.folders import ExperimentFolders, prefix_of
from assay.pipeline import trains_from
from assay.spec.experiment import LATEST, SECTION_NAMES, ExistingExperiment, ExperimentSpec, FoundExperiment
from assay.spec.ids import validate_id
from assay.spec.loading import merged
from assay.spec.yaml_text import to_yaml
from assay.storage.files import write_text
from assay.storage.locations.config import DEFAULT_LOCATION, Location, Locations
from assay.utils.reading import read_bytes

KEY = "existing_experiment"


def source_record_path(root: Path, experiment_id: str) -> Path:
    """Return the path of the file that records the source of an evaluation."""
    return root / "adopted" / f"{validate_id(experiment_id)}.yaml"


def source_record(path: Path) -> dict[str, Any]:
    """Return what was recorded of an evaluation's source; empty if nothing was yet.

    Raises:
        StorageError: The record is damaged.
    """
    try:
        record = mapping_from(read_bytes(path), str(path))
    except FileNotFoundError:
        return {}
    except (FileError, SpecError) as error:
        raise StorageError(f"{error} {_AGAIN}") from error
    if not all(isinstance(record.get(key), dict) for key in ("found", *(("values",) if "asked" in record else ()))):
        raise StorageError(f"{path}: expected 'found' and 'values' with keys. {_AGAIN}")
    return record


_AGAIN = "Delete that file: the experiment whose model is evaluated is then searched again."


def with_source_values(locations: Locations, experiment_id: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of an evaluation merged into those of its source, the experiment whose model it evaluates.

    Args:
        locations: Locations that may have the source.
        experiment_id: ID of the evaluation.
        values: Keys of its file, valid by themselves.

    Raises:
        NotThereYetError: The source has no model yet.
        SpecError: The source is the evaluation itself, or has another task.
        StorageError: The source does not exist.
    """
    reference = ExistingExperiment.model_validate(values[KEY])
    if reference.found is not None:
        return dict(values)
    if reference.experiment_id == experiment_id:
        raise SpecError(f"experiment {experiment_id}", [f"{KEY} is {experiment_id!r}: it can't evaluate itself"])
    pattern = values.get("exp_folder_pattern", ExperimentSpec.model_fields["exp_folder_pattern"].default)
    task, prefix = values["task"], prefix_of(pattern, values["task"])
    query = {**reference.model_dump(exclude={"found"}), "task": task, "prefix": prefix}
    path = source_record_path(locations.root, experiment_id)
    record = source_record(path)
    if record.get("asked") != query:
        record = {"asked": query, **_find_source(locations, reference, experiment_id, task, prefix)}
        write_text(path, to_yaml(record))
    own = {**values, KEY: {**reference.model_dump(), "found": record["found"]}}
    return merged(record["values"], own)


def find_evaluated(locations: Locations, reference: ExistingExperiment) -> StoredExperiment:
    """Return the experiment that ``existing_experiment`` names by its ID.

    Raises:
        StorageError: It does not exist; the message lists those that do.
    """
    return _named(locations, reference)[1]


def newest_trained(locations: Locations) -> str:
    """Return the ID of the newest experiment in this storage that trained its model itself; empty if there is none.

    Raises:
        StorageError: The storage can't be read.
    """
    own = [locations.open(name) for name in locations.names() if not locations.is_external(name)]
    found = [each for location in own for each in experiments_at(location)]
    trained = [each for each in found if each.finished and not each.evaluates and "trained_model" in each.results]
    return max(trained, key=lambda each: each.run_id).experiment_id if trained else ""


def _find_source(
    locations: Locations, reference: ExistingExperiment, experiment_id: str, task: str, prefix: str
) -> dict[str, Any]:
    """Return what ``adopted/<id>.yaml`` records of the source: which experiment it is, and its configuration."""
    if reference.experiment_id == LATEST:
        location, source = _latest(locations, reference, task, prefix)
    else:
        location, source = _named(locations, reference)
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


def _named(locations: Locations, reference: ExistingExperiment) -> tuple[Location, StoredExperiment]:
    """Return an experiment by its ID: at the named location, or else where this storage has it."""
    folder = None if reference.location else ExperimentFolders(locations.root).find(reference.experiment_id)
    location = locations.open(folder.path.parent.name if folder else reference.location or DEFAULT_LOCATION)
    return location, find_experiment(location, reference.experiment_id)


def _latest(
    locations: Locations, reference: ExistingExperiment, task: str, prefix: str
) -> tuple[Location, StoredExperiment]:
    """Return the newest experiment with a model that it trained itself; unfinished ones and evaluations don't count."""
    own = [name for name in locations.names() if not locations.is_external(name)]
    searched = [locations.open(name) for name in ([reference.location] if reference.location else own)]
    found = [(location, each) for location in searched for each in experiments_at(location)]
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
    """Return the keys that an evaluation inherits; a section's seed only where it differs from the experiment's."""
    values = {name: value for name, value in spec.as_dict().items() if name in (*SECTION_NAMES, "seed")}
    for name in SECTION_NAMES:
        if values[name].get("seed") == spec.seed:
            values[name] = {key: value for key, value in values[name].items() if key != "seed"}
    return values
