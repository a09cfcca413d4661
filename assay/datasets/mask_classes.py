"""What the values of pixels in masks mean: to the user, who drew the masks, and to a model, which has class indices.

Belongs here: which values the user's masks hold and which classes they are; from values (``assay.images.decoding``) and
mask_classes.parquet to class indices. Does not belong here: which mask belongs to which image (``mask_folder``), which
classes a model has.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay.datasets.inspection import MOST_IMAGE_BYTES, describe_decode_error
from assay.datasets.schema import BACKGROUND, CLASS, IGNORE, MASK_CLASS_COLUMNS, MASK_CLASSES_FILE
from assay.errors import DataError, FileError
from assay.images.decoding import DECODE_ERRORS, MaskValues, has_colours, has_shape_in_alpha, palette_of, read_mask
from assay.spec.generated_images import MaskFolderSource, mask_number
from assay.storage.parquet import read_parquet
from assay.utils.concurrency import Progress, map_in_order, usable_cores
from assay.utils.reading import read_bytes
from assay.utils.text import pluralize

IGNORED = 255
"""Class index of pixels whose true class is unknown."""

LARGEST_IN_TABLE = 0xFFFF
"""Largest value for which a table is built, which is six times as fast as a search; colours are larger."""

IndexMask = NDArray[np.uint8]
"""(height, width): 0 background, 1 to k the classes, 255 unknown."""


class MaskMeanings:
    """Maps the values of pixels to class indices.

    Args:
        values: Values that have a meaning, all different.
        indices: The class index of each.
    """

    def __init__(self, values: Sequence[int], indices: Sequence[int]) -> None:
        self._values = values
        self._indices = np.asarray(indices, np.uint8)

    def apply(self, values: MaskValues) -> IndexMask:
        """Return class indices of the same shape.

        Raises:
            DataError: A value has no meaning.
        """
        positions = indices_of(values, self._values)
        if positions.size and positions.max() == len(self._values):
            unknown = values[positions == len(self._values)][0]
            raise DataError(f"A mask has the value {unknown}, which {MASK_CLASSES_FILE} does not name.")
        indices: IndexMask = self._indices.take(positions)
        return indices


def indices_of(values: MaskValues, known: Sequence[int]) -> NDArray[np.int32]:
    """Return the index in ``known`` of each value, and ``len(known)`` for any other value.

    Args:
        values: Of any shape.
        known: Values, all different.

    Returns:
        int32 of the same shape as ``values``.
    """
    if not known:
        return np.zeros(values.shape, np.int32)
    if min(known) < 0 or max(known) > LARGEST_IN_TABLE:
        order = np.argsort(known)
        nearest = np.searchsorted(known, values, sorter=order).clip(max=len(known) - 1)
        return np.where(np.asarray(known)[order[nearest]] == values, order[nearest], len(known)).astype(np.int32)
    table = np.full(max(known) + 2, len(known), np.int32)
    table[list(known)] = np.arange(len(known))
    indices: NDArray[np.int32] = table.take(np.clip(values, -1, max(known) + 1))  # both ends: none of them
    return indices


def read_meanings(folder: Path, classes: Sequence[str], mapping: Mapping[str, str]) -> MaskMeanings:
    """Return what the values of a data set's masks mean to a model; labels of no class are background.

    Args:
        folder: Result folder of ``splits``.
        classes: The model's classes in their order.
        mapping: Class of each label.
    """
    return meanings_from(read_parquet(folder / MASK_CLASSES_FILE), classes, mapping)


def meanings_from(table: pl.DataFrame, classes: Sequence[str], mapping: Mapping[str, str]) -> MaskMeanings:
    """Return the same as ``read_meanings``, from the rows of mask_classes.parquet."""
    class_indices = {label: 1 + classes.index(name) for label, name in mapping.items()}
    indices = [
        IGNORED if role == IGNORE else class_indices.get(label, 0) if role == CLASS else 0
        for label, role in table.select("label", "role").iter_rows()
    ]
    return MaskMeanings(table["value"].to_list(), indices)


def read_values(path: Path) -> MaskValues:
    """Return the values of a mask file's pixels.

    Raises:
        DataError: It can't be read; names it, and why.
    """
    try:
        return read_mask(path.read_bytes())
    except DECODE_ERRORS as error:
        raise DataError(f"{path}: the mask can't be read ({error}). Materialize splits again.") from error


MOST_CLASSES = 254
"""More different values than this are not classes, but the traces of smoothing."""

MaskClasses = dict[int, tuple[str | None, str]]
"""Label and role by value."""


@dataclass(frozen=True)
class MaskContent:
    """What is in one mask; ``problem`` says why it can't be used, and is empty when it can.

    Attributes:
        size: Width and height, upright.
        counts: Number of pixels by value.
        is_colour: Whether values are packed colours.
        centres: Number of pixels, by value, in the middle of 3x3 pixels of one value.
        between: Number of pixels, by other values, that lie between two pixels of smaller and larger ones.
        palette: Red, green and blue of each index; empty where values are no indices.
        problem: A clause.
    """

    size: tuple[int, int] = (0, 0)
    counts: tuple[tuple[int, int], ...] = ()
    is_colour: bool = False
    centres: tuple[tuple[int, int], ...] = ()
    between: tuple[tuple[int, int], ...] = ()
    palette: bytes = b""
    problem: str = ""


def mask_classes_of(source: MaskFolderSource, contents: Sequence[MaskContent]) -> MaskClasses:
    """Return what each value means: as the spec says, or every value that occurs as a class of that name."""
    is_colour = any(content.is_colour for content in contents)
    classes: MaskClasses = {mask_number(value): (name, CLASS) for name, value in source.classes.items()}
    if source.background is not None:
        classes[mask_number(source.background)] = (None, BACKGROUND)
    if source.ignore is not None and (isinstance(source.ignore, str) or not is_colour):
        classes[mask_number(source.ignore)] = (None, IGNORE)  # as a colour, 255 would be pure blue
    if not source.classes:
        found = {value for content in contents for value, _ in content.counts}
        classes |= {value: (format_value(value, is_colour), CLASS) for value in sorted(found - classes.keys())}
    return classes


def format_value(value: int, is_colour: bool) -> str:
    """Return a value as it is written in specs: a number, or ``#rrggbb``."""
    return f"#{value:06x}" if is_colour else str(value)


