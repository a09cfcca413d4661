"""Who becomes the champion of a board: by rule whoever is surely better on the same items, by hand whoever is named.

The rule changes a champion only for an experiment that is finished, passes its tests, was tested on the same items, and
is better by more than chance explains. Everything else, a tie as well, keeps the champion.

Belongs here: comparing with the champion, promoting, and the sentences that say why or why not. Does not belong here:
the file of a board (``assay.experiments.boards``), comparing items (``pairs``, which is imported only when two
experiments are compared: it brings torch and matplotlib).
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from assay.comparison.load import differing_stage, leading_score
from assay.comparison.ranking import DATA_KEYS, differing_keys
from assay.comparison.tested import items_of_analysis
from assay.errors import AssayError, NotThereYetError, SpecError, StorageError, one_line, unknown
from assay.experiments.boards import (
    MAIN,
    BoardOutcome,
    Boards,
    BoardState,
    Considered,
    Promotion,
    analyses_there,
    entered,
    now,
)
from assay.experiments.checks import failed_tests
from assay.experiments.contents import TABLES, recorded_spec, stage_results
from assay.experiments.folders import ExperimentFolders
from assay.experiments.specs import SpecFiles
from assay.metrics.paired import LEAST_PAIRED
from assay.metrics.registry import get_metric
from assay.spec.experiment import Board, learning_of
from assay.spec.loading import spec_from
from assay.spec.yaml_text import flatten
from assay.storage.locks.acquire import Waiting
from assay.storage.parquet import read_parquet
from assay.storage.results import Result
from assay.utils.text import readable_number

if TYPE_CHECKING:
    from assay.comparison.pairs import MetricDifference

BROKEN = (AssayError, OSError, pl.exceptions.PolarsError)
"""Errors of one experiment, which keep no other from competing."""

Decider = tuple[str, str]
"""The metric and the subset that decide on a board."""


@dataclass(frozen=True)
class Contender:
    """A finished experiment, as far as a board looks at it.

    Attributes:
        experiment_id: The experiment.
        task: Its kind of learning.
        results: Its results, by stage.
        tested: Digest of the items that its metrics are about.
        value: Its value of the board's metric, in the metric's unit; None where that is not defined.
        low: Lower end of the value's interval; None where there is none.
        high: Its upper end.
    """

    experiment_id: str
    task: str
    results: Mapping[str, Result]
    tested: str
    value: float | None
    low: float | None = None
    high: float | None = None

    def promotion(self, by: str, reason: str) -> Promotion:
        """Return the record of its promotion."""
        made = {"model": self.results["trained_model"].fingerprint, "analysis": self.results["analysis"].fingerprint}
        ends = {"value": _finite(self.value), "low": _finite(self.low), "high": _finite(self.high)}
        return Promotion.model_validate(
            {
                "experiment_id": self.experiment_id,
                **made,
                "at": now(),
                "by": by,
                "reason": one_line(reason)[:1000],
                **ends,
            }
        )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def contender(root: Path, experiment_id: str, metric: str, subset: str) -> Contender:
    """Return a finished experiment as its folder has it.

    Raises:
        StorageError: It has no model, predictions or metrics, or they do not belong together.
    """
    folder, spec = ExperimentFolders(root).find(experiment_id), recorded_spec(root, experiment_id)
    again = f"Next: assay run {experiment_id}"
    if folder is None or spec is None:
        raise StorageError(f"Experiment {experiment_id!r} has no results yet. {again}")
    results = stage_results(root, experiment_id)
    lacks = [stage for stage in ("trained_model", "predictions", "analysis") if stage not in results]
    if lacks:
        raise StorageError(f"Experiment {experiment_id!r} has no {' and no '.join(lacks)} in this storage. {again}")
    try:
        stage = differing_stage(root, folder.path, spec)
    except NotThereYetError:
        stage = None  # an imported experiment lacks its data, which no comparison needs
    if stage is not None:
        unfinished = f"its last run did not finish ({stage} is of an earlier spec)"
        raise StorageError(f"Experiment {experiment_id!r}: {unfinished}. {again}")
    return _as_contender(root, experiment_id, results, metric, subset)


def _as_contender(root: Path, experiment_id: str, results: Mapping[str, Result], metric: str, subset: str) -> Contender:
    rows = read_parquet(results["analysis"].folder / TABLES["analysis"]).filter(pl.col("class") == "")
    row = rows.filter((pl.col("subset") == subset) & (pl.col("metric") == metric))
    if not len(row):
        has = [f"{each['metric']} on {each['subset']}" for each in rows.iter_rows(named=True)]
        raise StorageError(
            f"Experiment {experiment_id!r}: {unknown('Metric', f'{metric} on {subset}', has)} Next: name one of them "
            f"as board.metric and board.subset in its file, or compute it (analysis.result_analyzer.metrics)."
        )
    score = leading_score(row.row(0, named=True))
    tested = items_of_analysis(root, results["analysis"].fingerprint, [subset])[subset]
    task = str(results["analysis"].manifest["task"])
    return Contender(experiment_id, task, results, tested, score.value, score.low, score.high)


def champion_of(root: Path, board: str, promotion: Promotion | None, decider: Decider) -> Contender | None:
    """Return the champion as it was promoted; None if there is none.

    Raises:
        StorageError: Its results are gone, or lack the metric.
    """
    if promotion is None:
        return None
    return _as_contender(root, promotion.experiment_id, Boards(root).results(board, promotion), *decider)


def consider(
    root: Path,
    specs: SpecFiles,
    board: str,
    entrants: Mapping[str, Board],
    waiting: Waiting | None = None,
) -> BoardOutcome:
    """Let experiments compete for a board, by the rule; the champion is replaced only by what is surely better.

    Args:
        root: Storage root.
        specs: The spec files.
        board: Name of the board.
        entrants: What the specs of the experiments say of the board.
        waiting: Called with who changes the board, if that has to be waited for.

    Raises:
        StorageError: The board's file is damaged.
    """
    boards = Boards(root)
    with boards.changing(board, waiting) as state:
        rule = _Rule(root, specs, board, state, entrants)
        considered = tuple(rule.decide())
        if rule.state is not None and rule.state is not state:
            boards.store(board, rule.state)
    return BoardOutcome(board, rule.state, considered)


@dataclass
class _Rule:
    """The decision about one board, whose state and champion change with each promotion."""

    root: Path
    specs: SpecFiles
    board: str
    state: BoardState | None
    entrants: Mapping[str, Board]
    champion: Contender | None = None
    out: dict[str, str] = field(default_factory=dict)
    """Why an experiment does not compete, by ID."""

    @property
    def decider(self) -> Decider:
        """The metric and subset of the board, or else those of the first experiment."""
        if self.state is not None:
            return self.state.metric, self.state.subset
        first = self.entrants[min(self.entrants)]
        return str(first.metric), str(first.subset)

    def decide(self) -> Iterator[Considered]:
        """Yield each experiment with what was decided, the best first."""
        if not self.entrants:
            return
        promotion = self.state.champion if self.state else None
        try:
            self.champion = champion_of(self.root, self.board, promotion, self.decider)
        except BROKEN as error:
            yield from (Considered(name, False, str(error)) for name in sorted(self.entrants))
            return
        found = list(self._ordered())
        others = [each for each in found if each.tested != found[0].tested]
        if promotion is None and others:
            names = [each.experiment_id for each in found]
            self.out |= dict.fromkeys(names, _on_other_items(self.root, found[0], others[0]))
        for each in found:
            judged = self._judge(each)
            if judged.is_better:
                self.state = promoted_on(self.state, each, self.decider, "rule", judged.sentence)
                self.champion = each
            yield Considered(each.experiment_id, judged.is_better, judged.sentence, each.value)
        unfinished = self.out.keys() - {each.experiment_id for each in found}
        yield from (Considered(name, False, self.out[name]) for name in sorted(unfinished))

    def _ordered(self) -> Iterator[Contender]:
        """Yield those that compete, the best first; the others get a reason."""
        found = []
        for name, said in sorted(self.entrants.items()):
            if (said.metric, said.subset) != self.decider:
                self.out[name] = (
                    f"board {self.board!r} is decided by {' on '.join(self.decider)}, but its board.metric and "
                    f"board.subset are {said.metric} on {said.subset}. Next: write the same into all files; or 'assay "
                    f"promote {name}', which makes them those of the board"
                )
                continue
            try:
                found.append(contender(self.root, name, *self.decider))
            except BROKEN as error:
                self.out[name] = str(error)
        higher = get_metric(self.decider[0]).higher_is_better
        yield from sorted(found, key=lambda each: _rank_of(each, higher))

    def _judge(self, each: Contender) -> "Comparison":
        """Return whether an experiment becomes champion, and why or why not."""
        state, name = self.state, each.experiment_id
        if name in self.out:
            return Comparison(False, self.out[name])
        if state is not None and each.task != state.task:
            task = f"its task is {each.task}, but board {self.board!r} is of {state.task}"
            return Comparison(False, f"{task}. Next: give it another board.name")
        if state is not None and state.has_withdrawn(each.results["trained_model"].fingerprint):
            return Comparison(False, f"it was taken back; it returns only by hand: assay promote {name}")
        if state is not None and state.leaves_alone(each.results["analysis"].fingerprint):
            return Comparison(
                False, f"it was there when somebody chose by hand; now only by hand: assay promote {name}"
            )
        if _finite(each.value) is None:
            return Comparison(False, f"its {self.decider[0]} is not defined")
        judged = Comparison(True, "the first one on this board")
        if self.champion is not None:
            judged = compare_with_champion(self.root, each, self.champion, self.decider)
        return self._unless_tests_fail(name) or judged if judged.is_better else judged

    def _unless_tests_fail(self, name: str) -> "Comparison | None":
        """Run an experiment's tests; return that it is kept out by them, or None."""
        try:
            failed = failed_tests(self.root, name, self.specs.load(name).exptests.tests or ())
        except BROKEN as error:
            return Comparison(False, f"its tests can't be run: {error}")
        return Comparison(False, f"its tests failed: {'; '.join(failed[:3])}") if failed else None


