"""One COCO file: its images, categories and annotations, checked.

Belongs here: the structure of https://cocodataset.org/#format-data, and entries that can't be right. Does not belong
here: where files and images are (``coco``); whether a box fits its image, which only the image can say.
"""

import json
import math
import reprlib
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from assay.datasets.annotations import Annotation, Outline
from assay.datasets.box_units import CORNERS, as_corners
from assay.datasets.geometry import Edges, Points, Polygons, RleMask, parse_rle
from assay.errors import DataError, FileError
from assay.utils.reading import read_json
from assay.utils.text import pluralize

Entry = dict[str, Any]

Id = int | str

_MOST_BYTES = 2**31
"""Largest size of a file: twice that of LVIS. Its content takes some ten times as much memory."""

_MOST_CORNERS = 100_000
"""Most corners of one polygon."""


@dataclass(frozen=True)
class CocoFile:
    """What is usable of one file, and what is wrong with it.

    Attributes:
        name: Its name in messages.
        images: Entries of images by ID.
        categories: Names by ID, in the order of the IDs.
        annotations: The entries as they are; None where the file has none, so that nothing is known.
        problems: What must be mended.
        duplicates: How many images and categories are repeated word for word.
        notes: What was left out because it is not meant, in sentences.
    """

    name: str
    images: dict[Id, Entry]
    categories: dict[Id, str]
    annotations: list[Any] | None = None
    problems: tuple[str, ...] = ()
    duplicates: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class CocoAnnotations:
    """The annotations of one file.

    Attributes:
        by_image: Usable annotations by the ID of their image.
        problems: A line per annotation that can't be right.
        repeated_ids: A line per annotation that has the ID of another one, but is usable.
        duplicates: How many are repeated word for word.
        incomplete: IDs of the images that lost an annotation.
        lost: How many annotations belong to no image.
        as_text: How many write the ID of their image or category as text where it is a number, or the other way round.
        scored: How many have a score, as predictions do.
        rotated: How many have a rotation, which the box does not show.
        ignored: How many say that they are to be ignored, by a key that is not read.
    """

    by_image: dict[Id, list[Annotation]]
    problems: tuple[str, ...] = ()
    repeated_ids: tuple[str, ...] = ()
    duplicates: int = 0
    incomplete: frozenset[Id] = frozenset()
    lost: int = 0
    as_text: int = 0
    scored: int = 0
    rotated: int = 0
    ignored: int = 0

    def is_complete(self, image_id: Id) -> bool:
        """Return whether all annotations of an image are here.

        One that belongs to no image may be that of any: one without annotations is not known to be empty then.
        """
        return image_id not in self.incomplete and not (self.lost and image_id not in self.by_image)


def read_coco_file(path: Path, name: str) -> CocoFile:
    """Read images and categories of a file; its annotations are kept as they are.

    Args:
        path: The file.
        name: Its name in messages.

    Raises:
        DataError: The file is no JSON, or no COCO file.
    """
    content = _load(path, name)
    images, image_problems, repeated_images = _images(content["images"], name)
    entries, notes = _without_unused_root(content["categories"], content.get("annotations") or [], name)
    categories, category_problems, repeated_categories = _categories(entries, name)
    return CocoFile(
        name=name,
        images=images,
        categories=dict(sorted(categories.items(), key=lambda pair: (str(type(pair[0])), pair[0]))),
        annotations=content.get("annotations"),
        problems=(*image_problems, *category_problems),
        duplicates=repeated_images + repeated_categories,
        notes=tuple(notes),
    )


def _load(path: Path, name: str) -> Entry:
    try:
        content = read_json(path, _MOST_BYTES, huge_as_infinity=True)
    except FileNotFoundError as error:
        raise DataError(f"{name}: is a link that leads nowhere.") from error
    except FileError as error:
        cause = error.__cause__
        place = f":{cause.lineno}" if isinstance(cause, json.JSONDecodeError) else ""
        raise DataError(f"{name}{place}: {error.reason}. Save it again as JSON.") from error
    if isinstance(content, list):
        raise DataError(f"{name}: holds a list, as files of predictions do; expected images, annotations, categories.")
    missing = [key for key in ("images", "categories") if not isinstance(content, dict) or key not in content]
    if missing:
        raise DataError(f"{name}: is no COCO file: it has no {' and no '.join(missing)}.")
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key, []), list):
            raise DataError(f"{name}: {key} is no list, as COCO files have it.")
    return dict(content)


