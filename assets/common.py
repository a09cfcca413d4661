"""What the assets share: their inputs and decorator arguments, and how a result is shown in the UI.

Belongs here: asset keys, arguments, the choice among optional inputs, turning results into Dagster metadata. Does not
belong here: assets, or computing and drawing what is shown.
"""

import base64
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dagster as dg
import polars as pl

from assay.automation.reconcile import NOT_NEEDED
from assay.pipeline import STAGES, StageConfig
from assay.spec.experiment import SECTION_NAMES, ExperimentSpec, FoundExperiment
from assay.storage.columns import folded_names
from assay.storage.parquet import StoredTable, stored_frame
from assay.storage.partitions import EXPERIMENT_COLUMN
from assay.storage.results import PICTURES, Result
from assay.utils.text import escape_markdown, readable_size, rounded
from assets.automation import FOLLOWS_INPUTS
from partitions.experiments import experiments
from resources.defaults import default_owners
from resources.experiment_store import ExperimentStore
from resources.io_managers import SECTION_PREFIX

SECTION_KEYS = {name: dg.AssetKey(f"{SECTION_PREFIX}{name}") for name in SECTION_NAMES}

SECTION_TYPE = dg.PythonObjectDagsterType(StageConfig)
"""Type of a section for Dagster, which can't interpret the annotation ``StageConfig[...]``."""


OWNERS = default_owners()

STORES_TABLE = {"assay/stores": "table"}

STORES_FOLDER = {"assay/stores": "folder"}
"""Tags by which assets can be selected (``tag:"assay/stores"="table"``): those that SQL finds, and the others."""


def spec_of(section: str) -> dict[str, dg.AssetIn]:
    """Return the input ``spec``: the one section of the experiment's spec that an asset reads."""
    return {"spec": dg.AssetIn(SECTION_KEYS[section], dagster_type=SECTION_TYPE)}


def optional(*names: str) -> dict[str, dg.AssetIn]:
    """Return inputs that may be missing because not every task needs them; they are None then."""
    return {name: dg.AssetIn(name, metadata={"optional": True}) for name in names}


def with_code_references(assets: Iterable[Any], root: Path) -> list[Any]:
    """Link each asset to its file, and a stage also to the file that does its work, where these are a checkout's.

    An installed package has no links: whoever reads the UI has no such files.

    Args:
        assets: The assets.
        root: Folder of the definitions.
    """
    if not (root / "pyproject.toml").is_file():
        return list(assets)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # what they do is held by our own tests
        linked: list[Any] = list(dg.with_source_code_references(list(assets)))
        return list(dg.map_asset_specs(partial(_with_stage_file, root), linked))


def _with_stage_file(root: Path, spec: dg.AssetSpec) -> dg.AssetSpec:
    found = spec.metadata.get(CODE_REFERENCES)  # of an asset without a function, Dagster knows no file
    own = found.code_references if found else _file_reference(root, f"assets/{spec.key.path[-1]}.py")
    work = _file_reference(root, f"assay/stages/{spec.key.path[-1]}.py")
    return spec.merge_attributes(
        metadata={CODE_REFERENCES: dg.CodeReferencesMetadataValue(code_references=[*own, *work])}
    )


def _file_reference(root: Path, name: str) -> list[dg.LocalFileCodeReference]:
    """Return a link to a file, if it exists."""
    file = root / name
    return [dg.LocalFileCodeReference(file_path=str(file), line_number=1, label=name)] if file.is_file() else []


CODE_REFERENCES = "dagster/code_references"
"""Dagster's metadata with links to files."""


def stage_arguments(name: str, group: str, kinds: set[str]) -> dict[str, Any]:
    """Return the decorator arguments that the assets of all stages have in common."""
    return {
        "partitions_def": experiments,
        "code_version": STAGES[name].code_version,
        "group_name": group,
        "kinds": kinds,
        "owners": OWNERS,
        "tags": STORES_FOLDER,
        "automation_condition": FOLLOWS_INPUTS if STAGES[name].inputs else None,
    }


TRAINING_POOL = "training"
"""Pool of the trainings: how many go on at a time is set under Deployment > Concurrency."""

BY_EXPERIMENT = {"partition_expr": EXPERIMENT_COLUMN}
"""Metadata of assets whose value is a table."""