def _rank_of(each: Contender, higher: bool) -> tuple[bool, float, str]:
    value = _finite(each.value)
    return value is None, (-1 if higher else 1) * (value or 0.0), each.experiment_id


def promoted_on(state: BoardState | None, each: Contender, decider: Decider, by: str, reason: str) -> BoardState:
    """Return the state of a board with another champion.

    Args:
        state: Its former state; None for a new board.
        each: The new champion.
        decider: The metric and the subset that decide.
        by: ``rule`` or ``hand``.
        reason: Why, in a sentence.
    """
    history = (*(state.history if state else ()), each.promotion(by, reason))
    passed_over = state.passed_over if state else ()
    return BoardState(task=each.task, metric=decider[0], subset=decider[1], history=history, passed_over=passed_over)


@dataclass(frozen=True)
class Comparison:
    """Whether an experiment is surely better than the champion, and the sentence that says so."""

    is_better: bool
    sentence: str


def compare_with_champion(root: Path, each: Contender, champion: Contender, decider: Decider) -> Comparison:
    """Compare an experiment with the champion, item by item.

    Args:
        root: Storage root.
        each: The experiment.
        champion: The champion.
        decider: The metric and the subset that decide.
    """
    from assay.comparison.pairs import compare_items

    metric, subset = decider
    if each.results["analysis"].fingerprint == champion.results["analysis"].fingerprint:
        same = each.experiment_id == champion.experiment_id
        return Comparison(False, "it is the champion" if same else f"its results are those of {champion.experiment_id}")
    if each.tested != champion.tested:
        return Comparison(False, _on_other_items(root, each, champion))
    rule = get_metric(metric, each.task)
    whose = f"{champion.experiment_id}{' as promoted' * (champion.experiment_id == each.experiment_id)}"
    numbers = f"{readable_number(each.value)} and {readable_number(champion.value)} of {whose}"
    values = f"{rule.label} {numbers}"
    if not _is_ahead(each.value, champion.value, rule.higher_is_better):
        return Comparison(False, f"not better: {values}")
    try:
        difference, chance, tested = compare_items((champion.results, each.results), each.task, subset, metric)
    except BROKEN as error:
        return Comparison(False, f"can't be compared with {champion.experiment_id}: {error}")
    if tested < LEAST_PAIRED:
        return Comparison(False, f"too few items to be sure ({tested} of {LEAST_PAIRED}): {values}")
    return decided(values, difference, chance)


