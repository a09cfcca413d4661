"""The table of the page: one row per experiment, best first.

Belongs here: cells and what they are sorted by. Does not belong here: the page around it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os.path import relpath
from pathlib import Path
from typing import Any
from urllib.parse import quote

from assay.analysis.base import readable_number
from assay.comparison.entries import Entry, Score
from assay.comparison.markup import Content, Element, element
from assay.comparison.ranking import Ranking
from assay.comparison.words import interval
from assay.metrics.registry import label_of
from assay.spec.dotted import brief

WHISKER_WIDTH, WHISKER_HEIGHT = 150, 18


@dataclass(frozen=True)
class _Column:
    """A column: its heading and, per experiment, what is shown and what it is sorted by."""

    heading: str
    explanation: str
    content: Callable[[Entry], tuple[Content, ...]]
    sorted_by: Callable[[Entry], Any]
    kind: str = "number"


def table(ranking: Ranking, page: Path) -> Element:
    """Return the table of the experiments with results.

    Args:
        ranking: The experiments.
        page: Where the page will be; links to folders start from there, so that the storage may be moved as a whole.
    """
    columns = _columns(ranking, page)
    head = element("tr", *(_heading(column) for column in columns))
    body = [
        element("tr", *(_cell(column, entry) for column in columns), data_row=str(place))
        for place, entry in enumerate(ranking.ranked)
    ]
    return element("table", element("thead", head), element("tbody", *body))


def _heading(column: _Column) -> Element:
    button = element("button", column.heading, type="button", title=column.explanation)
    return element("th", button, scope="col", class_=column.kind)


def _cell(column: _Column, entry: Entry) -> Element:
    value = column.sorted_by(entry)
    return element("td", *column.content(entry), class_=column.kind, data_value="" if value is None else str(value))


def _columns(ranking: Ranking, page: Path) -> list[_Column]:
    places = {entry.experiment_id: place for place, entry in enumerate(ranking.ranked, start=1)}
    names = len({entry.name for entry in ranking.ranked}) > 1
    identity = _Column(
        "experiment", "ID; opens its folder", lambda e: _identity(e, page, names), lambda e: e.experiment_id, "text"
    )
    return [
        _Column(
            "#", "place by the metric", lambda e: (str(places[e.experiment_id]),), lambda e: places[e.experiment_id]
        ),
        identity,
        *_ordering_metric(ranking),
        *(_key(key, name) for key, name in ranking.keys.items()),
        *(_metric(name) for name in ranking.metric_names[1:]),
        _Column(
            "epochs trained",
            "as stored in training_history",
            lambda e: (str(e.epochs or ""),),
            lambda e: e.epochs,
            "number minor",
        ),
    ]


def _identity(entry: Entry, page: Path, names: bool) -> tuple[Content, ...]:
    name: list[Content] = [element("div", entry.name, class_="name")] if entry.name and names else []
    note: list[Content] = [element("div", entry.note, class_="note")] if entry.note else []
    if entry.folder is None:
        return (entry.experiment_id, *name, *note)
    address = quote(relpath(entry.folder, page.parent))
    return (element("a", entry.experiment_id, href=address), *name, *note)


def _ordering_metric(ranking: Ranking) -> list[_Column]:
    low, high = _range([ranking.score(entry) for entry in ranking.ranked])

    def content(entry: Entry) -> tuple[Content, ...]:
        score = ranking.score(entry)
        return element("b", readable_number(score.value)), " ", element("small", interval(score))

    def value(entry: Entry) -> float | None:
        return ranking.score(entry).value

    explanation = "value, interval (line) and baseline (grey mark)"
    return [
        _Column(ranking.metric.label, "orders the table; with its interval", content, value),
        _Column("", explanation, lambda e: (_whisker(ranking.score(e), low, high),), value, "whisker"),
    ]


def _range(scores: Sequence[Score]) -> tuple[float, float]:
    """Return the range of the whiskers: all values and intervals, and the baselines if they leave room for the rest."""
    ends = [end for score in scores for end in (score.value, score.low, score.high) if end is not None]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    baselines = [score.baseline for score in scores if score.baseline is not None]
    near = [baseline for baseline in baselines if low - (high - low) <= baseline <= high + (high - low)]
    return min([low, *near]), max([high, *near])


def _whisker(score: Score, low: float, high: float) -> Element:
    """Return a small picture: the value as a dot, its interval as a line, the baseline as a mark."""

    def x(value: float) -> str:
        return f"{4 + (WHISKER_WIDTH - 8) * (value - low) / ((high - low) or 1.0):.1f}"

    middle = str(WHISKER_HEIGHT // 2)
    marks: list[Content] = []
    if score.baseline is not None and low <= score.baseline <= high:
        at = x(score.baseline)
        marks.append(element("line", x1=at, x2=at, y1="2", y2=str(WHISKER_HEIGHT - 2), class_="baseline"))
    if score.low is not None and score.high is not None:
        marks.append(element("line", x1=x(score.low), x2=x(score.high), y1=middle, y2=middle, class_="interval"))
    if score.value is not None:
        marks.append(element("circle", cx=x(score.value), cy=middle, r="3.5"))
    return element("svg", *marks, width=str(WHISKER_WIDTH), height=str(WHISKER_HEIGHT), aria_hidden="true")


def _key(key: str, name: str) -> _Column:
    def content(entry: Entry) -> tuple[Content, ...]:
        return (brief(entry.keys[key]) if key in entry.keys else "–",)

    def value(entry: Entry) -> Any:
        found = entry.keys.get(key)
        return found if isinstance(found, (int, float)) and not isinstance(found, bool) else content(entry)[0]

    return _Column(name, key, content, value, "key")


def _metric(name: str) -> _Column:
    def content(entry: Entry) -> tuple[Content, ...]:
        return (readable_number(entry.scores[name].value) if name in entry.scores else "–",)

    def value(entry: Entry) -> float | None:
        return entry.scores[name].value if name in entry.scores else None

    return _Column(label_of(name), name, content, value, "number minor")