def table_arguments(name: str, group: str, kinds: set[str]) -> dict[str, Any]:
    """Return the decorator arguments of a stage whose value is a table."""
    arguments = stage_arguments(name, group, kinds)
    return {**arguments, "tags": STORES_TABLE, "io_manager_key": "tables", "metadata": BY_EXPERIMENT}


def tags_of(spec: ExperimentSpec) -> dict[str, str]:
    """Return the tags of an experiment's runs to filter by: task, tags of the spec, whose model it evaluates."""
    source = {"assay/evaluates": spec.found.experiment_id} if spec.found else {}
    return {"assay/task": spec.task, **source, **{f"assay/{name}": value for name, value in spec.tags.items()}}


@dataclass(frozen=True)
class ModelData:
    """The kinds of data that a model may be applied to: whole images, crops, rows; None where not materialized."""

    splits: Result | None
    crops: Result | None
    normalized: Result | None = None

    def require(self, kind: str) -> Result:
        """Return the result of a kind: ``splits``, ``crops`` or ``normalized``.

        Raises:
            dagster.Failure: It was never materialized.
        """
        result: Result | None = getattr(self, kind)
        if result is None:
            raise dg.Failure(f"{kind} was never materialized. Materialize {kind} first.", allow_retries=False)
        return result

    @property
    def shown_crops(self) -> Result | None:
        """The crops, if there are any to show."""
        return self.crops if self.crops is not None and self.crops.report["crops"] else None


def model_data(
    store: ExperimentStore, splits: Result | None, crops: Result | None, normalized: pl.LazyFrame | None
) -> ModelData:
    """Return the data; of the table, the result folder, which also holds the scaling of its columns."""
    return ModelData(splits, crops, None if normalized is None else store.table_of("normalized", normalized)[0])


def materialized(result: Result, value: Any = None, **metadata: Any) -> dg.MaterializeResult[Any]:
    """Return the outcome of an asset: its value, the metadata of its result, and the fingerprint as data version."""
    return dg.MaterializeResult(
        value=result if value is None else value,
        metadata={**metadata_of(result), **metadata},
        data_version=dg.DataVersion(result.fingerprint),
    )


def table_frame(result: Result, name: str = "") -> pl.LazyFrame:
    """Return a table of a stage's result, by default that named like the stage; it knows that it is a file already."""
    file = f"{name or result.stage}.parquet"
    sha256 = result.manifest["files"][file]["sha256"]
    return stored_frame(StoredTable(result.folder / file, result.fingerprint, sha256))


def not_needed(reason: str) -> dg.MaterializeResult[Any]:
    """Return the outcome of an asset that nothing in the experiment reads: finished, without a value."""
    return dg.MaterializeResult(metadata={"summary": reason}, data_version=dg.DataVersion(NOT_NEEDED))


