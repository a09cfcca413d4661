"""What experiments cost: each stage once, however many experiments share its result, and all stages together.

Belongs here: the costs of an experiment's results, the table ``costs``, sums, and their text. Does not belong here:
measuring, and the records of single results (``assay.storage.costs``).
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl

from assay.errors import AssayError, StorageError
from assay.experiments.folders import ExperimentFolders, cost_in, read_folder_manifest
from assay.pipeline import STAGES, needed_stages, stage_config, used_inputs
from assay.spec.experiment import ExperimentSpec
from assay.storage.costs import NOT_RECORDED, Cost, Spent, cost_path, read_cost
from assay.storage.partitions import EXPERIMENT_COLUMN, place_of
from assay.storage.results import ResultStore
from assay.utils.text import readable_seconds, readable_size

COSTS = "costs"
"""Name of the table."""

COST_COLUMNS = pl.Schema(
    {
        "stage": pl.String(),
        "fingerprint": pl.String(),
        "wall_s": pl.Float64(),
        "cpu_s": pl.Float64(),
        "gpu_s": pl.Float64(),
        "peak_memory_mb": pl.Float64(),
        "bytes": pl.Int64(),
        "attempts": pl.Int64(),
        "machine": pl.String(),
        "reused": pl.Boolean(),
        "built_for": pl.String(),
        "built_at": pl.Datetime("us"),
        "note": pl.String(),
    }
)
"""Columns of the table ``costs`` besides the experiment; times in UTC. Nulls where nothing was recorded."""


@dataclass(frozen=True)
class StageCost:
    """What the result of one stage of an experiment cost.

    Attributes:
        experiment_id: The experiment.
        stage: The stage.
        fingerprint: Fingerprint of its result, by which experiments share it.
        cost: What it cost when it was built; None if nobody knows.
        size_bytes: Total size of its files; None if they are not in this storage.
        note: Why nobody knows; empty if it is known.
    """

    experiment_id: str
    stage: str
    fingerprint: str
    cost: Cost | None
    size_bytes: int | None
    note: str = ""

    @property
    def reused(self) -> bool | None:
        """Whether it was built for another experiment, so that it cost this one nothing; None if nobody knows."""
        return None if self.cost is None else self.cost.experiment_id != self.experiment_id

    def __str__(self) -> str:
        """Return the cost for readers."""
        if self.cost is None:
            return NOT_RECORDED
        size = f", {readable_size(self.size_bytes)}" if self.size_bytes is not None else ""
        origin = f"; made for {self.cost.experiment_id}" if self.reused else ""
        tries = f" in {self.cost.attempts} attempts" if self.cost.attempts > 1 else ""
        return f"{readable_cost(self.cost)}{size}{tries}{origin}"


def readable_cost(cost: Spent) -> str:
    """Return seconds and memory as people read them, such as ``12 s, CPU 23 s, memory 812 MB``."""
    parts = [readable_seconds(cost.wall_s), f"CPU {readable_seconds(cost.cpu_s)}"]
    parts += [f"GPU {readable_seconds(cost.gpu_s)}"] if cost.gpu_s else []
    parts += [f"memory {readable_size(int(cost.peak_memory_mb * 1e6))}"] if cost.peak_memory_mb is not None else []
    return ", ".join(parts)


def stage_costs(root: Path, experiment_id: str) -> list[StageCost]:
    """Return what the results of an experiment cost, in pipeline order; nothing if it has no folder.

    Raises:
        StorageError: The manifest of its folder, or its entry in the index, is damaged.
    """
    folder = ExperimentFolders(root).find(experiment_id)
    return costs_in(root, folder.path, experiment_id) if folder else []


def costs_in(root: Path, folder: Path, experiment_id: str) -> list[StageCost]:
    """Return the costs of an experiment with this folder, see ``stage_costs``."""
    results = (read_folder_manifest(folder) or {"results": {}})["results"]
    return [_stage_cost(root, folder, experiment_id, stage, results[stage]) for stage in STAGES if stage in results]


def _stage_cost(root: Path, folder: Path, experiment_id: str, stage: str, fingerprint: str) -> StageCost:
    """Return the cost of a result: from beside it, or from the experiment's folder, which may come from elsewhere."""
    cost, note = read_cost(cost_path(root, stage, fingerprint), stage, fingerprint)
    if cost is None:
        cost, other = read_cost(cost_in(folder, stage), stage, fingerprint)
        note = "" if cost is not None else max(note, other, key=len)  # a reason rather than that there is none
    size = cost.size_bytes if cost else None
    if size is None:
        result = ResultStore(root).find(stage, fingerprint)
        with suppress(StorageError):  # whoever needs the result is told
            size = result.size_bytes if result else None
    return StageCost(experiment_id, stage, fingerprint, cost, size, note)


@dataclass(frozen=True)
class TotalCost:
    """What several results cost together, each counted once.

    Attributes:
        spent: The sums, and the largest memory, over the results whose cost is known.
        size_bytes: Sum of their sizes.
        machines: Where they were built.
        unknown: Stages of the results whose cost nobody knows.
    """

    spent: Spent
    size_bytes: int
    machines: tuple[str, ...]
    unknown: tuple[str, ...]

    def __str__(self) -> str:
        """Return it for readers."""
        on = f", on {self.machines[0]}" if len(self.machines) == 1 else f", on {len(self.machines)} kinds of machines"
        known = f"{readable_cost(self.spent)}, {readable_size(self.size_bytes)}{on}" if self.machines else NOT_RECORDED
        without = f"; without {', '.join(self.unknown)}: {NOT_RECORDED}" if self.unknown and self.machines else ""
        return f"{known}{without}"