def mask_class_table(classes: MaskClasses) -> pl.DataFrame:
    """Return mask_classes.parquet."""
    rows = [(value, label, role) for value, (label, role) in sorted(classes.items())]
    return pl.DataFrame(rows, schema=dict(MASK_CLASS_COLUMNS), orient="row")


def value_problems_of(source: MaskFolderSource, names: Sequence[str], contents: Sequence[MaskContent]) -> list[str]:
    """Return one line per mask that holds values without a meaning.

    Args:
        source: Says what values mean.
        names: Names of the masks, for messages.
        contents: Their contents, in the same order.
    """
    kinds = {content.is_colour for content in contents}
    if len(kinds) > 1:
        odd = next(name for name, content in zip(names, contents, strict=True) if content.is_colour)
        return [f"{odd}: holds colours, but other masks hold grey levels or indices; save all in one way"]
    if swapped := _swapped_colours(names, contents):
        return [swapped]
    classes = mask_classes_of(source, contents)
    count = sum(role == CLASS for _, role in classes.values())
    if not source.classes and count > MOST_CLASSES:
        return [f"the masks hold {count} different values; name the classes in source.classes, or save sharp masks"]
    if not count and source.ignore is not None and (unnamed := _only_ignored(source.ignore, contents)):
        return [unnamed]
    if not source.classes and (smoothed := smoothed_values(contents, classes)):
        shown = ", ".join(format_value(value, kinds == {True}) for value in smoothed[:5])
        more = f" and {len(smoothed) - 5} more" if len(smoothed) > 5 else ""
        first = next(name for name, content in zip(names, contents, strict=True) if smoothed[0] in dict(content.counts))
        return [
            f"the masks hold values that lie only along edges, between others: {shown}{more}, first in {first}. These "
            "are traces of smoothing, not classes; save sharp masks, or name the classes in source.classes"
        ]
    return [
        problem
        for name, content in zip(names, contents, strict=True)
        if (problem := _unknown_values(name, content, classes))
    ]


