"""The columns of stored tables as people are shown them: what each holds, and many of a kind as one line.

Belongs here: descriptions, folding ``px_0_0``, ``px_0_1``, … to ``px_*``. Does not belong here: types on the disk
(``parquet``).
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import polars as pl

MOST_OF_A_KIND = 12
"""Numbered columns with one beginning and one type are listed one by one up to this many."""

DESCRIPTIONS = {
    "item": "name of the image, crop or row",
    "image": "name of the image that the item was cut from or found in",
    "subset": "train, validation or test",
    "label": "true class, as text",
    "target": "true value, in its own unit",
    "prediction": "predicted value, in the target's unit",
    "target_class": "true class",
    "predicted_class": "class with the highest probability",
    "target_labels": "true classes",
    "predicted_labels": "predicted classes",
    "confidence": "probability of the predicted class, 0 to 1",
    "prob_*": "predicted probability of a class, 0 to 1",
    "px_*": "grey level of a pixel, by row and column: 0 to 255, scaled to 0 to 1 in normalized",
    "x_px": "left edge of the box, in px",
    "y_px": "top edge of the box, in px",
    "width_px": "width of the box, in px",
    "height_px": "height of the box, in px",
    "pixels": "number of pixels",
    "epoch": "epoch of the training, from 1; 0 is before the first",
    "metric": "name of the metric",
    "value": "value of the metric",
    "class": "class that the value is about; empty: all classes",
    "ci_low": "lower end of the confidence interval",
    "ci_high": "upper end of the confidence interval",
    "baseline": "the metric of a simple rule without a model",
    "baseline_name": "that rule",
    "simple_value": "the metric of a simple model of the same training data",
    "simple_model": "that model; empty: none was learned",
    "unit": "unit of the value",
    "count": "number of items that the value was computed from",
}
"""What the columns of Assay's own tables hold; a star stands for numbers or a name of a class."""

_NUMBERED = re.compile(r"(.*?)\d+(?:_\d+)*")


class ColumnLine(NamedTuple):
    """A line of a table's schema.

    Attributes:
        name: Column, or the common beginning of many with a star.
        kind: Polars type, and how many columns there are if it is not one.
        description: What it holds; empty where that is not known.
    """

    name: str
    kind: str
    description: str = ""


def column_lines(schema: Mapping[str, pl.DataType]) -> list[ColumnLine]:
    """Return the columns of a table in their order, many of a kind as one line."""
    folded = folded_names(schema)
    counts: dict[str, int] = defaultdict(int)
    for name in schema:
        counts[folded[name]] += 1
    lines: dict[str, ColumnLine] = {}
    for name, dtype in schema.items():
        shown = folded[name]
        kind = str(dtype) if counts[shown] == 1 else f"{dtype} × {counts[shown]:,}"
        of = shown.removesuffix("_missing")
        is_mark = of != shown and of in schema and dtype == pl.Int8
        described = f"1 where {of} was missing, else 0" if is_mark else _description(shown)
        lines.setdefault(shown, ColumnLine(shown, kind, described))
    return list(lines.values())


def folded_names(schema: Mapping[str, pl.DataType]) -> dict[str, str]:
    """Return the name under which each column is shown: its own, or ``px_*`` for many alike."""
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, dtype in schema.items():
        if match := _NUMBERED.fullmatch(name):
            alike[match.group(1), str(dtype)].append(name)
    beginnings = [beginning for (beginning, _), names in alike.items() if len(names) > MOST_OF_A_KIND]
    stars = {
        name: f"{beginning}*"
        for (beginning, _), names in alike.items()
        if len(names) > MOST_OF_A_KIND and beginnings.count(beginning) == 1 and f"{beginning}*" not in schema
        for name in names
    }
    return {name: stars.get(name, name) for name in schema}


def _description(name: str) -> str:
    return DESCRIPTIONS.get(name) or next((text for start, text in _stars() if name.startswith(start)), "")


def _stars() -> Iterable[tuple[str, str]]:
    return ((name.removesuffix("*"), text) for name, text in DESCRIPTIONS.items() if name.endswith("*"))
