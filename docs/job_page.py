"""Writes ``docs/jobs.md``, the page of jobs, assets and keys, modelled on niceml's: ``python -m docs.job_page``.

Belongs here: the layout of the page, and which asset or key corresponds to each op and ConfigKey of niceml. Does not
belong here: descriptions, which come from the docstrings of specs, assets and ops.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic.fields import FieldInfo

import definitions
from assay.spec.base import Section, models_in
from assay.spec.experiment import SECTION_NAMES, ExperimentSpec
from assay.storage.files import write_text
from assets.checks import VERIFIED

PAGE = Path(__file__).with_name("jobs.md")

HEAD = """\
# Jobs, assets and their keys

Written by `make docs` from the definitions; a test fails when it is out of date. Each job is a selection of
assets, and each asset reads one section of the experiment's spec. Where niceml has an op or a ConfigKey for it, that
name is given as well; [coming from niceml](coming-from-niceml.md) says what is better here.
"""

Row = tuple[str, str, str]
"""ConfigKey, description, key of the spec."""

COLLAPSED = {**{f"spec_{name}": "experiment" for name in SECTION_NAMES}, "training_history": "trained_model"}
"""Assets that are shown as part of another."""

READ_BY = {"champion": "board"}
"""Key of the spec that an asset reads, where it has another name."""

CHECKS = "exptests"

EVERYWHERE = "every asset"


def job_page(defs: dg.Definitions) -> str:
    """Return the whole page as Markdown."""
    jobs = {job.name: job for job in defs.resolve_all_job_defs() if not job.name.startswith("__")}
    order = [*(name for name in OPS if name in jobs), *sorted(set(jobs) - set(OPS))]
    return "\n".join([HEAD, *(line for name in order for line in _job(jobs[name], defs))]).rstrip() + "\n"


def _job(job: dg.JobDefinition, defs: dg.Definitions) -> Iterator[str]:
    yield f"## Job: {job.name}\n\n{job.description}\n"
    graph = defs.resolve_asset_graph()
    selected = {_shown(key.to_user_string()) for key in job.asset_layer.selected_asset_keys}
    if not selected:
        yield from _ops(job)
        return
    edges = _edges(graph, selected)
    if edges:
        yield "```mermaid\ngraph LR\n" + "".join(f"  {one} --> {other};\n" for one, other in edges) + "```\n"
    ordered = dict.fromkeys(_shown(key.to_user_string()) for key in graph.toposorted_asset_keys)
    for name in [each for each in ordered if each in selected]:
        yield from _asset(name, str(graph.get(dg.AssetKey(name)).description), OPS.get(job.name, ()))
    if "analysis" in selected:
        yield from _checks(job, OPS.get(job.name, ()))
    yield from _locks(OPS.get(job.name, ()))


def _shown(name: str) -> str:
    return COLLAPSED.get(name, name)


def _edges(graph: Any, selected: set[str]) -> list[tuple[str, str]]:
    """Return the edges between assets, without redundant ones, and the edge from the analysis to the checks.

    Of a job with a single asset, they are those that lead to it.
    """
    pairs = {
        (_shown(parent.to_user_string()), _shown(key.to_user_string()))
        for key in graph.toposorted_asset_keys
        for parent in graph.get(key).parent_keys
    }
    inner = sorted((one, other) for one, other in pairs if {one, other} <= selected and one != other)
    shown = inner or sorted((one, other) for one, other in pairs if other in selected)
    direct = [
        (one, other)
        for one, other in shown
        if one != "experiment" or not any(end == other and start != "experiment" for start, end in shown)
    ]
    return [*direct, *([("analysis", CHECKS)] if "analysis" in selected else [])]


@dataclass(frozen=True)
class Op:
    """An op of niceml.

    Attributes:
        name: Its name in niceml.
        home: The asset, check or op of Assay that does the same work.
        keys: Dotted key of the spec by ConfigKey; for ops of Assay, the key of the run configuration.
    """

    name: str
    home: str
    keys: Mapping[str, str] = field(default_factory=dict)


def _asset(name: str, description: str, ops: Iterable[Op]) -> Iterator[str]:
    own = [op for op in ops if op.home == name]
    yield _heading("Asset", name, description, own)
    if name == "experiment":
        yield _table(_rows(own, dict(_top_level())))
    elif name in (*SECTION_NAMES, *READ_BY):  # others, such as the report, read no spec
        yield _table(_rows(own, dict(_fields(READ_BY.get(name, name)))))


def _checks(job: dg.JobDefinition, ops: Iterable[Op]) -> Iterator[str]:
    keys = {check for each in job.asset_layer.data for check in each.assets_def.check_keys}
    names = sorted((check.name, check.asset_key.to_user_string()) for check in keys)
    listed = ", ".join(f"`{name}` on {asset}" for name, asset in names)
    own = [op for op in ops if op.home == CHECKS]
    yield _heading("Checks", CHECKS, f"The experiment tests, as asset checks: {listed}.", own)
    yield _table(_rows(own, dict(_fields(CHECKS))))


def _locks(ops: Iterable[Op]) -> Iterator[str]:
    own = [op for op in ops if op.home == EVERYWHERE]
    if own:
        text = (
            "Each asset holds the locks of the spec while it works, or a run holds them from training to analysis; "
            "they are always released ([locks](locks.md))."
        )
        yield _heading("Locks", EVERYWHERE, text, own)
        yield _table(_rows(own, dict(_top_level()), only_named=True))


def _ops(job: dg.JobDefinition) -> Iterator[str]:
    """Yield the ops and checks of a job that has no assets, with the keys of their run configuration."""
    for name in job.graph.node_names():
        definition = job.get_node_named(name).definition
        own = [op for op in OPS.get(job.name, ()) if op.home == name]
        kind = "Check" if name == VERIFIED.name else "Op"
        yield _heading(kind, name, str(definition.description), own)
        fields = getattr(definition.config_schema and definition.config_schema.config_type, "fields", {})
        yield _table(
            [(key, _one_line(each.description), f"run configuration: `{key}`") for key, each in fields.items()]
        )


def _heading(kind: str, name: str, description: str, ops: Iterable[Op]) -> str:
    names = ", ".join(f"`{op.name}`" for op in ops)
    return f"### {kind}: {name}\n\n{_one_line(description)}\n" + (f"\nOps of niceml: {names}.\n" if names else "")


def _rows(ops: Iterable[Op], fields: Mapping[str, FieldInfo], only_named: bool = False) -> list[Row]:
    """Return the keys that niceml has as well, under niceml's names, then the others."""
    named = {key: place for op in ops for key, place in op.keys.items()}
    rows = [(key, _one_line(_field(place).description), f"`{place}`") for key, place in named.items()]
    further = [place for place in fields if place not in named.values()]
    if not only_named:
        rows += [(place.rpartition(".")[2], _one_line(fields[place].description), f"`{place}`") for place in further]
    return rows