def _swapped_colours(names: Sequence[str], contents: Sequence[MaskContent]) -> str:
    """Return that one colour has another index in another mask, so that indices are no classes; empty if none has.

    Programs that make a palette for each image number its colours by how often they occur.
    """
    first: dict[bytes, tuple[str, MaskContent]] = {}
    for name, content in zip(names, contents, strict=True):
        colours = {content.palette[3 * value :][:3]: value for value, _ in content.counts if content.palette}
        for colour, value in colours.items():
            other_name, other = first.setdefault(colour, (name, content))
            indices = [index for index, _ in other.counts if other.palette[3 * index :][:3] == colour]
            if value not in indices and other.palette[3 * value :][:3] != colour:
                shown = format_value(int.from_bytes(colour), True)
                return (
                    f"{name}: its palette has {shown} as {value}, but that of {other_name} as {indices[0]}; the index "
                    "counts: save all with one palette, as grey levels, or as RGB where the colour counts"
                )
    return ""


def mask_notes_of(source: MaskFolderSource, contents: Sequence[MaskContent], classes: MaskClasses) -> list[str]:
    """Return what a person should know of masks that can be used.

    Args:
        source: Says what values mean.
        contents: What is in the masks.
        classes: What each value means.
    """
    shown = [[value for value, _ in content.counts if classes[value][1] == CLASS] for content in contents]
    values = sorted({value for found in shown for value in found})
    if contents and not values:
        return [f"no mask shows a class: all pixels of {pluralize(len(contents), 'mask')} are background or unknown"]
    notes = [*_unknown_only(source, contents, classes), *_colour_notes(source, contents, classes)]
    are_nested = all(found == values[: len(found)] for found in shown) and values == list(range(1, len(values) + 1))
    if not source.classes and are_nested and len({len(found) for found in shown if found}) >= _LEAST_INSTANCES:
        notes.append(
            f"values up to {values[-1]} occur only where all smaller ones do, as numbers of single objects; as they "
            "are, each number is a class. If they are objects of one class, write 1 for all of them"
        )
    return notes


def _unknown_only(source: MaskFolderSource, contents: Sequence[MaskContent], classes: MaskClasses) -> list[str]:
    """Return that some masks show unknown pixels where others show classes, as where some are black and white."""
    roles = [{classes[value][1] for value, _ in content.counts} for content in contents]
    count = sum(IGNORE in found and CLASS not in found for found in roles)
    if not count:
        return []
    return [
        f"{count} of {pluralize(len(contents), 'mask')} show no class but {source.ignore!r}, which stands for pixels "
        "of unknown class; if it is a class there, as in masks of black and white, write the class's value into them"
    ]


_VOC_EDGE = 0xE0E0C0
"""Colour of the pixels around objects in masks of Pascal VOC, whose class is unknown."""


def _colour_notes(source: MaskFolderSource, contents: Sequence[MaskContent], classes: MaskClasses) -> list[str]:
    """Return what to know where each colour that occurs is a class, because nobody said which are."""
    if source.classes or not any(content.is_colour for content in contents):
        return []
    shown = [value for value, (_, role) in classes.items() if role == CLASS]
    if _VOC_EDGE in shown:
        return ["#e0e0c0 is a class of its own; in masks of Pascal VOC it stands for unknown: source.ignore: '#e0e0c0'"]
    if all(len({value >> shift & 0xFF for shift in (16, 8, 0)}) == 1 for value in classes):
        return [
            "the masks are grey, but saved as colours (RGB), so that classes are called "
            f"{format_value(shown[0], True)} "
            "and the like, and white is one of them; save them as grey levels if these are the classes"
        ]
    return []


