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
from benchmarks.rows import Row, at_most

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


def measure(case: Case, photos: Path, root: Path) -> list[Row]:
    """Return the rows of a case.

    Args:
        case: What is trained.
        photos: Backgrounds that no training image has.
        root: For temporary folders.
    """
    outcomes = []
    for seed in range(case.seeds):
        with tempfile.TemporaryDirectory(dir=root) as folder:
            outcomes.append(_one(case, seed, photos, Path(folder)))
    return [*(row for goal in case.goals for row in goal_rows(case, goal, outcomes)), time_row(case, outcomes)]


def _one(case: Case, seed: int, photos: Path, folder: Path) -> Outcome:
    data = Data(folder / "own", _spec(case.keys, seed, case.name))
    model, seconds = data.learn()
    values, unseen, informed = data.judge(model), {}, {}
    values |= case.further(data, model) if case.further else {}
    if case.has_unseen:
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


def goal_rows(case: Case, goal: Goal, outcomes: Sequence[Outcome]) -> Iterator[Row]:
    """Yield what the median seed reaches, and what is lost of it on other backgrounds."""
    values = [outcome.values[goal.metric] for outcome in outcomes]
    note = _listed(values)
    if goal is case.goals[0]:
        beside = statistics.median(outcome.beside for outcome in outcomes)
        note += f"; {case.baseline_name}: {beside:.3f}"
    yield Row(f"{case.name}: {goal.metric}", statistics.median(values), goal.unit, goal.target, note=note)
    if goal.drop is not None:
        yield _lost(case, goal, outcomes, values)


def _lost(case: Case, goal: Goal, outcomes: Sequence[Outcome], values: Sequence[float]) -> Row:
    """Return what is lost on other backgrounds; of two names, as the two references are not the same."""
    unseen = [outcome.unseen[goal.metric] for outcome in outcomes]
    reference = [outcome.informed[goal.metric] for outcome in outcomes] if case.matched else values
    behind = "behind a model that learned them" if case.matched else "behind the test subset"
    return Row(
        f"{case.name}: {goal.metric} on unseen backgrounds, {behind}",
        statistics.median(reference) - statistics.median(unseen),
        goal.unit,
        at_most(goal.drop or 0.0),
        note=f"{_listed(unseen)} on {UNSEEN} images; reference: {_listed(reference)}",
    )


def time_row(case: Case, outcomes: Sequence[Outcome]) -> Row:
    """Return what the training of the median seed took."""
    cpu = statistics.median(outcome.seconds.cpu for outcome in outcomes)
    wall = statistics.median(outcome.seconds.wall for outcome in outcomes)
    note = f"floor: its {cpu:.0f} CPU seconds, divided among {usable_cores()} cores"
    target = at_most(case.seconds, of="machine")
    return Row(f"{case.name}: training", wall, target=target, floor=cpu / usable_cores(), note=note)


def _listed(values: Sequence[float]) -> str:
    return f"seed{'s' * (len(values) > 1)} " + ", ".join(f"{value:.3f}" for value in values)
