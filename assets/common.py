"""What the assets share: their inputs and arguments, and how a result is shown in the UI.

Belongs here: keys, keyword arguments, the choice among optional inputs, metadata. Does not belong here: assets.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from assay.pipeline import STAGES, StageConfig
from assay.spec.experiment import SECTION_NAMES, ExperimentSpec, FoundExperiment
from assay.storage.parquet import StoredTable
from assay.storage.results import Result
from assets.automation import FOLLOWS_INPUTS
from partitions.experiments import experiments
from resources.experiment_store import ExperimentStore
from resources.failures import as_failure

SECTION_KEYS = {name: dg.AssetKey(["spec", name]) for name in SECTION_NAMES}

SECTION_TYPE = dg.PythonObjectDagsterType(StageConfig)
"""Dagster can't read the annotation ``StageConfig[...]``, which is for people and type checkers."""


def spec_of(section: str) -> dict[str, dg.AssetIn]:
    """Return the input ``spec``: the section of the experiment that an asset reads, and nothing else."""
    return {"spec": dg.AssetIn(SECTION_KEYS[section], dagster_type=SECTION_TYPE)}


def optional(*names: str) -> dict[str, dg.AssetIn]:
    """Return inputs that may be missing, because not every task reads them."""
    return {name: dg.AssetIn(name, metadata={"optional": True}) for name in names}


def stage_arguments(name: str, group: str, kinds: set[str]) -> dict[str, Any]:
    """Return what every stage's asset has in common."""
    return {
        "partitions_def": experiments,
        "code_version": STAGES[name].code_version,
        "group_name": group,
        "kinds": kinds,
        "automation_condition": FOLLOWS_INPUTS if STAGES[name].inputs else None,
    }


def tags_of(spec: ExperimentSpec) -> dict[str, str]:
    """Return the tags of an experiment's runs: its task and its own tags, by which the UI filters."""
    return {"assay/task": spec.task, **{f"assay/{name}": value for name, value in spec.tags.items()}}


@dataclass(frozen=True)
class LearningData:
    """The kinds of data that a model may learn from; None where not materialized."""

    splits: Result | None
    crops: Result | None
    normalized: Result | None

    def named(self, kind: str) -> Result:
        """Return the result of a kind.

        Raises:
            dagster.Failure: It was never materialized.
        """
        found: Result | None = getattr(self, kind)
        if found is None:
            raise dg.Failure(f"{kind} was never materialized. Materialize {kind} first.", allow_retries=False)
        return found

    @property
    def shown_crops(self) -> Result | None:
        """The crops, where there are pictures to show."""
        return self.crops if self.crops is not None and self.crops.report["crops"] else None


def learning_data(
    store: ExperimentStore, splits: Result | None, crops: Result | None, normalized: StoredTable | None
) -> LearningData:
    """Return the data with the table's whole result folder: the scaling of its columns lies beside it."""
    with as_failure("normalized"):
        rows = store.results.open("normalized", normalized.fingerprint) if normalized else None
    return LearningData(splits, crops, rows)


def materialized(result: Result, value: Any = None) -> dg.MaterializeResult[Any]:
    """Return what an asset returns: its value, the metadata of its result and the fingerprint as data version."""
    return dg.MaterializeResult(
        value=result if value is None else value,
        metadata=metadata_of(result),
        data_version=dg.DataVersion(result.fingerprint),
    )


def stored_table(result: Result) -> StoredTable:
    """Return the table of a table stage, which is a file of its result already."""
    return StoredTable(result.folder / f"{result.stage}.parquet", result.fingerprint)


def lineage(found: FoundExperiment | None) -> dict[str, Any]:
    """Return whose model is evaluated, with a link to it; nothing where a model is trained."""
    if found is None:
        return {}
    name, page = found.experiment_id, f"/assets/trained_model?view=partitions&partition={found.experiment_id}"
    return {"evaluates": dg.MetadataValue.md(f"the model of [{name}]({page}), {found.folder}, model `{found.model}`")}


def metadata_of(result: Result) -> dict[str, Any]:
    """Return, in this order: the sentences of the report, every picture, the numbers, fingerprint, size and folder."""
    texts = {key: value for key, value in result.report.items() if isinstance(value, str) and value}
    return {
        **{key: texts.pop(key) for key in FIRST if key in texts},
        **{name: picture(path) for name, path in shown_pictures(result).items() if _is_small(path)},
        **texts,
        **from_report({key: value for key, value in result.report.items() if not isinstance(value, str)}),
        "fingerprint": result.fingerprint,
        "size_bytes": result.size_bytes,
        "folder": dg.MetadataValue.path(str(result.folder)),
    }


def shown_pictures(result: Result) -> dict[str, Path]:
    """Return the pictures by the names that they are shown under; of what a network saw, the first and the last."""
    seen = result.net_data
    return {
        **{f"picture/{path.stem}": path for path in result.pictures},
        **{f"net_data/{path.stem}": path for path in (*seen[:1], *seen[-1:])},
    }


def _is_small(path: Path) -> bool:
    return path.stat().st_size <= MAX_PICTURE_BYTES


def from_report(report: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a report as metadata: numbers one by one, which Dagster can plot, everything else as JSON.

    ``{"rows": {"train": 3}}`` becomes ``{"rows/train": 3}``; of a metric with an interval, the value is shown.
    """
    found: dict[str, Any] = {}
    for key, value in report.items():
        name, shown = f"{prefix}{key}", _value_of(value)
        if isinstance(shown, Mapping) and 0 < len(shown) <= MAX_NUMBERS and _holds_numbers(shown):
            found |= from_report(shown, f"{name}/")
        elif isinstance(shown, (str, int, float, bool)):
            found[name] = shown
        elif shown is not None:
            found[name] = dg.MetadataValue.json(shown)
    return found


def _value_of(value: Any) -> Any:
    return value["value"] if isinstance(value, Mapping) and "value" in value else value


def _holds_numbers(values: Mapping[str, Any]) -> bool:
    """Return whether all values are numbers, or mappings that hold nothing but numbers."""
    shown = [_value_of(value) for value in values.values()]
    return all(
        _holds_numbers(value) if isinstance(value, Mapping) else isinstance(value, (int, float)) or value is None
        for value in shown
    )


def picture(path: Path) -> dg.MarkdownMetadataValue:
    """Return a PNG file as Markdown, the only way in which Dagster's UI shows an image."""
    encoded = base64.b64encode(path.read_bytes()).decode()
    return dg.MetadataValue.md(f"![{path.stem}](data:image/png;base64,{encoded})")


MAX_PICTURE_BYTES = 150_000
"""Larger pictures stay files: the event log is a database, not a photo album."""

MAX_NUMBERS = 30
"""A mapping with more entries, such as counts of a thousand classes, is shown as one JSON."""

FIRST = ("summary", "next")
"""What a user wants to read before anything else."""