def _is_ahead(value: float | None, other: float | None, higher: bool) -> bool:
    one, two = _finite(value), _finite(other)
    if one is None or two is None:
        return two is None and one is not None
    return one > two if higher else one < two


def decided(values: str, difference: "MetricDifference", chance: float | None) -> Comparison:
    """Return whether the second of two is surely better, and the sentence.

    Args:
        values: Both values, in words.
        difference: The metric of the champion and of the experiment.
        chance: McNemar's p of the items that changed sides; None without such items.
    """
    from assay.comparison.pairs import COUNTED, surely_better

    is_better = surely_better(difference, chance) == "second"
    change = difference.values[1] - difference.values[0]
    margin = "" if math.isnan(difference.low) else f", {change:+.3g} [{difference.low:+.3g}, {difference.high:+.3g}]"
    p = "" if chance is None or difference.name not in COUNTED else f", p = {chance:.2g}"
    sure = "surely better" if is_better else "not surely better, chance may explain it"
    return Comparison(is_better, f"{sure}: {values}{margin}{p}")


def _on_other_items(root: Path, each: Contender, other: Contender) -> str:
    """Return that two experiments were tested on different items, and in which keys about data they differ."""
    keys = []
    try:
        specs = [recorded_spec(root, one.experiment_id) for one in (each, other)]
        if all(specs):
            keys = [key for key in differing_keys([flatten(spec or {}) for spec in specs]) if key.startswith(DATA_KEYS)]
    except AssayError:
        pass  # one of them was removed
    differ = f" (they differ in {', '.join(keys[:3])})" if keys else ""
    whose = f"{other.experiment_id}{' as promoted' * (other.experiment_id == each.experiment_id)}"
    return (
        f"{each.experiment_id} and {whose} were tested on different items{differ}, so that nobody knows "
        f"which is better. Next: evaluate both on the same items, or decide by hand: assay promote {each.experiment_id}"
    )


