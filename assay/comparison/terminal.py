"""A comparison as text: the table for the terminal, and the sentences that the page and the dashboard show too."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assay.analysis.base import baseline_text
from assay.comparison.importance import importance_text
from assay.comparison.load import ComparisonData, Entry, ExperimentCost, Score
from assay.comparison.ranking import Ranking
from assay.comparison.repeats import Ends, Repeats, interval_of_difference, keys_of_repeats
from assay.experiments.costs import total_of_rows
from assay.metrics.registry import get_metric
from assay.spec.yaml_text import brief
from assay.utils.text import pluralize, readable_number, text_table

MAX_LINES = 10
"""Number of experiments without results, or with notes, that are listed."""

MAX_CELL = 40
"""Characters of a cell."""

MAX_NAMED_KEYS = 3
"""Number of differing keys that a sentence names."""

ITEMS_NAME_LENGTH = 6
"""Hex digits of the name of a set of items."""

FIXED_COLUMNS = 3
"""Number of columns that are never left out: rank, ID and metric."""


@dataclass(frozen=True)
class _Column:
    name: str
    cell: Callable[[Any], str]


def as_text(ranking: Ranking, subset: str, width: int, costs: bool = False) -> list[str]:
    """Return a ranking as lines of text.

    Args:
        ranking: Experiments of one task, tested on the same items.
        subset: The compared subset.
        width: Characters per line; columns that do not fit are only named.
        costs: Whether to show what the results cost, before everything else that differs.
    """
    lines = [title(ranking, subset)]
    if ranking.ranked:
        lines += [
            *([note] if (note := note_on_items(ranking)) else []),
            *_table(ranking, width, costs),
            verdict_on_best(ranking),
            *_first_lines(notes(ranking)),
        ]
    if ranking.others:
        lines += [
            f"Without results: {len(ranking.others)}",
            *_first_lines([note_line(entry) for entry in ranking.others]),
        ]
    return lines


def _table(ranking: Ranking, width: int, costs: bool) -> list[str]:
    return _fitting(_columns(ranking, costs), ranking.ranked, FIXED_COLUMNS, width)


def _fitting(columns: Sequence[_Column], rows: Sequence[Any], fixed: int, width: int) -> list[str]:
    """Return a table without the last columns that have no room, whose names are told."""
    shown_columns = list(columns)
    table = _lines(shown_columns, rows)
    while len(shown_columns) > fixed and max(len(line) for line in table) > width:
        shown_columns.pop()
        table = _lines(shown_columns, rows)
    left_out = [column.name for column in columns[len(shown_columns) :]]
    return [*table, f"Left out for want of width: {', '.join(left_out)}."] if left_out else table


def _columns(ranking: Ranking, costs: bool) -> list[_Column]:
    """Return the columns, the most important first: those at the end are left out where there is no room."""
    ranks = {entry.experiment_id: str(rank) for rank, entry in enumerate(ranking.ranked, start=1)}
    return [
        _Column("", lambda entry: ranks[entry.experiment_id]),
        _Column("experiment", lambda entry: entry.experiment_id),
        _Column(ranking.metric_name, lambda entry: value_with_interval(ranking.score(entry))),
        *(_cost_columns(ranking) if costs else []),
        *(_key_column(key, name) for key, name in ranking.keys.items()),
        *(_metric_column(name) for name in ranking.metric_names[1:]),
        _Column("trained epochs", lambda entry: str(entry.epochs or "")),
        *([_Column("name", lambda entry: entry.name)] if len({entry.name for entry in ranking.ranked}) > 1 else []),
    ]


def _cost_columns(ranking: Ranking) -> list[_Column]:
    return [_cost_column(name, value) for name, value in cost_numbers(ranking).items()]


def _cost_column(name: str, value: Callable[[ExperimentCost], float | None]) -> _Column:
    return _Column(name, lambda entry: "-" if (known := value(entry.cost)) is None else readable_number(known))


def cost_numbers(ranking: Ranking) -> dict[str, Callable[[ExperimentCost], float | None]]:
    """Return what is shown of the costs of experiments, by the name of its column with its unit."""
    uses_gpus = any(entry.cost.gpu_s for entry in ranking.ranked)
    return {
        "wall_s": lambda cost: cost.wall_s,
        "cpu_s": lambda cost: cost.cpu_s,
        **({"gpu_s": lambda cost: cost.gpu_s} if uses_gpus else {}),
        "peak_memory_mb": lambda cost: cost.peak_memory_mb,
        "size_mb": lambda cost: None if cost.size_bytes is None else cost.size_bytes / 1e6,
    }


def price(collection: ComparisonData) -> str:
    """Return what the results of all experiments that ran cost together, as a sentence."""
    ran = pluralize(collection.costs["experiment_id"].n_unique(), "experiment")
    return f"Cost of the {ran} that ran, shared results counted once: {total_of_rows(collection.costs)}"


def _key_column(key: str, name: str) -> _Column:
    return _Column(name, lambda entry: _cut(brief(entry.keys[key])) if key in entry.keys else "-")


def _metric_column(name: str) -> _Column:
    return _Column(name, lambda entry: readable_number(entry.scores[name].value) if name in entry.scores else "-")


def _lines(columns: Sequence[_Column], entries: Sequence[Any]) -> list[str]:
    rows = [[column.cell(entry) for column in columns] for entry in entries]
    texts = {"experiment", "experiments", "name", "repeats"}
    return text_table([column.name for column in columns], rows, frozenset(c.name for c in columns) - texts)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_CELL else f"{text[: MAX_CELL - 1]}…"


def _first_lines(lines: list[str]) -> list[str]:
    more = [f"  … and {len(lines) - MAX_LINES} more"] if len(lines) > MAX_LINES else []
    return [*(f"  {line}" for line in lines[:MAX_LINES]), *more]


def interval(score: Score) -> str:
    """Return the interval as text, such as ``[0.912, 0.965]``; empty without one."""
    return _ends((score.low, score.high)) if score.low is not None and score.high is not None else ""


def _ends(ends: Ends) -> str:
    return f"[{readable_number(ends[0])}, {readable_number(ends[1])}]" if ends else ""


def value_with_interval(score: Score) -> str:
    """Return value and interval as text, such as ``0.940 [0.912, 0.965]``."""
    return f"{readable_number(score.value)} {interval(score)}".strip()


def title(ranking: Ranking, subset: str) -> str:
    """Return what is compared: task, metric, subset and which direction is better."""
    if not ranking.ranked:
        return ranking.task or "experiments without a valid spec"
    metric, score = ranking.metric, ranking.score(ranking.ranked[0])
    unit = f" in {score.unit}" if score.unit else ""
    better = "higher" if metric.higher_is_better else "lower"
    return f"{ranking.task}: {metric.label}{unit} on {subset}{_named_items(ranking)}, {better} is better"


def items_name(ranking: Ranking) -> str:
    """Return a name of the items that a ranking is about, which is the same wherever it is shown."""
    return ranking.tested[:ITEMS_NAME_LENGTH]


def _named_items(ranking: Ranking) -> str:
    return f" (items {items_name(ranking)})" if ranking.apart else ""


def note_on_items(ranking: Ranking) -> str:
    """Return that experiments of the task were tested on different items, and why.

    It is said once, with the first ranking of the task; empty for the others, and where all were tested on the same.
    """
    apart = ranking.apart
    if apart is None or ranking.tested != apart.first:
        return ""
    names = ", ".join(apart.keys[:MAX_NAMED_KEYS]) + (", …" if len(apart.keys) > MAX_NAMED_KEYS else "")
    why = f"they differ in {names}" if names else "the data changed between their runs"
    if apart.sets == apart.experiments:
        return (
            f"Each of the {apart.experiments} experiments of task {ranking.task} was tested on items of its own "
            f"({why}): nothing to rank."
        )
    return (
        f"Tested on different items: {apart.experiments} experiments on {apart.sets} sets of items ({why}). Numbers "
        "about different items can't be compared, so each set has its own ranking."
    )


def verdict_on_best(ranking: Ranking) -> str:
    """Return how good the best experiment is, whether it beats the baseline, and whether others are clearly worse."""
    best = ranking.ranked[0]
    score = ranking.score(best)
    baseline = baseline_text(score.baseline_name, score.baseline) if score.baseline is not None else "no baseline"
    items = pluralize(score.count, "item")
    name = f"Best: {best.experiment_id}," if len(ranking.ranked) > 1 else f"{best.experiment_id}:"
    measured = f"{name} {value_with_interval(score)} on {items}{_of_set(ranking)}; {baseline}."
    return " ".join(
        sentence for sentence in (measured, _against_baseline(ranking), _among_themselves(ranking)) if sentence
    )


def _of_set(ranking: Ranking) -> str:
    is_ranked = ranking.apart is not None and len(ranking.ranked) > 1
    return f" of set {items_name(ranking)}, not compared with other sets" if is_ranked else ""


def _against_baseline(ranking: Ranking) -> str:
    score = ranking.score(ranking.ranked[0])
    worse_end = score.low if ranking.metric.higher_is_better else score.high
    if score.value is None or score.baseline is None:
        return ""
    if not ranking.metric.beats(score.value, score.baseline):
        return f"It is not better than the {score.baseline_name}."
    if worse_end is None:
        return f"It has no interval: it is not surely better than the {score.baseline_name}."
    if ranking.metric.beats(worse_end, score.baseline):
        return ""
    return f"Its interval reaches the {score.baseline_name}: it is not surely better."


def _among_themselves(ranking: Ranking) -> str:
    """Return whether the best is surely better than the others, by the test of ``diff`` where that was done."""
    if len(ranking.ranked) == 1:
        return ""
    if ranking.surely_worse:
        return _item_by_item(ranking)
    known = [entry for entry in ranking.ranked[1:] if ranking.score(entry).low is not None]
    others, near = len(known), len(ranking.not_separable)
    if ranking.score(ranking.ranked[0]).low is None:
        return ""
    without = len(ranking.ranked) - 1 - others
    rest = f" {without} of the others {'has' if without == 1 else 'have'} no interval." if without else ""
    if not others:
        return rest.strip()
    if not near:
        return f"Its interval overlaps with no other's.{rest}"
    whose = f"{near} of {others} others'"
    if near == others:
        whose = "the other's" if others == 1 else f"all {others} others'"
    return f"Its interval overlaps with {whose}: 'assay diff' tells, item by item, whether it is better.{rest}"


def _item_by_item(ranking: Ranking) -> str:
    compared, others = ranking.surely_worse, len(ranking.ranked) - 1
    next_best = "next best one" if len(compared) == 1 else f"{len(compared)} next best"
    whom = f"all {others} others" if len(compared) == others else f"the {next_best}"
    unsure = [name for name, is_worse in compared.items() if not is_worse]
    if not unsure:
        return f"It is surely better than {'the other' if others == 1 else whom}, item by item."
    names = ", ".join(unsure[:MAX_NAMED_KEYS]) + (", …" if len(unsure) > MAX_NAMED_KEYS else "")
    share = f" ({len(unsure)} of {whom.removeprefix('all ')})" if others > 1 else ""
    return f"It is not surely better than {names}{share}, item by item: see assay diff."


REPEATED_COLUMNS = 6
"""Number of columns of repeats that are never left out."""


def repeats_text(groups: Sequence[Repeats], task: str, subset: str, width: int) -> list[str]:
    """Return the mean and spread of repeats as lines of text: a table, what it says, and the value of each repeat.

    Args:
        groups: Repeats of one task, best first.
        task: The task.
        subset: The compared subset.
        width: Characters per line; columns that do not fit are only named.
    """
    metric = get_metric(groups[0].metric_name)
    better = "higher" if metric.higher_is_better else "lower"
    return [
        f"{task}: mean {metric.label} on {subset} over repeats, {better} is better",
        *_fitting(repeat_columns(groups), groups, REPEATED_COLUMNS, width),
        verdict_on_repeats(groups),
        *_first_lines([each_repeat(group) for group in groups]),
    ]


def repeat_columns(groups: Sequence[Repeats]) -> list[_Column]:
    """Return the columns of a table of repeats."""
    ranks = {group.name: str(rank) for rank, group in enumerate(groups, start=1)}
    name, keys = groups[0].metric_name, keys_of_repeats(groups)
    others = dict.fromkeys(other for group in groups for other in group.members[0].scores if other != name)
    return [
        _Column("", lambda group: ranks[group.name]),
        _Column("experiments", lambda group: group.name),
        _Column("repeats", lambda group: group.extent),
        _Column(f"mean {name}", lambda group: readable_number(group.mean())),
        _Column("deviation", lambda group: readable_number(group.deviation)),
        _Column("95% interval of the mean", lambda group: _ends(group.interval)),
        *(_key_of_repeats(key, short) for key, short in keys.items()),
        *(_mean_column(other) for other in others),
    ]


def _key_of_repeats(key: str, name: str) -> _Column:
    column = _key_column(key, name)
    return _Column(name, lambda group: column.cell(group.members[0]))


def _mean_column(name: str) -> _Column:
    return _Column(f"mean {name}", lambda group: readable_number(group.mean(name)))


def each_repeat(group: Repeats) -> str:
    """Return the value of each repeat as a line."""
    values = (f"{each.experiment_id} {readable_number(each.scores[group.metric_name].value)}" for each in group.members)
    return ", ".join(values)


def verdict_on_repeats(groups: Sequence[Repeats]) -> str:
    """Return how good the best repeats are, and whether others are surely worse on the same items."""
    best, others = groups[0], groups[1:]
    spread = "" if best.deviation is None else f", standard deviation {readable_number(best.deviation)}"
    name = f"Best: {best.name}," if others else f"{best.name}:"
    measured = f"{name} {readable_number(best.mean())} on average over {best.extent}{spread}."
    if not others:
        return measured
    partial = [group.name for group in groups if len(group.members) < group.wanted]
    if partial:
        return f"{measured} Not all repeats of {', '.join(partial)} have results: the order is not certain."
    near = [group.name for group in others if not _is_surely_better(best, group)]
    if not near:
        whom = "the other" if len(others) == 1 else f"all {len(others)} others"
        return f"{measured} It is surely better than {whom}, compared repeat by repeat."
    return f"{measured} Not surely better than {', '.join(near[:MAX_LINES])}: chance may explain the difference."


def _is_surely_better(best: Repeats, other: Repeats) -> bool:
    ends = interval_of_difference(best, other)
    higher = get_metric(best.metric_name).higher_is_better
    return ends is not None and (ends[1] < 0 if higher else ends[0] > 0)


def importance_sentence(ranking: Ranking, shares: Mapping[str, float]) -> str:
    """Return how much of the differences in the metric each key explains.

    Args:
        ranking: The experiments.
        shares: By key, see ``importance.importances``.
    """
    label = ranking.metric.label
    return (
        f"Of the differences in {label} that the keys explain alone (fANOVA): {importance_text(shares, ranking.keys)}."
    )


def notes(ranking: Ranking) -> list[str]:
    """Return the notes of the ranked experiments, one line each."""
    return [note_line(entry) for entry in ranking.ranked if entry.note]


def note_line(entry: Entry) -> str:
    """Return an experiment's note as a line."""
    return f"{entry.experiment_id}: {entry.note}"