_LEAST_INSTANCES = 3
"""Masks with so many different numbers of values, each of 1, 2, 3 and so on, hardly show classes."""

_MOST_INDICES = 16
"""Values 0, 1, 2 and so on up to here may be classes although they lie along edges."""

_LEAST_INNER_SHARE = 0.05
"""Share of a class's pixels that lie among their like; values of smoothed edges hardly ever do."""


def smoothed_values(contents: Sequence[MaskContent], classes: MaskClasses) -> list[int]:
    """Return the values that resizing or smoothing left between those of two classes; none where they may be classes.

    Hardly a pixel of such a value lies among its like, and half of its pixels or more lie between a smaller and a
    larger value. A thin class between two others looks the same, so values are believed where they are few beside the
    classes that have areas, and nearly always where values number classes 0, 1, 2 and so on.

    Args:
        contents: What is in the masks.
        classes: What each value means.
    """
    pixels, centres, between = Counter[int](), Counter[int](), Counter[int]()
    for content in contents:
        pixels.update(dict(content.counts))
        centres.update(dict(content.centres))
        between.update(dict(content.between))
    areas = {value for value, count in pixels.items() if centres[value] >= _LEAST_INNER_SHARE * count}
    soft = sorted(value for value in pixels.keys() - areas if 2 * between[value] >= pixels[value])
    named = sorted(value for value in pixels if classes.get(value, (None, CLASS))[1] != IGNORE)
    if not named or (named[-1] <= _MOST_INDICES and named == list(range(named[0], named[-1] + 1))):
        is_smoothed = len(areas) >= _SIDES and 2 * len(soft) > len(named) and len(soft) > _SIDES
    else:
        is_smoothed = 2 * len(soft) >= len(areas) if len(areas) >= _SIDES else len(soft) >= _MANY
    return soft if is_smoothed else []


_SIDES = 2
"""An edge has two."""

_MANY = 8
"""So many values in between are traces of smoothing even where the objects are too small to show their own value."""


def _only_ignored(ignore: int | str, contents: Sequence[MaskContent]) -> str:
    """Return why masks that hold no class are refused, if they hold the value that is to be ignored; else nothing."""
    if not any(value == mask_number(ignore) for content in contents for value, _ in content.counts):
        return ""
    return (
        f"the masks hold no class, only background and {ignore!r}, which stands for pixels of unknown class; if it is "
        f"one, set source.ignore: null and source.classes: {{NAME: {ignore!r}}}"
    )


def _unknown_values(name: str, content: MaskContent, classes: MaskClasses) -> str | None:
    unknown = [(value, count) for value, count in content.counts if value not in classes]
    if not unknown:
        return None
    few = ", ".join(f"{format_value(value, content.is_colour)} ({count} px)" for value, count in unknown[:5])
    known = ", ".join(format_value(value, content.is_colour) for value in sorted(classes)[:30])
    kind = "colours" if content.is_colour else "grey levels or indices"
    more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
    return f"{name}: holds {few}{more}, which mean nothing; known {kind}: {known} (source.classes, background, ignore)"


_MOST_COUNTED_VALUES = 65536
"""Values below this are counted in one array, which is faster than sorting the pixels."""


def inspect_masks(
    root: Path, masks: Sequence[str | None], source: MaskFolderSource, progress: Progress
) -> list[MaskContent | None]:
    """Read every mask in threads and return what is in it, in the order of ``masks``; None where there is none."""
    contents: list[MaskContent | None] = []
    for content in map_in_order(lambda mask: _inspect(root / mask, source) if mask else None, masks, usable_cores()):
        contents.append(content)
        progress(len(contents), len(masks), "masks checked")
    return contents