def column_lineage(
    rows: pl.LazyFrame,
    upstream: str,
    source: pl.LazyFrame,
    computed_from: Iterable[str] = (),
    renamed: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return, as metadata, which columns of an upstream table the columns of a table come from.

    Args:
        rows: The table.
        upstream: Name of the upstream asset.
        source: Its table.
        computed_from: Upstream columns behind every column that has no name in common with one.
        renamed: Upstream column by name of a column that has another name here.
    """
    names, origins = folded_names(rows.collect_schema()), folded_names(source.collect_schema())
    deps: dict[str, list[dg.TableColumnDep]] = {}
    for column, shown in names.items():
        same = (renamed or {}).get(column, column)
        found = sorted({origins[name] for name in ([same] if same in origins else computed_from) if name in origins})
        deps.setdefault(shown, [dg.TableColumnDep(dg.AssetKey(upstream), name) for name in found])
    return {"dagster/column_lineage": dg.TableColumnLineage({name: each for name, each in deps.items() if each})}


def lineage(source: FoundExperiment | None) -> dict[str, Any]:
    """Return metadata with a link to the experiment whose model is evaluated; empty if a model is trained."""
    if source is None:
        return {}
    page = f"/assets/trained_model?view=partitions&partition={quote(source.experiment_id)}"
    name, folder, model = (escape_markdown(each) for each in (source.experiment_id, source.folder, source.model))
    return {"evaluates": dg.MetadataValue.md(f"the model of [{name}]({page}), {folder}, model {model}")}


def metadata_of(result: Result) -> dict[str, Any]:
    """Return a result's metadata: summary and next step, plots, other texts, numbers, fingerprint, size and folder.

    Plots are shown at once by links to our web server. For other servers they are embedded at the end, where Dagster
    hides them behind a click, because they are long.
    """
    texts = {key: value for key, value in result.report.items() if isinstance(value, str) and value}
    return {
        **{key: texts.pop(key) for key in FIRST if key in texts},
        **{name: linked_picture(result, name) for name in result.shown_pictures},
        **texts,
        **from_report({key: value for key, value in result.report.items() if not isinstance(value, str)}),
        "fingerprint": result.fingerprint,
        "size": readable_size(result.size_bytes),
        **cost_metadata(result),
        "folder": dg.MetadataValue.path(str(result.folder)),
        **{f"embedded/{path.stem}": picture(path) for path in result.shown_pictures.values() if _is_small(path)},
    }


def cost_metadata(result: Result) -> dict[str, Any]:
    """Return what a result cost when it was built, also where it was found again: numbers that Dagster can plot."""
    cost, note = result.cost
    if cost is None:
        return {"cost": note}
    numbers = cost.model_dump(include={"wall_s", "cpu_s", "gpu_s", "peak_memory_mb", "attempts"})
    origin = {"machine": cost.machine, "made_for": cost.experiment_id, "built": cost.built}
    return {**from_report(numbers, "cost/"), **{f"cost/{name}": text for name, text in origin.items()}}


def _is_small(path: Path) -> bool:
    return path.stat().st_size <= MAX_PICTURE_BYTES


def from_report(report: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a report as metadata: each number as an entry of its own, which Dagster can plot, the rest as JSON.

    ``{"rows": {"train": 3}}`` becomes ``{"rows/train": 3}``; a metric with an interval is shown as its value alone.
    Numbers are rounded to four digits; the exact ones are in the result's files.
    """
    metadata: dict[str, Any] = {}
    for key, value in report.items():
        name, shown = f"{prefix}{key}", _value_of(value)
        if isinstance(shown, Mapping) and 0 < len(shown) <= MAX_NUMBERS and _holds_numbers(shown):
            metadata |= from_report(shown, f"{name}/")
        elif isinstance(shown, (str, int, float, bool)):
            metadata[name] = rounded(shown) if isinstance(shown, float) else shown
        elif shown is not None:
            metadata[name] = dg.MetadataValue.json(shown)
    return metadata


def _value_of(value: Any) -> Any:
    return value["value"] if isinstance(value, Mapping) and "value" in value else value


def _holds_numbers(values: Mapping[str, Any]) -> bool:
    """Return whether all values are numbers or null, or mappings of such values."""
    shown = [_value_of(value) for value in values.values()]
    return all(
        _holds_numbers(value) if isinstance(value, Mapping) else isinstance(value, (int, float)) or value is None
        for value in shown
    )


def linked_picture(result: Result, name: str) -> dg.MarkdownMetadataValue:
    """Return one of a result's pictures as Markdown that is short enough for Dagster's UI to show it at once.

    It is shown small; a click opens the whole picture.
    """
    address = quote(f"{PICTURES}/{result.stage}/{result.fingerprint}/{name}")
    title = escape_markdown(name.translate({ord("["): "(", ord("]"): ")"}))  # brackets would end it, in pairs or not
    return dg.MetadataValue.md(f"[![{title}]({address}?small)]({address})")


def picture(path: Path) -> dg.MarkdownMetadataValue:
    """Return a PNG file as Markdown that holds it, which any server of Dagster's UI can show."""
    encoded = base64.b64encode(path.read_bytes()).decode()
    return dg.MetadataValue.md(f"![{escape_markdown(path.stem)}](data:image/png;base64,{encoded})")


MAX_PICTURE_BYTES = 150_000
"""Larger images are not embedded, to keep the event log's database small."""

MAX_NUMBERS = 30
"""A mapping with more entries, such as the counts of a thousand classes, is shown as JSON."""

FIRST = ("summary", "next")
"""Texts of a report that come before everything else."""