def board_for(root: Path, specs: SpecFiles, experiment_id: str) -> tuple[Board, bool]:
    """Return the board that an experiment's spec names, or ``main``, with what decides; and whether it names one.

    The experiment's file counts; where it was removed or is not valid, what its last run recorded.

    Raises:
        AssayError: There is no such experiment, or nothing valid is known of it.
    """
    try:
        values = specs.load(experiment_id).as_dict()
    except SpecError:
        recorded = recorded_spec(root, experiment_id)
        if recorded is None:
            if specs.exists(experiment_id):
                raise
            raise StorageError(unknown("Experiment", experiment_id, specs.ids())) from None
        values = recorded
    board = spec_from({**values, "board": values.get("board") or MAIN}, f"experiment {experiment_id}").board
    if board is None or board.metric is None:
        raise StorageError(f"Experiment {experiment_id!r} has no results yet. Next: assay run {experiment_id}")
    return board, bool(values.get("board"))


def promote_by_hand(
    root: Path, specs: SpecFiles, experiment_id: str, board: str = "", waiting: Waiting | None = None
) -> BoardOutcome:
    """Make an experiment the champion of a board, whatever the rule would say.

    Args:
        root: Storage root.
        specs: The spec files.
        experiment_id: The experiment.
        board: Name of the board; empty: that of its spec, or ``main``.
        waiting: Called with who changes the board, if that has to be waited for.

    Returns:
        The board; the experiment is not ``promoted`` if it was the champion already.

    Raises:
        AssayError: There is no such experiment or board, the experiment is not finished, or has another task.
    """
    own, is_named = board_for(root, specs, experiment_id)
    name = _board_among(root, specs, board, own.name)
    boards = Boards(root)
    with boards.changing(name, waiting) as state:
        decider = str(own.metric), str(own.subset)
        if state is not None and not (is_named and own.name == name):
            decider = state.metric, state.subset
        champion = state.champion if state else None
        task = learning_of(recorded_spec(root, experiment_id) or {})
        if state is not None and champion is not None and task not in ("", state.task):
            raise StorageError(
                f"Experiment {experiment_id!r} is {task}, but board {name!r}, whose champion is "
                f"{champion.experiment_id!r}, is of {state.task}. Next: begin a board of its own with "
                f"'board: {experiment_id}' in its file."
            )
        each = contender(root, experiment_id, *decider)
        if champion is not None and _is_same(champion, each):
            return BoardOutcome(name, state, (Considered(experiment_id, False, "it is the champion", each.value),))
        reason = f"by hand; {_beside_the_champion(root, name, champion, each, decider)}"
        passed = tuple(analyses_there(root, specs, name))
        state = promoted_on(state, each, decider, "hand", reason).model_copy(update={"passed_over": passed})
        boards.store(name, state)
    return BoardOutcome(name, state, (Considered(experiment_id, True, reason, each.value),))


def promote_by_rule(
    root: Path, specs: SpecFiles, experiment_id: str, board: str = "", waiting: Waiting | None = None
) -> BoardOutcome:
    """Let one experiment compete for a board, see ``consider`` and, for arguments and errors, ``promote_by_hand``."""
    own, is_named = board_for(root, specs, experiment_id)
    name = _board_among(root, specs, board, own.name)
    state = Boards(root).state(name)
    if state is not None and not (is_named and own.name == name):
        own = own.model_copy(update={"metric": state.metric, "subset": state.subset})
    return consider(root, specs, name, {experiment_id: own}, waiting)


def _is_same(champion: Promotion, each: Contender) -> bool:
    made = (each.results["trained_model"].fingerprint, each.results["analysis"].fingerprint)
    return champion.experiment_id == each.experiment_id and (champion.model, champion.analysis) == made


def _board_among(root: Path, specs: SpecFiles, name: str, own: str) -> str:
    """Return the board to promote on: the one asked for, or that of the experiment.

    Raises:
        StorageError: It neither has a champion nor is named by a spec: it may be a slip of the pen.
    """
    if name in ("", own, MAIN) or name in (known := {*Boards(root).names(), *entered(specs)[0]}):
        return name or own
    begin = "To begin another board, write 'board: NAME' into the experiment's file."
    raise StorageError(f"{unknown('Board', name, {*known, own})} {begin}")


def _beside_the_champion(root: Path, board: str, promotion: Promotion | None, each: Contender, decider: Decider) -> str:
    """Return how an experiment that is promoted by hand compares with the champion, which need not be better."""
    try:
        champion = champion_of(root, board, promotion, decider)
    except BROKEN as error:
        return str(error)
    if champion is None:
        return "the first one on this board"
    return compare_with_champion(root, each, champion, decider).sentence
