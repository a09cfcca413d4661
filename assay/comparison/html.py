"""The page of a comparison: one self-contained HTML file, which needs no network.

Belongs here: layout and the table. Does not belong here: HTML as a tree (``assay.utils.html``), which curves are drawn
(``assay.comparison.figures``).
"""

import base64
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from os.path import relpath
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from assay.comparison.figures import cost_panels, curve_panels, key_importances, key_panels, parallel_plot
from assay.comparison.load import ComparisonData, Entry, ExperimentCost, Score
from assay.comparison.ranking import Ranking
from assay.comparison.repeats import Repeats
from assay.comparison.terminal import (
    cost_numbers,
    each_repeat,
    importance_sentence,
    interval,
    note_line,
    note_on_items,
    repeat_columns,
    title,
    verdict_on_best,
    verdict_on_repeats,
)
from assay.metrics.registry import label_of
from assay.plots.common import Panel
from assay.plots.comparison import draw_panels, draw_parallel
from assay.spec.yaml_text import brief
from assay.storage.files import write_text
from assay.utils.html import Content, Element, element, page_head, shipped_text, whisker, write_page
from assay.utils.text import pluralize, readable_number

_NAMESPACE = re.compile(r"\{[^}]*\}")

_EXTRA_DIGITS = re.compile(r"(\.\d)\d+")
"""Digits of coordinates beyond a tenth of a pixel, which are a third of a large SVG."""


RepeatsByTask = Mapping[str, Sequence[Repeats]]


def write_comparison(
    path: Path, name: str, rankings: list[Ranking], collection: ComparisonData, repeats: RepeatsByTask | None = None
) -> None:
    """Write the page atomically.

    Args:
        path: The HTML file.
        name: Name of the comparison.
        rankings: One per task and set of test items.
        collection: What they were made from.
        repeats: Experiments that differ only in their fold or seeds, by task.
    """
    write_text(path, write_page(comparison_page(path, name, rankings, collection, repeats)))


def comparison_page(
    path: Path, name: str, rankings: list[Ranking], collection: ComparisonData, repeats: RepeatsByTask | None = None
) -> Element:
    """Return the page as a tree; the arguments are those of ``write_comparison``."""
    style, script = (shipped_text(f"compare.{kind}") for kind in ("css", "js"))
    # Should a text become markup by mistake, it still could not run: the policy allows only this script.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    head = page_head(f"{name}: comparison", policy, style)
    sections = [_repeats_section(task, groups, collection.subset) for task, groups in (repeats or {}).items()]
    sections += [_section(ranking, path, collection) for ranking in rankings]
    body = element("body", _header(name, collection), *sections, element("script", script))
    return element("html", head, body, lang="en")


def _header(name: str, collection: ComparisonData) -> Element:
    count = len(collection.entries)
    with_results = sum(bool(entry.scores) for entry in collection.entries)
    written = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    counts = (
        f"{with_results} of {pluralize(count, 'experiment has', 'experiments have')} results · subset "
        f"{collection.subset} · written {written}"
    )
    return element("header", element("h1", name), element("p", counts, class_="faint"))


def _section(ranking: Ranking, path: Path, collection: ComparisonData) -> Element:
    content: list[Content] = [element("h2", title(ranking, collection.subset))]
    if ranking.ranked:
        content += [element("p", note, class_="apart")] if (note := note_on_items(ranking)) else []
        content += [element("p", verdict_on_best(ranking), class_="verdict")]
        content += [element("div", table(ranking, path), class_="wide")]
        content += _figure("Learning", curve_panels(ranking, collection.history), ranking)
        content += _figure("What was varied", key_panels(ranking), ranking)
        content += _all_keys(ranking)
        content += _figure("Quality against cost", cost_panels(ranking), ranking)
    if ranking.others:
        listed = element("ul", *(element("li", note_line(entry)) for entry in ranking.others))
        summary = element("summary", f"Without results: {len(ranking.others)}")
        content.append(element("details", summary, listed, **({} if ranking.ranked else {"open": "open"})))
    return element("section", *content)


def _repeats_section(task: str, groups: Sequence[Repeats], subset: str) -> Element:
    columns = repeat_columns(groups)
    cells = [[column.cell(group) for column in columns] for group in groups]
    head = element("tr", *(element("th", column.name, scope="col") for column in columns))
    rows = [element("tr", *(element("td", text, data_value=text) for text in row)) for row in cells]
    return element(
        "section",
        element("h2", f"{task} on {subset}: mean and spread over repeats"),
        element("p", verdict_on_repeats(groups), class_="verdict"),
        element("div", element("table", element("thead", head), element("tbody", *rows)), class_="wide"),
        element("ul", *(element("li", each_repeat(group)) for group in groups)),
    )


def _figure(heading: str, panels: list[Panel], ranking: Ranking) -> list[Content]:
    if not panels:
        return []
    names = [entry.experiment_id for entry in ranking.ranked]
    return _drawn(heading, draw_panels(panels, names), names)


def _all_keys(ranking: Ranking) -> list[Content]:
    """Return the experiments as lines across all keys that vary, with the importance of each key."""
    shares = key_importances(ranking)
    plot = parallel_plot(ranking, shares)
    if plot is None:
        return []
    names = [entry.experiment_id for entry in ranking.ranked]
    told = [element("p", importance_sentence(ranking, shares), class_="faint")] if shares else []
    return [*_drawn("All keys at once", draw_parallel(plot, names), names), *told]