def _images(entries: list[Any], name: str) -> tuple[dict[Id, Entry], list[str], int]:
    """Return usable entries by ID, one line per entry that can't be used, and the number of repeated ones."""
    images: dict[Id, Entry] = {}
    originals: dict[Id, Entry] = {}
    problems, duplicates = [], 0
    for number, entry in enumerate(entries):
        where = f"{name}: images[{number}]"
        try:
            entry_id = _id_of(entry)
            where = f"{where} (id {_brief(entry_id)})"
            known = originals.setdefault(entry_id, entry)
            if known is not entry and known == entry:
                duplicates += 1
            else:
                images[entry_id] = _image(entry, entry_id, known)
        except (ValueError, RecursionError) as error:
            problems.append(f"{where}: {error}")
    return images, problems, duplicates


def _id_of(entry: Any) -> Id:
    entry_id = as_coco_id(entry.get("id")) if isinstance(entry, dict) else None
    if entry_id is None:
        raise ValueError("has no id (a whole number or text)")
    return entry_id


def as_coco_id(value: object) -> Id | None:
    """Return an ID, a whole number (0 and 1.0 included) or text; None where a value can't be one."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, (int, str)) and value != "" and not isinstance(value, bool) else None


def _brief(entry_id: Id) -> str:
    """Return an ID for a message, shortened where it is long."""
    text = str(entry_id)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


_MOST_SHOWN = 40


def _image(entry: Entry, entry_id: Id, known: Entry) -> Entry:
    """Return an entry with its ID and sides as whole numbers.

    Raises:
        ValueError: The clause that says why it can't be used.
    """
    if known is not entry:
        raise ValueError(f"the image {reprlib.repr(known.get('file_name'))} has the same id; give each its own")
    name = entry.get("file_name")
    if not isinstance(name, str) or not name:
        raise ValueError("has no file_name")
    if not _can_be_a_path(name):
        raise ValueError(f"its file_name {reprlib.repr(name)} can't be the name of a file")
    sides = {key: _side(entry.get(key)) for key in ("width", "height")}
    if 0 in sides.values():
        size = f"width {reprlib.repr(entry.get('width'))} and height {reprlib.repr(entry.get('height'))}"
        raise ValueError(f"has {size}; expected whole numbers from 1 on, or leave both out")
    return {**entry, **sides, "id": entry_id}


def _can_be_a_path(name: str) -> bool:
    """Return whether the name holds no null byte and no half of a character."""
    return "\0" not in name and not any("\ud800" <= character <= "\udfff" for character in name)


def _side(value: object) -> int | None:
    """Return a side in pixels, None where there is none, and 0 where it can't be one."""
    if value is None:
        return None
    side = value if isinstance(value, float) else as_coco_id(value)
    return int(side) if isinstance(side, (int, float)) and 1 <= side < _LARGEST and side == int(side) else 0


def _without_unused_root(entries: list[Any], annotations: list[Any], name: str) -> tuple[list[Any], list[str]]:
    """Return the categories without the one that Roboflow adds: it names the group of all others, and marks nothing."""
    root = entries[0] if len(entries) > 1 and isinstance(entries[0], dict) else {}
    groups = [entry.get("supercategory") if isinstance(entry, dict) else None for entry in entries[1:]]
    is_root = isinstance(root.get("name"), str) and all(group == root["name"] for group in groups)
    number = as_coco_id(root.get("id"))
    if not is_root or number is None:
        return entries, []
    if any(
        isinstance(entry, dict) and str(as_coco_id(entry.get("category_id"))) == str(number) for entry in annotations
    ):
        return entries, []
    note = "names the group of all others and no annotation has it; it is no class"
    return entries[1:], [f"{name}: category {reprlib.repr(root['name'])} (id {_brief(number)}) {note}"]


def _categories(entries: list[Any], name: str) -> tuple[dict[Id, str], list[str], int]:
    """Return names by ID, one line per entry that can't be used, and the number of repeated ones."""
    names: dict[Id, str] = {}
    problems, duplicates = [], 0
    for number, entry in enumerate(entries):
        where = f"{name}: categories[{number}]"
        try:
            entry_id = _id_of(entry)
            where = f"{where} (id {_brief(entry_id)})"
            category = _category_name(entry)
            if names.get(entry_id) == category:
                duplicates += 1
            else:
                _require_new_category(entry_id, category, names)
                names[entry_id] = category
        except ValueError as error:
            problems.append(f"{where}: {error}")
    return names, problems, duplicates


def _category_name(entry: Entry) -> str:
    name = entry.get("name")
    if isinstance(name, bool):
        raise ValueError(f"its name is {str(name).lower()}; put it in quotation marks if it is meant as text")
    if isinstance(name, int) or (isinstance(name, float) and math.isfinite(name)):
        number = as_coco_id(name)
        name = str(name if number is None else number)
    if not isinstance(name, str) or not name.strip() or not _can_be_a_path(name):
        raise ValueError("has no name")
    return name


