"""Trains the cases and reports the median seed.

Belongs here: running a case, rows of results. Does not belong here: cases, stages.
"""

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.spec.defaults import resolve
from assay.spec.loading import spec_from
from assay.utils.concurrency import usable_cores
from benchmarks.quality.backgrounds import on_photos, on_unseen, write_all_photos
from benchmarks.quality.cases import Case, Goal
from benchmarks.quality.data import Data, Seconds, Values

UNSEEN = 200
"""Images on backgrounds that no training image had."""


@dataclass(frozen=True)
class Outcome:
    """What one seed gives.

    Attributes:
        seconds: Of the training.
        values: Metrics of the test subset.
        unseen: The same on other backgrounds; empty where none are asked for.
        informed: The same on them, of a model that learned them too; empty where that is not asked for.
        beside: What the baseline reaches.
    """

    seconds: Seconds
    values: Values
    unseen: Values
    informed: Values
    beside: float


def measure(case: Case, seeds: Sequence[int], photos: Path, root: Path) -> list[dict[str, Any]]:
    """Return the rows of a case.

    Args:
        case: What is trained.
        seeds: One training each.
        photos: Backgrounds that no training image has.
        root: For temporary folders.
    """
    outcomes = []
    for seed in seeds:
        with tempfile.TemporaryDirectory(dir=root) as folder:
            outcomes.append(_one(case, seed, photos, Path(folder)))
    return [*(row for goal in case.goals for row in goal_rows(case, goal, outcomes)), time_row(case, outcomes)]


def _one(case: Case, seed: int, photos: Path, folder: Path) -> Outcome:
    data = Data(folder / "own", _spec(case.keys, seed, case.name))
    model, seconds = data.learn()
    values, unseen, informed = data.judge(model), {}, {}
    if case.drop is not None:
        other = Data(folder / "other", _spec(on_unseen(case.keys, photos, UNSEEN), seed, case.name))
        unseen = other.judge(model)
        if case.matched:
            informed = _informed(case, seed, photos, folder, other)
    beside = case.baseline(data) if case.baseline else values[f"{case.goals[0].metric} baseline"]
    print(f"{case.name}, seed {seed}: {seconds.wall:.0f} s, {_shown(case, values)}", flush=True)
    return Outcome(seconds, values, unseen, informed, beside)


def _informed(case: Case, seed: int, photos: Path, folder: Path, other: Data) -> Values:
    """Return what a model reaches that learned the other backgrounds too, from as many images."""
    write_all_photos(folder / "photos", photos)
    data = Data(folder / "informed", _spec(on_photos(case.keys, folder / "photos"), seed, case.name))
    model, _ = data.learn()
    return other.judge(model)


def _spec(keys: dict[str, Any], seed: int, name: str) -> Any:
    return resolve(spec_from({**keys, "seed": seed}, name))


def _shown(case: Case, values: Values) -> str:
    return ", ".join(f"{goal.metric} {values[goal.metric]:.3f}" for goal in case.goals)


def goal_rows(case: Case, goal: Goal, outcomes: Sequence[Outcome]) -> Iterator[dict[str, Any]]:
    """Yield what the median seed reaches, and what is lost of it on other backgrounds."""
    values = [outcome.values[goal.metric] for outcome in outcomes]
    note = f"seeds {_listed(values)}"
    if goal is case.goals[0]:
        beside = statistics.median(outcome.beside for outcome in outcomes)
        name = case.baseline.__name__.replace("_", " ") if case.baseline else "trivial prediction"
        note += f"; {name}: {beside:.3f}"
    wanted = f"{'≤' if goal.lower_is_better else '≥'} {goal.target}"
    yield _row(f"{case.name}: {goal.metric}", statistics.median(values), goal.unit, wanted, note)
    if case.drop is not None:
        unseen = [outcome.unseen[goal.metric] for outcome in outcomes]
        note = f"seeds {_listed(unseen)} on {UNSEEN} images"
        if case.matched:
            values = [outcome.informed[goal.metric] for outcome in outcomes]
            note += f"; with these photos among those learned: {_listed(values)}"
        lost = statistics.median(values) - statistics.median(unseen)
        yield _row(f"{case.name}: {goal.metric} lost on unseen backgrounds", lost, goal.unit, f"≤ {case.drop}", note)


def time_row(case: Case, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return what the training of the median seed took."""
    cpu = statistics.median(outcome.seconds.cpu for outcome in outcomes)
    wall = statistics.median(outcome.seconds.wall for outcome in outcomes)
    note = f"{cpu:.0f} CPU seconds, the floor on {usable_cores()} idle cores"
    return {**_row(f"{case.name}: training", wall, "s", f"≤ {case.seconds:g}", note), "floor": cpu / usable_cores()}


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in values)


def _row(name: str, value: float, unit: str, target: str, note: str) -> dict[str, Any]:
    return {"benchmark": name, "value": value, "unit": unit, "target": target, "floor": None, "note": note}