def _drawn(heading: str, drawing: str, names: Sequence[str]) -> list[Content]:
    svg = inline_svg(drawing)
    for part in svg.iter("g"):
        if "data-row" in part.attrib:
            part.insert(0, element("title", names[int(part.attrib["data-row"])]))
    svg.set("aria-label", heading)
    return [element("h3", heading), element("figure", svg)]


def inline_svg(text: str) -> Element:
    """Return an SVG of ``assay.plots`` for use inside a page; an ID ``row-<n>`` becomes the attribute ``data-row``."""
    svg = ElementTree.fromstring(text)  # noqa: S314 - it is our own
    for part in svg.iter():
        part.tag = _NAMESPACE.sub("", part.tag)
        part.attrib = {_NAMESPACE.sub("", name): value for name, value in part.attrib.items()}
        part.text, part.tail = part.text if part.text and part.text.strip() else None, None
        if "d" in part.attrib:
            part.set("d", " ".join(_EXTRA_DIGITS.sub(r"\1", part.attrib["d"]).split()))
        name = part.attrib.pop("id", "") if part.tag == "g" else ""
        if name.startswith("row-"):
            part.set("data-row", name.removeprefix("row-"))
    for part in svg.findall("metadata"):
        svg.remove(part)
    del svg.attrib["width"], svg.attrib["height"]
    svg.set("role", "img")
    return svg


@dataclass(frozen=True)
class _Column:
    """A column: its heading, and functions from an experiment to the cell and to its sort key."""

    heading: str
    explanation: str
    content: Callable[[Entry], tuple[Content, ...]]
    sorted_by: Callable[[Entry], Any]
    kind: str = "number"


def table(ranking: Ranking, page: Path) -> Element:
    """Return the table of the experiments with results.

    Args:
        ranking: The experiments.
        page: Path of the page; links to folders are relative to it, so that the storage can be moved as a whole.
    """
    columns = _columns(ranking, page)
    head = element("tr", *(_heading(column) for column in columns))
    body = [
        element("tr", *(_cell(column, entry) for column in columns), data_row=str(rank))
        for rank, entry in enumerate(ranking.ranked)
    ]
    return element("table", element("thead", head), element("tbody", *body))


def _heading(column: _Column) -> Element:
    button = element("button", column.heading, type="button", title=column.explanation)
    return element("th", button, scope="col", class_=column.kind)


def _cell(column: _Column, entry: Entry) -> Element:
    value = column.sorted_by(entry)
    return element("td", *column.content(entry), class_=column.kind, data_value="" if value is None else str(value))


def _columns(ranking: Ranking, page: Path) -> list[_Column]:
    ranks = {entry.experiment_id: rank for rank, entry in enumerate(ranking.ranked, start=1)}
    names = len({entry.name for entry in ranking.ranked}) > 1
    identity = _Column(
        "experiment", "ID; opens its folder", lambda e: _identity(e, page, names), lambda e: e.experiment_id, "text"
    )
    return [
        _Column("#", "rank by the metric", lambda e: (str(ranks[e.experiment_id]),), lambda e: ranks[e.experiment_id]),
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
        *_costs(ranking),
    ]


def _costs(ranking: Ranking) -> list[_Column]:
    """Return what the experiments cost; nothing if that is known of none of them."""
    if all(entry.cost.wall_s is None for entry in ranking.ranked):
        return []
    return [_cost(name, value) for name, value in cost_numbers(ranking).items()]


def _cost(name: str, value: Callable[[ExperimentCost], float | None]) -> _Column:
    label, unit = name.rpartition("_")[::2]
    return _Column(
        f"{label.replace('_', ' ')} ({unit.replace('mb', 'MB')})",
        "of all its stages, those that it shares with others included",
        lambda e: ("" if (known := value(e.cost)) is None else readable_number(known),),
        lambda e: value(e.cost),
        "number minor",
    )


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
    """Return the range of the whiskers: all values and intervals, and baselines that are not too far from them."""
    ends = [end for score in scores for end in (score.value, score.low, score.high) if end is not None]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    baselines = [score.baseline for score in scores if score.baseline is not None]
    near = [baseline for baseline in baselines if low - (high - low) <= baseline <= high + (high - low)]
    return min([low, *near]), max([high, *near])


def _whisker(score: Score, low: float, high: float) -> Element:
    return whisker(score.value, (score.low, score.high), score.baseline, (low, high))


def _key(key: str, name: str) -> _Column:
    def content(entry: Entry) -> tuple[Content, ...]:
        return (brief(entry.keys[key]) if key in entry.keys else "–",)

    def value(entry: Entry) -> Any:
        stored = entry.keys.get(key)
        return stored if isinstance(stored, (int, float)) and not isinstance(stored, bool) else content(entry)[0]

    return _Column(name, key, content, value, "key")


def _metric(name: str) -> _Column:
    def content(entry: Entry) -> tuple[Content, ...]:
        return (readable_number(entry.scores[name].value) if name in entry.scores else "–",)

    def value(entry: Entry) -> float | None:
        return entry.scores[name].value if name in entry.scores else None

    return _Column(label_of(name), name, content, value, "number minor")