def _field(place: str) -> FieldInfo:
    """Return the field of the spec that a dotted key names."""
    model: type[Section] = ExperimentSpec
    *parents, last = place.split(".")
    for name in parents:
        (model,) = models_in([model.model_fields[name].annotation])
    return model.described_fields()[last]


def _fields(section: str) -> Iterator[tuple[str, FieldInfo]]:
    (model,) = models_in([ExperimentSpec.model_fields[section].annotation])
    for name, info in model.described_fields().items():
        yield f"{section}.{name}", info


def _top_level() -> Iterator[tuple[str, FieldInfo]]:
    for name, info in ExperimentSpec.described_fields().items():
        if name not in SECTION_NAMES:
            yield name, info


def _table(rows: Iterable[Row]) -> str:
    lines = [f"| {key} | {text} | {place} |\n" for key, text, place in rows]
    return "| ConfigKey | Description | Spec |\n|---|---|---|\n" + "".join(lines) if lines else "No keys.\n"


def _one_line(text: str | None) -> str:
    first = (text or "").split("\n\n")[0]
    return " ".join(first.split()).replace("``", "`").replace("|", "\\|")


FOLDER = {"exp_folder_pattern": "exp_folder_pattern", "exp_out_location": "exp_out_location"}

LOCKED = {"filelock_dict": "filelock_dict"}


def _below(section: str, *names: str, **renamed: str) -> dict[str, str]:
    """Return keys of a section by ConfigKey: those with the same name in niceml, and those with another name."""
    return {**{name: f"{section}.{name}" for name in names}, **{k: f"{section}.{name}" for k, name in renamed.items()}}


LOCKS = (Op("acquire_locks", "every asset", LOCKED), Op("release_locks", "every asset"))

EXPERIMENT = Op("experiment", "experiment", FOLDER)

DATA = (
    Op("data_generation", "generated_images", _below("generated_images", data_generator="source")),
    Op(
        "split_data",
        "splits",
        _below(
            "splits",
            *("clear_folder", "max_split", "name_delimiter", "output_location", "recursive", "set_infos", "sub_dir"),
        ),
    ),
    Op(
        "crop_numbers",
        "crops",
        _below("crops", "clear_folder", "name_delimiter", "output_location", "recursive", "sub_dir"),
    ),
    Op(
        "image_to_tabular_data",
        "tabular",
        _below(
            "tabular",
            *("clear_folder", "name_delimiter", "output_location", "recursive", "sub_dir"),
            *("target_image_size", "use_dirs_as_subsets"),
        ),
    ),
    Op(
        "df_normalization",
        "normalized",
        _below(
            "normalized",
            *("binary_feature_keys", "categorical_feature_keys", "output_norm_feature_info_file_name"),
            *("output_parq_location", "scalar_feature_keys"),
        ),
    ),
)

TRAIN = Op(
    "train",
    "trained_model",
    _below(
        "trained_model",
        *("data_description", "data_train", "data_validation", "exp_initializer", "learner", "model"),
        *("train_params", "remove_key_list"),
    ),
)

EVALUATION = (
    Op(
        "prediction",
        "predictions",
        _below(
            "predictions",
            *("datasets", "model_loader", "prediction_function", "prediction_handler", "prediction_steps"),
            "remove_key_list",
        ),
    ),
    Op("analysis", "analysis", _below("analysis", "result_analyzer", "remove_key_list")),
    Op("exptests", "exptests", _below("exptests", "tests", "remove_key_list")),
)

EXISTING_EXPERIMENT = (
    Op("localize_experiment", "experiment", {"existing_experiment": "existing_experiment", **FOLDER}),
    Op("eval_copy_exp", "experiment", {"description": "description", **FOLDER}),
)

COPY = Op("copy_exp", "copy_exp", {name: name for name in ("experiment_id", "input_loc_name", "output_loc_name")})

OPS: dict[str, tuple[Op, ...]] = {
    "job_train": (*LOCKS, EXPERIMENT, TRAIN, *EVALUATION),
    "job_eval": (*LOCKS, *EXISTING_EXPERIMENT, *EVALUATION),
    "job_copy_exp": (COPY,),
    "job_data_generation": DATA,
    "job_experiment": (*LOCKS, EXPERIMENT, *DATA, TRAIN, *EVALUATION),
}
"""The ops of each job; ``job_experiment`` combines data generation and training, which niceml has no job for."""


def main() -> None:
    """Write the page."""
    write_text(PAGE, job_page(definitions.defs))
    print(f"Wrote {PAGE}")


if __name__ == "__main__":
    main()