def _inspect(path: Path, source: MaskFolderSource) -> MaskContent:
    try:
        content = read_bytes(path, MOST_IMAGE_BYTES)
        values = read_mask(content, source.max_pixels)
    except FileNotFoundError:
        return MaskContent(problem="is a link that leads nowhere")
    except FileError as error:
        return MaskContent(problem=error.reason)
    except DECODE_ERRORS as error:
        return MaskContent(problem=describe_decode_error(error))
    height, width = values.shape
    counts, is_colour = _counts(values), has_colours(content)
    if len(counts) == 1 and has_shape_in_alpha(content):
        return MaskContent(
            problem="has one colour, and a shape in its transparency, which is left out; save it as grey"
        )
    centres = () if source.classes else _counts(_centres_of_squares(values))
    between = () if source.classes else _counts(_between(values, counts, dict(centres), is_colour))
    return MaskContent((width, height), counts, is_colour, centres, between, _shared(palette_of(content)))


@lru_cache(maxsize=256)
def _shared(palette: bytes) -> bytes:
    """Return an equal object for equal palettes, which nearly all masks share."""
    return palette


def _between(
    values: MaskValues, counts: tuple[tuple[int, int], ...], centres: Mapping[int, int], is_colour: bool
) -> MaskValues:
    """Return the values, as one row, of the pixels between two values that are not the inside of an area.

    A pixel is between when two pixels opposite each other, at most two away, are different from it, and it is in
    between: its level, or each channel of its colour.

    Args:
        values: The mask.
        counts: Number of pixels by value.
        centres: Number of pixels by value among their like; values with a share of these are left out.
        is_colour: Whether values are packed colours.
    """
    thin = [value for value, count in counts if centres.get(value, 0) < _LEAST_INNER_SHARE * count]
    y, x = np.nonzero(np.isin(values, np.array(thin, np.int32)))
    is_between = np.zeros(len(y), bool)
    channels = (16, 8, 0) if is_colour else (None,)
    padded = np.pad(values, _REACH_PX, "edge")
    here = values[y, x]
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
        for far in range(1, _REACH_PX + 1):
            one = padded[_REACH_PX + y - far * down, _REACH_PX + x - far * right]
            other = padded[_REACH_PX + y + far * down, _REACH_PX + x + far * right]
            is_inside = (one != here) & (other != here) & (one != other)
            for channel in channels:
                low, level, high = (_channel(each, channel) for each in (one, here, other))
                is_inside &= (np.minimum(low, high) <= level) & (level <= np.maximum(low, high))
            is_between |= is_inside
    return here[is_between]


def _centres_of_squares(values: MaskValues) -> MaskValues:
    """Return the values of the pixels whose eight neighbours have the same value, as one row."""
    across, down = values[:, 1:] == values[:, :-1], values[1:] == values[:-1]
    rows = across[:, 1:] & across[:, :-1]
    is_centre = rows[2:] & rows[1:-1] & rows[:-2] & down[1:, 1:-1] & down[:-1, 1:-1]
    found: MaskValues = values[1:-1, 1:-1][is_centre]
    return found


_REACH_PX = 2


def _channel(values: NDArray[np.int32], shift: int | None) -> NDArray[np.int32]:
    return values if shift is None else values >> shift & 0xFF


def _counts(values: MaskValues) -> tuple[tuple[int, int], ...]:
    if values.size and values.min() >= 0 and values.max() < _MOST_COUNTED_VALUES:
        counts = np.bincount(values.ravel())
        found = np.flatnonzero(counts)
        return tuple(zip(found.tolist(), counts[found].tolist(), strict=True))
    unique, numbers = np.unique(values, return_counts=True)
    return tuple(zip(unique.tolist(), numbers.tolist(), strict=True))