def _require_new_category(entry_id: Id, name: str, names: dict[Id, str]) -> None:
    if entry_id in names:
        raise ValueError(f"{name!r} has the id of {names[entry_id]!r}; give each its own")
    if name in names.values():
        raise ValueError(f"another category is called {name!r} as well; rename or merge them")


_LEAST_CORNERS = 3


def read_annotations(file: CocoFile, outlines: bool = True) -> CocoAnnotations:
    """Return the annotations of a file; of those that are repeated word for word, one.

    Args:
        file: Its images, categories and entries.
        outlines: Whether outlines are read where there is a box as well.
    """
    reader = _Reader(file, outlines)
    for number, entry in enumerate(file.annotations or []):
        reader.read(number, entry)
    return CocoAnnotations(
        dict(reader.by_image),
        tuple(reader.problems),
        tuple(reader.repeated_ids),
        reader.duplicates,
        frozenset(reader.incomplete),
        reader.lost,
        reader.as_text,
        sum(_has_number(entry, "score") for entry in file.annotations or []),
        sum(_is_rotated(entry) for entry in file.annotations or []),
        sum(isinstance(entry, dict) and entry.get("ignore") in (1, True) for entry in file.annotations or []),
    )


def _has_number(entry: Any, key: str) -> bool:
    return isinstance(entry, dict) and _is_number(entry.get(key))


def _is_rotated(entry: Any) -> bool:
    """Return whether an entry has a rotation, as CVAT writes it beside the box before it is rotated."""
    places: list[Any] = [entry, entry.get("attributes")] if isinstance(entry, dict) else []
    return any(_has_number(each, "rotation") and bool(each["rotation"]) for each in places)


@dataclass
class _Reader:
    """Reads the annotations of one file, one after the other."""

    file: CocoFile
    outlines: bool
    by_image: dict[Id, list[Annotation]] = field(default_factory=lambda: defaultdict(list))
    problems: list[str] = field(default_factory=list)
    repeated_ids: list[str] = field(default_factory=list)
    duplicates: int = 0
    incomplete: set[Id] = field(default_factory=set)
    lost: int = 0
    as_text: int = 0

    def __post_init__(self) -> None:
        self._first: dict[Id, tuple[int, Entry]] = {}
        self._images = {str(image_id): image_id for image_id in self.file.images}
        self._categories = {str(category_id): category_id for category_id in self.file.categories}
        self._are_corners = _areas_are_of_corners(self.file.annotations or [])

    def read(self, number: int, entry: Any) -> None:
        """Add an entry to what is usable, or to what is wrong."""
        where = f"{self.file.name}: annotations[{number}]"
        image_id: Id | None = None
        try:
            if not isinstance(entry, dict):
                raise ValueError("is no entry with keys")
            image_id = self._image_id(entry)
            entry_id = as_coco_id(entry.get("id"))
            where = where if entry_id is None else f"{where} (id {_brief(entry_id)})"
            first = (number, entry) if entry_id is None else self._first.setdefault(entry_id, (number, entry))
            if first[1] is not entry and first[1] == entry:
                self.duplicates += 1
                return
            self._add(where, entry, image_id)
            if first[1] is not entry:
                self.repeated_ids.append(f"{where}: annotations[{first[0]}], which is another one, has the same id")
        except (ValueError, RecursionError) as error:
            self.problems.append(f"{where}: {error}")
            if image_id is not None:
                self.incomplete.add(image_id)
            else:
                self.lost += 1

    def _image_id(self, entry: Entry) -> Id | None:
        """Return the ID of the entry's image as the image has it, which may be ``"1"`` for 1; None for no image."""
        return _known_id(entry.get("image_id"), self.file.images, self._images)

    def _add(self, where: str, entry: Entry, image_id: Id | None) -> None:
        if image_id is None:
            raise ValueError(f"image_id {reprlib.repr(entry.get('image_id'))} is the id of no image")
        category_id = _known_id(entry.get("category_id"), self.file.categories, self._categories)
        if category_id is None:
            raise ValueError(f"category_id {reprlib.repr(entry.get('category_id'))} is the id of no category")
        label = self.file.categories[category_id]
        annotation = _annotation(where, entry, label, self.file.images[image_id], self.outlines)
        self.as_text += (image_id, category_id) != (as_coco_id(entry["image_id"]), as_coco_id(entry["category_id"]))
        if self._are_corners and annotation.outline is None and _area_is_of_corners(entry):
            raise ValueError(f"its area ({reprlib.repr(entry.get('area'))}) contradicts its box; {CORNERS}")
        self.by_image[image_id].append(annotation)


