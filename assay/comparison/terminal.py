"""A comparison as text for the terminal.

Belongs here: columns and lines. Does not belong here: the HTML page.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from assay.analysis.base import readable_number
from assay.comparison.load import Entry, Score
from assay.comparison.ranking import Ranking
from assay.spec.yaml_text import brief
from assay.utils.text import text_table

MOST_LINES = 10
"""How many experiments without results, or with notes, are listed."""

LONGEST_CELL = 40

ALWAYS = 3
"""The first columns, which are never left out: place, ID, metric."""


@dataclass(frozen=True)
class _Column:
    name: str
    cell: Callable[[Entry], str]


def as_text(ranking: Ranking, subset: str, width: int) -> list[str]:
    """Return a ranking as lines.

    Args:
        ranking: One task's experiments.
        subset: The compared subset.
        width: Characters of a line; columns beyond it are named instead of shown.
    """
    lines = [title(ranking, subset)]
    if ranking.ranked:
        lines += [*_table(ranking, width), verdict(ranking), *_few(notes(ranking))]
    if ranking.others:
        lines += [f"Without results: {len(ranking.others)}", *_few([about(entry) for entry in ranking.others])]
    return lines


def _table(ranking: Ranking, width: int) -> list[str]:
    columns = _columns(ranking)
    shown_columns = list(columns)
    table = _lines(shown_columns, ranking.ranked)
    while len(shown_columns) > ALWAYS and max(len(line) for line in table) > width:
        shown_columns.pop()
        table = _lines(shown_columns, ranking.ranked)
    left_out = [column.name for column in columns[len(shown_columns) :]]
    return [*table, f"Left out for want of width: {', '.join(left_out)}."] if left_out else table


def _columns(ranking: Ranking) -> list[_Column]:
    """Return the columns, the most telling first: those at the end are left out where there is no room."""
    places = {entry.experiment_id: str(number) for number, entry in enumerate(ranking.ranked, start=1)}
    return [
        _Column("", lambda entry: places[entry.experiment_id]),
        _Column("experiment", lambda entry: entry.experiment_id),
        _Column(ranking.metric_name, lambda entry: value_with_interval(ranking.score(entry))),
        *(_key_column(key, name) for key, name in ranking.keys.items()),
        *(_metric_column(name) for name in ranking.metric_names[1:]),
        _Column("trained epochs", lambda entry: str(entry.epochs or "")),
        *([_Column("name", lambda entry: entry.name)] if len({entry.name for entry in ranking.ranked}) > 1 else []),
    ]


def _key_column(key: str, name: str) -> _Column:
    return _Column(name, lambda entry: _cut(brief(entry.keys[key])) if key in entry.keys else "-")


def _metric_column(name: str) -> _Column:
    return _Column(name, lambda entry: readable_number(entry.scores[name].value) if name in entry.scores else "-")


def _lines(columns: Sequence[_Column], entries: Sequence[Entry]) -> list[str]:
    rows = [[column.cell(entry) for column in columns] for entry in entries]
    texts = {"experiment", "name"}
    return text_table([column.name for column in columns], rows, frozenset(c.name for c in columns) - texts)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_CELL else f"{text[: LONGEST_CELL - 1]}…"


def _few(lines: list[str]) -> list[str]:
    more = [f"  … and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else []
    return [*(f"  {line}" for line in lines[:MOST_LINES]), *more]


def interval(score: Score) -> str:
    """Return ``[0.912, 0.965]``, empty without an interval."""
    if score.low is None or score.high is None:
        return ""
    return f"[{readable_number(score.low)}, {readable_number(score.high)}]"


def value_with_interval(score: Score) -> str:
    """Return ``0.940 [0.912, 0.965]``."""
    return f"{readable_number(score.value)} {interval(score)}".strip()


def title(ranking: Ranking, subset: str) -> str:
    """Return what is compared: task, metric, subset and which way is better."""
    if not ranking.ranked:
        return ranking.task or "experiments without a valid spec"
    metric, score = ranking.metric, ranking.score(ranking.ranked[0])
    unit = f" in {score.unit}" if score.unit else ""
    better = "higher" if metric.higher_is_better else "lower"
    return f"{ranking.task}: {metric.label}{unit} on {subset}, {better} is better"


def verdict(ranking: Ranking) -> str:
    """Return how good the best is, against the baseline, and whether the others are really worse."""
    best = ranking.ranked[0]
    score = ranking.score(best)
    beaten = f"{score.baseline_name} {readable_number(score.baseline)}" if score.baseline is not None else "no baseline"
    items = f"{score.count:,} item{'s' * (score.count != 1)}"
    measured = f"Best: {best.experiment_id}, {value_with_interval(score)} on {items}; {beaten}."
    return " ".join(
        sentence for sentence in (measured, _against_baseline(ranking), _among_themselves(ranking)) if sentence
    )


def _against_baseline(ranking: Ranking) -> str:
    score = ranking.score(ranking.ranked[0])
    worse_end = score.low if ranking.metric.higher_is_better else score.high
    if score.baseline is None or worse_end is None or ranking.metric.beats(worse_end, score.baseline):
        return ""
    return f"Its interval reaches the {score.baseline_name}: it is not surely better."


def _among_themselves(ranking: Ranking) -> str:
    others, near = len(ranking.ranked) - 1, len(ranking.not_separable)
    if not others or ranking.score(ranking.ranked[0]).low is None:
        return ""
    if not near:
        return "Its interval overlaps with no other's."
    whose = f"{near} of {others} others'"
    if near == others:
        whose = "the other's" if others == 1 else f"all {others} others'"
    return f"Its interval overlaps with {whose}: the order among these is not certain."


def notes(ranking: Ranking) -> list[str]:
    """Return one line per ranked experiment about which there is something to know."""
    return [about(entry) for entry in ranking.ranked if entry.note]


def about(entry: Entry) -> str:
    """Return an experiment's note as a line."""
    return f"{entry.experiment_id}: {entry.note}"