def total_cost(costs: Iterable[StageCost]) -> TotalCost:
    """Return what results cost together; one that several experiments share counts once."""
    distinct = {(each.stage, each.fingerprint): each for each in costs}.values()
    known = [each.cost for each in distinct if each.cost is not None]
    spent = Spent()
    for cost in known:
        spent = spent.plus(cost)
    return TotalCost(
        spent=spent,
        size_bytes=sum(each.size_bytes or 0 for each in distinct if each.cost is not None),
        machines=tuple(dict.fromkeys(cost.machine for cost in known)),
        unknown=tuple(dict.fromkeys(each.stage for each in distinct if each.cost is None)),
    )


def estimated_cost(costs: Sequence[StageCost], spec: ExperimentSpec, others: Sequence[ExperimentSpec]) -> Spent | None:
    """Return about what other experiments will cost, from what one like them did.

    Each result is counted once, and not at all if the known experiment has it. Trainings are taken to cost as much as
    their epochs.

    Args:
        costs: Those of the known experiment.
        spec: Its spec.
        others: Specs of the experiments that have not run yet.

    Returns:
        None if the cost of one of the known experiment's results is not known.
    """
    known = {each.stage: each.cost for each in costs if each.cost is not None}
    if not known.keys() >= set(needed_stages(spec)):
        return None
    made, total = set(_names_of(spec).items()), Spent()
    for other in others:
        for stage, name in _names_of(other).items():
            if (stage, name) not in made and stage in known:
                made.add((stage, name))
                total = total.plus(_scaled(known[stage], _factor(spec, other) if stage == "trained_model" else 1.0))
    return total


def _names_of(spec: ExperimentSpec) -> dict[str, str]:
    """Return names of an experiment's results, by stage: the same for two specs that would share the result."""
    names: dict[str, str] = {}
    for stage in needed_stages(spec):
        inputs = {name: names[name] for name in used_inputs(spec, stage)}
        names[stage] = stage_config(spec, "", stage).fingerprint(inputs)
    return names


def _factor(spec: ExperimentSpec, other: ExperimentSpec) -> float:
    one, many = (each.trained_model.train_params.epochs for each in (spec, other))
    return many / one if one and many else 1.0


def _scaled(cost: Spent, factor: float) -> Spent:
    seconds = {name: getattr(cost, name) * factor for name in ("wall_s", "cpu_s", "gpu_s")}
    return Spent(**seconds, peak_memory_mb=cost.peak_memory_mb)


def total_of_rows(rows: pl.DataFrame) -> TotalCost:
    """Return what the results in rows of the table ``costs`` cost together, see ``total_cost``."""
    distinct = rows.unique(["stage", "fingerprint"], keep="first", maintain_order=True)
    known = distinct.filter(pl.col("wall_s").is_not_null())
    seconds = {name: round(known[name].sum(), 3) for name in ("wall_s", "cpu_s", "gpu_s")}
    peak = known["peak_memory_mb"].max()
    return TotalCost(
        spent=Spent.model_validate({**seconds, "peak_memory_mb": peak}),
        size_bytes=int(known["bytes"].sum()),
        machines=tuple(known["machine"].unique(maintain_order=True).to_list()),
        unknown=tuple(distinct.filter(pl.col("wall_s").is_null())["stage"].unique(maintain_order=True).to_list()),
    )


def cost_table(costs: Sequence[StageCost]) -> pl.DataFrame:
    """Return an experiment's partition of the table ``costs``: one row per result, columns ``COST_COLUMNS``."""
    rows = [{**_measured(each.cost), **_identity(each)} for each in costs]
    return pl.DataFrame(rows, COST_COLUMNS)


def _identity(each: StageCost) -> dict[str, object]:
    own = {"stage": each.stage, "fingerprint": each.fingerprint, "bytes": each.size_bytes}
    return {**own, "reused": each.reused, "note": each.note}


def _measured(cost: Cost | None) -> dict[str, object]:
    if cost is None:
        return {}
    names = ("wall_s", "cpu_s", "gpu_s", "peak_memory_mb", "attempts", "machine")
    moment = datetime.fromisoformat(cost.built).replace(tzinfo=None)
    return {**{name: getattr(cost, name) for name in names}, "built_for": cost.experiment_id, "built_at": moment}


def record_costs(root: Path, experiment_id: str) -> None:
    """Bring an experiment's rows of the table ``costs`` up to date, if its costs can be read and the table written."""
    with suppress(AssayError, OSError):  # it is good to know, but nothing depends on it
        table = cost_table(stage_costs(root, experiment_id))
        place = place_of(root, "main", COSTS, EXPERIMENT_COLUMN, experiment_id)
        stored = None
        with suppress(StorageError):
            stored = place.use(lambda file: file.read())
        if len(table) and (stored is None or not stored.equals(table)):
            place.write(table)
