"""Label files of YOLO: where an image's file is, and what each of its lines says.

Belongs here: places and lines. Does not belong here: which images there are, what the classes are called (``yolo``).

The rules are those of Ultralytics' loader: a label file has its image's name and lies in the folder ``labels`` where
the image is in ``images``, or beside the image, as labelImg writes it. It holds a line per object,
``class cx cy width height``, ``class x1 y1 x2 y2 x3 y3 …``, or the box and then key points where ``kpt_shape`` in
data.yaml says how many; all positions are shares of the upright image's width and height.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assay.datasets.annotations import MOST_OBJECTS, Annotation
from assay.datasets.box_units import CORNERS
from assay.datasets.file_names import FileFinder
from assay.datasets.geometry import SLACK_SHARE, Edges, Polygons
from assay.errors import FileError
from assay.utils.reading import read_bytes
from assay.utils.text import pluralize

IMAGE_FOLDER = "images"

_LABEL_FOLDERS = ("labels", "Labels", "LABELS")

_LABEL_ENDINGS = (".txt", ".TXT", ".Txt")


def label_file(image: Path, finder: FileFinder) -> Path:
    """Return where an image's label file is; where there is none, where it would be looked for first."""
    choices = list(_label_files(image))
    found = next((found for choice in choices if (found := finder.find(choice))), None)
    return found or next((choice for choice in choices if choice.parent.is_dir()), choices[0])


def _label_files(image: Path) -> Iterator[Path]:
    """Yield the places of a label file: instead of the lowest folder of images, of a higher one, beside the image."""
    folders, names = image.parts[:-1], [image.stem + ending for ending in _LABEL_ENDINGS]
    for place in reversed(range(len(folders))):
        if folders[place].lower() == IMAGE_FOLDER:
            for folder in _LABEL_FOLDERS:
                yield from (Path(*folders[:place], folder, *folders[place + 1 :], name) for name in names)
    yield from (image.parent / name for name in names)


@dataclass(frozen=True)
class LabelFile:
    """The content of one label file.

    Attributes:
        annotations: Its usable lines.
        problems: A line ``<name>:<line>: <reason>`` for every one that can't be right.
        duplicates: How many lines repeat another one.
        exists: Whether there is such a file; an image without one is known to be empty.
        numbers: The numbers of classes in it, also those that have no name.
    """

    annotations: tuple[Annotation, ...] = ()
    problems: tuple[str, ...] = ()
    duplicates: int = 0
    exists: bool = True
    numbers: frozenset[int] = frozenset()


@dataclass(frozen=True)
class LabelFormat:
    """What lines mean.

    Attributes:
        classes: Names in the order of their numbers.
        key_points: Number of key points behind a box, and of numbers of each, 2 or 3; None where there are none.
    """

    classes: Sequence[str]
    key_points: tuple[int, int] | None = None


_MOST_DIGITS = 10
"""A class has a number of fewer digits."""