def _known_id(value: object, known: Collection[Id], by_text: Mapping[str, Id]) -> Id | None:
    """Return an ID as the entry that it refers to has it, whether as number or as text; None where there is none."""
    entry_id = as_coco_id(value)
    return entry_id if entry_id is None or entry_id in known else by_text.get(str(entry_id))


_AREA_TOLERANCE = 0.01


def _areas_are_of_corners(entries: list[Any]) -> bool:
    """Return whether most areas are those of the boxes if the boxes are read as corners, and not as they should be."""
    verdicts = Counter(_area_is_of_corners(entry) for entry in entries if isinstance(entry, dict))
    return verdicts[True] > verdicts[False]


def _area_is_of_corners(entry: Entry) -> bool | None:
    """Return whether an entry's area is that of its box as x1, y1, x2, y2 alone; None where nothing can be said."""
    try:
        edges, area = _edges(entry.get("bbox")), _finite(entry.get("area"), "area")
    except ValueError:
        return None
    if edges is None or area <= 0:
        return None
    sizes, corners = (
        (right - left) * (bottom - top) if right > left and bottom > top else -1.0
        for left, top, right, bottom in (edges, as_corners(edges))
    )
    return abs(corners - area) <= _AREA_TOLERANCE * area < abs(sizes - area)


def _annotation(where: str, entry: Entry, label: str, image: Entry, outlines: bool) -> Annotation:
    crowd = entry.get("iscrowd", 0)
    if crowd not in (0, 1, None):
        raise ValueError(f"iscrowd is {reprlib.repr(crowd)}, expected 0 or 1")
    edges = _edges(entry.get("bbox"))
    outline = _outline(entry.get("segmentation"), image) if outlines or edges is None else None
    if edges is None and outline is None:
        raise ValueError("has neither bbox nor segmentation")
    return Annotation(where, label, edges, outline, bool(crowd))


def _edges(bbox: Any) -> Edges | None:
    if bbox is None or bbox == []:
        return None
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(_is_number(value) for value in bbox):
        raise ValueError(f"bbox is {reprlib.repr(bbox)}, expected four numbers: x, y, width, height")
    x, y, width, height = (_finite(value, "bbox") for value in bbox)
    return x, y, x + width, y + height


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _finite(value: Any, key: str) -> float:
    """Return a number that arithmetic can't make infinite.

    Raises:
        ValueError: It is none: not a number, infinite, or of hundreds of digits.
    """
    if not _is_number(value) or not -_LARGEST <= value <= _LARGEST:
        raise ValueError(f"its {key} holds {reprlib.repr(value)}, which is no finite number of pixels")
    return float(value)


_LARGEST = 2.0**40
"""No number of pixels is larger; below, no arithmetic becomes infinite."""


def _outline(segmentation: Any, image: Entry) -> Outline | None:
    """Return the shape that a segmentation describes; parts without a number are left out."""
    if isinstance(segmentation, dict) and segmentation:
        return _rle(segmentation, image)
    if not isinstance(segmentation, list):
        if segmentation:
            raise ValueError("segmentation is neither polygons nor run lengths")
        return None
    parts = [segmentation] if segmentation and _is_number(segmentation[0]) else segmentation
    polygons = tuple(_polygon(part) for part in parts if part != [])
    return Polygons(polygons) if polygons else None


def _polygon(values: Any) -> Points:
    if not isinstance(values, list) or not all(_is_number(each) and -_LARGEST <= each <= _LARGEST for each in values):
        raise ValueError("a polygon of its segmentation holds something that is no finite number")
    if len(values) % 2 or len(values) < 2 * _LEAST_CORNERS:
        raise ValueError(
            f"a polygon of its segmentation has {pluralize(len(values), 'number')}; expected pairs, three or more"
        )
    if len(values) > 2 * _MOST_CORNERS:
        most = f"{2 * _MOST_CORNERS:,}"
        raise ValueError(f"a polygon of its segmentation has {len(values):,} numbers; expected at most {most}")
    return np.array(values, np.float64).reshape(-1, 2)


def _rle(segmentation: Entry, image: Entry) -> RleMask:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        raise ValueError(f"the size of its run lengths is {reprlib.repr(size)}, expected height and width")
    if not isinstance(counts, (str, list)):
        raise ValueError("its run lengths have no counts")
    height, width = size
    if any(image.get(key) not in (None, side) for key, side in (("height", height), ("width", width))):
        stated = f"{image.get('width')}x{image.get('height')}"
        raise ValueError(f"its run lengths are of {width}x{height} px, but its image is {stated} px")
    return parse_rle(counts, width, height)
