"""One label file of YOLO: a line per object, ``class cx cy width height`` or ``class x1 y1 x2 y2 x3 y3 …``.

Belongs here: lines, and what can't be right about them. Does not belong here: which file belongs to which image.

All positions are shares of the upright image's width and height.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from assay.datasets.annotations import Annotation
from assay.datasets.geometry import Edges
from assay.own_data.polygons import Polygons
from assay.own_data.whole_boxes import SLACK_SHARE

_BOX_VALUES = 4
_LEAST_POLYGON_VALUES = 6
_IN_PIXELS = 2.0


def read_labels(path: Path, name: str, classes: Sequence[str], bad: list[str]) -> tuple[list[Annotation], int]:
    """Return the objects of a label file, and how many lines were there twice.

    Args:
        path: The file.
        name: Its name in messages.
        classes: Names by number.
        bad: Takes a sentence ``<name>:<line>: <reason>`` for every line that can't be right.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        bad.append(f"{name}: can't be read as text ({error})")
        return [], 0
    lines = [(number, " ".join(line.split())) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    first: dict[str, int] = {}
    for number, line in lines:
        first.setdefault(line, number)
    found = []
    for line, number in first.items():
        try:
            found.append(_annotation(line, f"{name}:{number}", classes))
        except ValueError as error:
            bad.append(f"{name}:{number}: {error}")
    return found, len(lines) - len(first)


def _annotation(line: str, where: str, classes: Sequence[str]) -> Annotation:
    numbers = [_number(word) for word in line.split(" ")]
    label = _label(numbers[0], classes)
    values = numbers[1:]
    if len(values) == _BOX_VALUES:
        cx, cy, width, height = values
        edges = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
        outline = None
    elif len(values) >= _LEAST_POLYGON_VALUES and len(values) % 2 == 0:
        outline = Polygons((np.array(values, np.float64).reshape(-1, 2),))
        edges = outline.edges
    else:
        raise ValueError(
            f"has {len(numbers)} values; expected 5 (class, centre x, centre y, width, height), "
            "or a class and three or more points"
        )
    _require_shares(values, edges)
    return Annotation(where, label, edges, outline)


def _number(word: str) -> float:
    try:
        number = float(word)
    except ValueError:
        raise ValueError(f"{word!r} is no number") from None
    if not math.isfinite(number):
        raise ValueError(f"{word!r} is no finite number")
    return number


def _label(number: float, classes: Sequence[str]) -> str:
    if not number.is_integer() or not 0 <= number < len(classes):
        raise ValueError(f"class {number:g} does not exist; expected a whole number from 0 to {len(classes) - 1}")
    return classes[int(number)]


def _require_shares(values: Sequence[float], edges: Edges) -> None:
    left, top, right, bottom = edges
    if right <= left or bottom <= top:
        raise ValueError(f"its box ({right - left:g} by {bottom - top:g}) has no area")
    if max(values) > _IN_PIXELS:
        raise ValueError(f"holds {max(values):g}; expected shares of the image's sides from 0 to 1, not pixels")
    if min(edges) < -SLACK_SHARE or max(edges) > 1 + SLACK_SHARE:
        raise ValueError(f"its box reaches from {min(left, top):.3g} to {max(right, bottom):.3g}; expected 0 to 1")