def read_labels(path: Path, name: str, form: LabelFormat) -> LabelFile:
    """Return the objects of a label file, and what is wrong with it.

    Args:
        path: The file, which exists.
        name: Its name in messages.
        form: What its lines mean.
    """
    try:
        text = _text(path)
    except FileError as error:
        return LabelFile(problems=(f"{name}: {error.reason}",))
    lines = [(number, " ".join(line.split())) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    first: dict[str, int] = {}
    for number, line in lines:
        first.setdefault(line, number)
    annotations, problems = [], []
    for line, number in first.items():
        try:
            annotations.append(_annotation(line, f"{name}:{number}", form))
        except ValueError as error:
            problems.append(f"{name}:{number}: {error}")
    words = {line.partition(" ")[0] for line in first}
    numbers = frozenset(int(word) for word in words if word.isdecimal() and len(word) < _MOST_DIGITS)
    return LabelFile(tuple(annotations), tuple(problems), len(lines) - len(first), numbers=numbers)


def _text(path: Path) -> str:
    try:
        content = read_bytes(path)
    except FileNotFoundError as error:
        raise FileError(path, "is a link that leads nowhere") from error
    lines = content.count(b"\n")
    if lines > MOST_OBJECTS:
        raise FileError(path, f"holds {lines:,} lines; expected at most {MOST_OBJECTS:,}, one per object")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(
            path, f"can't be read as text ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from error


_BOX_VALUES = 4

_LEAST_POLYGON_VALUES = 6

_MOST_VALUES = 200_000

_IN_PIXELS = 2.0


def _annotation(line: str, where: str, form: LabelFormat) -> Annotation:
    words = line.split(" ")
    if len(words) > _MOST_VALUES:
        raise ValueError(f"has {len(words):,} values; expected at most {_MOST_VALUES:,}")
    numbers = [_number(word) for word in words]
    label = _label(numbers[0], form.classes)
    values = numbers[1:]
    if form.key_points is not None:
        values = _without_key_points(values, form.key_points)
    outline = None
    if len(values) == _BOX_VALUES:
        cx, cy, width, height = values
        edges = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
    elif len(values) >= _LEAST_POLYGON_VALUES and len(values) % 2 == 0:
        outline = Polygons((np.array(values, np.float64).reshape(-1, 2),))
        edges = outline.edges
    else:
        raise ValueError(
            f"has {pluralize(len(numbers), 'value')}; expected 5 (class, centre x, centre y, width, height), "
            f"or a class and three or more points{_key_points_hint(values)}"
        )
    _require_shares(values, edges)
    return Annotation(where, label, edges, outline)


def _without_key_points(values: list[float], key_points: tuple[int, int]) -> list[float]:
    """Return the four numbers of a box that key points may follow."""
    count, dimensions = key_points
    expected = _BOX_VALUES + count * dimensions
    if len(values) not in (_BOX_VALUES, expected):
        raise ValueError(
            f"has {pluralize(1 + len(values), 'value')}; expected {1 + expected}: class, box and "
            f"{pluralize(count, 'key point')} of {dimensions} "
            "numbers, as kpt_shape in data.yaml says"
        )
    return values[:_BOX_VALUES]


def _number(word: str) -> float:
    try:
        number = float(word)
    except ValueError:
        raise ValueError(f"{_brief(word)!r} is no number") from None
    if not math.isfinite(number):
        raise ValueError(f"{_brief(word)!r} is no finite number")
    return number


def _brief(word: str) -> str:
    return word if len(word) <= 40 else f"{word[:40]}…"


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
        raise ValueError(
            f"its box reaches from {min(left, top):.3g} to {max(right, bottom):.3g}; expected 0 to 1"
            f"{_corners_hint(values)}{_key_points_hint(values)}"
        )


LABEL_CORNERS = CORNERS.replace("x, y,", "centre,")


def _corners_hint(values: Sequence[float]) -> str:
    if len(values) != _BOX_VALUES:
        return ""
    x1, y1, x2, y2 = values
    return f"; {LABEL_CORNERS}" if 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1 else ""


def _key_points_hint(values: Sequence[float]) -> str:
    """Return the question whether a line of many values holds key points of x, y and visibility (0, 1 or 2)."""
    flags = values[_BOX_VALUES + 2 :: 3]
    is_pose = flags and (len(values) - _BOX_VALUES) % 3 == 0 and set(flags) <= {0.0, 1.0, 2.0}
    return (
        f"; {'is this' if len(flags) == 1 else 'are these'} {pluralize(len(flags), 'key point')}? Then "
        f"data.yaml needs kpt_shape: [{len(flags)}, 3]"
        if is_pose
        else ""
    )


_SHARE_OF_LINES = 0.9
"""From this share of lines on, lines of many numbers are key points rather than polygons."""

_SHARE_OF_CERTAIN = 0.3
"""Share of them that can hardly be polygons. Measured with random shapes: of files of one polygon 0 to 4% are taken for
key points, of five polygons none; of poses of x and y, 2% of five lines are not recognized, and none of ten."""


def are_corners(labels: Sequence[LabelFile]) -> bool:
    """Return whether some boxes reach out of their images, and all would be right as x1, y1, x2, y2."""
    boxes = [each.edges for own in labels for each in own.annotations if each.outline is None and each.edges]
    is_doubtful = any(LABEL_CORNERS in problem for own in labels for problem in own.problems)
    return is_doubtful and all(
        left + right < 2 * (right - left) and top + bottom < 2 * (bottom - top) for left, top, right, bottom in boxes
    )


def key_points_in(annotations: Sequence[Annotation]) -> tuple[int, int] | None:
    """Return number and dimensions of the key points that lines which were read as polygons hold; None for polygons.

    Key points lie in their box. Read as a polygon's corners, the box's centre and size are a second corner far from all
    the others. Nearly all lines must be such, and have the same number of values, before polygons are no longer
    believed.
    """
    outlines = [each.outline.parts[0] for each in annotations if isinstance(each.outline, Polygons)]
    if not outlines:
        return None
    corners, count = Counter(len(points) for points in outlines).most_common(1)[0]
    if count < _SHARE_OF_LINES * len(outlines):
        return None
    lines = np.stack([points.ravel() for points in outlines if len(points) == corners])
    for dimensions in (3, 2):
        key_points, rest = divmod(2 * corners - _BOX_VALUES, dimensions)
        if rest == 0 and key_points and _are_key_points(lines, dimensions):
            return key_points, dimensions
    return None


TRACKED = "looks like a box, its confidence and the ID of a track; expected 5 values: remove the last two"

TRACKED_CORNERS = 3


def are_tracks(annotations: Sequence[Annotation]) -> bool:
    """Return whether all triangles are what trackers write: a box, its confidence, and an ID that is a whole number.

    IDs from 2 on lie outside of the image and are refused line by line; 0 and 1 would pass as a corner on its edge.
    """
    outlines = [each.outline.parts[0] for each in annotations if isinstance(each.outline, Polygons)]
    lines = [points.ravel() for points in outlines if len(points) == TRACKED_CORNERS]
    if not lines:
        return False
    centre, size, ids = np.stack(lines)[:, :2], np.stack(lines)[:, 2:4], np.stack(lines)[:, 5]
    is_box = np.all((size > 0) & (np.abs(centre - 0.5) + size / 2 <= 0.5 + SLACK_SHARE), axis=1)
    return bool(np.all(is_box & np.isin(ids, (0.0, 1.0))))


_MARGIN = 0.2
"""Share of its box's side by which a key point may lie out of it."""


def _are_key_points(lines: NDArray[np.float64], dimensions: int) -> bool:
    """Return whether lines of equal length, (n, values), are boxes and key points of so many numbers."""
    box, points = lines[:, :_BOX_VALUES], lines[:, _BOX_VALUES:].reshape(len(lines), -1, dimensions)
    centre, size = box[:, None, :2], box[:, None, 2:]
    is_box = np.all((size > 0) & (np.abs(centre - 0.5) + size / 2 <= 0.5 + SLACK_SHARE), axis=(1, 2))
    is_inside = np.asarray(np.all(np.abs(points[..., :2] - centre) <= size * (0.5 + _MARGIN), axis=2))
    is_absent = np.asarray(np.all(points[..., :2] == 0, axis=2))  # key points that nobody saw are 0 0
    is_possible = is_box & np.all(is_inside | is_absent, axis=1) & np.any(is_inside, axis=1)
    if dimensions == 3:
        is_certain = np.all(np.isin(points[..., 2], (0.0, 1.0, 2.0)), axis=1)
    else:
        is_certain = np.any(np.abs(size - centre) > size * (0.5 + _MARGIN), axis=(1, 2))
    share = (is_possible & is_certain).mean() if dimensions == 3 else is_possible.mean()
    return bool(share >= _SHARE_OF_LINES and (is_possible & is_certain).mean() >= _SHARE_OF_CERTAIN)
