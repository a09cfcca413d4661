"""One COCO file: its images, categories and annotations, checked.

Belongs here: the structure of https://cocodataset.org/#format-data, and entries that can't be right. Does not belong
here: where files and images are (``coco``); whether a box fits its image, which only the image can say.
"""

import json
import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assay.datasets.annotations import Annotation, Outline
from assay.datasets.geometry import Edges, Points, Polygons, RleMask, parse_rle
from assay.errors import DataError

Entry = dict[str, Any]

Id = int | str


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
    """

    name: str
    images: dict[Id, Entry]
    categories: dict[Id, str]
    annotations: list[Any] | None = None
    problems: tuple[str, ...] = ()
    duplicates: int = 0


@dataclass(frozen=True)
class CocoAnnotations:
    """The annotations of one file.

    Attributes:
        by_image: Usable annotations by the ID of their image.
        problems: A line per annotation that can't be right.
        duplicates: How many are repeated word for word.
    """

    by_image: dict[Id, list[Annotation]]
    problems: tuple[str, ...]
    duplicates: int


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
    categories, category_problems, repeated_categories = _categories(content["categories"], name)
    return CocoFile(
        name=name,
        images=images,
        categories=dict(sorted(categories.items(), key=lambda pair: (str(type(pair[0])), pair[0]))),
        annotations=content.get("annotations"),
        problems=(*image_problems, *category_problems),
        duplicates=repeated_images + repeated_categories,
    )


def _load(path: Path, name: str) -> Entry:
    try:
        content = json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        raise DataError(f"{name}:{error.lineno}: is no JSON, or cut off ({error.msg}). Save it again.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: is no JSON: {error.reason} at byte {error.start}. Save it as UTF-8.") from error
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
    problems, duplicates = [], 0
    for number, entry in enumerate(entries):
        where = f"{name}: images[{number}]"
        try:
            entry_id = _id_of(entry)
            where = f"{where} (id {entry_id})"
            known = images.get(entry_id)
            if known == entry:
                duplicates += 1
            else:
                _require_image(entry, known)
                images[entry_id] = entry
        except ValueError as error:
            problems.append(f"{where}: {error}")
    return images, problems, duplicates


def _id_of(entry: Any) -> Id:
    if not isinstance(entry, dict) or not is_coco_id(entry.get("id")):
        raise ValueError("has no id (a whole number or text)")
    entry_id: Id = entry["id"]
    return entry_id


def is_coco_id(value: object) -> bool:
    """Return whether a value can be an ID: a whole number, 0 included, or text."""
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def _require_image(entry: Entry, known: Entry | None) -> None:
    if known is not None:
        raise ValueError(f"the image {known.get('file_name')!r} has the same id; give each its own")
    if not isinstance(entry.get("file_name"), str) or not entry["file_name"]:
        raise ValueError("has no file_name")
    if not all(_is_side(entry.get(key)) for key in ("width", "height")):
        size = f"width {entry.get('width')!r} and height {entry.get('height')!r}"
        raise ValueError(f"has {size}; expected whole numbers from 1 on, or leave both out")


def _is_side(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1)


def _categories(entries: list[Any], name: str) -> tuple[dict[Id, str], list[str], int]:
    """Return names by ID, one line per entry that can't be used, and the number of repeated ones."""
    names: dict[Id, str] = {}
    problems, duplicates = [], 0
    for number, entry in enumerate(entries):
        where = f"{name}: categories[{number}]"
        try:
            entry_id = _id_of(entry)
            where = f"{where} (id {entry_id})"
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
    if not isinstance(name, str) or not name.strip():
        raise ValueError("has no name")
    return name


def _require_new_category(entry_id: Id, name: str, names: dict[Id, str]) -> None:
    if entry_id in names:
        raise ValueError(f"{name!r} has the id of {names[entry_id]!r}; give each its own")
    if name in names.values():
        raise ValueError(f"another category is called {name!r} as well; rename or merge them")


_LEAST_CORNERS = 3


def read_annotations(file: CocoFile) -> CocoAnnotations:
    """Return the annotations of a file; of those that are repeated word for word, one."""
    by_image: dict[Id, list[Annotation]] = defaultdict(list)
    first: dict[Id, tuple[int, Entry]] = {}
    problems, duplicates = [], 0
    for number, entry in enumerate(file.annotations or []):
        where = f"{file.name}: annotations[{number}]"
        try:
            entry_id = _annotation_id(entry)
            if entry_id is not None:
                where = f"{where} (id {entry_id})"
                if _is_repeated(entry, first.setdefault(entry_id, (number, entry))):
                    duplicates += 1
                    continue
            by_image[_image_id(entry, file)].append(_annotation(where, entry, file))
        except ValueError as error:
            problems.append(f"{where}: {error}")
    return CocoAnnotations(by_image, tuple(problems), duplicates)


def _annotation_id(entry: Any) -> Id | None:
    """Return the ID of an annotation, which not every file gives."""
    if not isinstance(entry, dict):
        raise ValueError("is no entry with keys")
    entry_id = entry.get("id")
    return entry_id if is_coco_id(entry_id) else None


def _is_repeated(entry: Entry, first: tuple[int, Entry]) -> bool:
    """Return whether an entry repeats the first one of its ID; another entry of the same ID is an error."""
    if first[1] is entry:
        return False
    if first[1] != entry:
        raise ValueError(f"annotations[{first[0]}], which is another one, has the same id")
    return True


def _image_id(entry: Entry, file: CocoFile) -> Id:
    image_id = entry.get("image_id")
    if not isinstance(image_id, (int, str)) or image_id not in file.images:
        raise ValueError(f"image_id {image_id!r} is the id of no image")
    return image_id


def _annotation(where: str, entry: Entry, file: CocoFile) -> Annotation:
    category_id, crowd = entry.get("category_id"), entry.get("iscrowd", 0)
    if not isinstance(category_id, (int, str)) or category_id not in file.categories:
        raise ValueError(f"category_id {category_id!r} is the id of no category")
    if crowd not in (0, 1, None):
        raise ValueError(f"iscrowd is {crowd!r}, expected 0 or 1")
    edges = _edges(entry.get("bbox"))
    outline = _outline(entry.get("segmentation"), file.images[entry["image_id"]])
    if edges is None and outline is None:
        raise ValueError("has neither bbox nor segmentation")
    return Annotation(where, file.categories[category_id], edges, outline, bool(crowd))


def _edges(bbox: Any) -> Edges | None:
    if bbox is None or bbox == []:
        return None
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(_is_number(value) for value in bbox):
        raise ValueError(f"bbox is {bbox!r}, expected four numbers: x, y, width, height")
    x, y, width, height = map(float, bbox)
    return x, y, x + width, y + height


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _outline(segmentation: Any, image: Entry) -> Outline | None:
    if not segmentation:
        return None
    if isinstance(segmentation, dict):
        return _rle(segmentation, image)
    if not isinstance(segmentation, list):
        raise ValueError("segmentation is neither polygons nor run lengths")
    parts = [segmentation] if _is_number(segmentation[0]) else segmentation
    return Polygons(tuple(_polygon(part) for part in parts))


def _polygon(values: Any) -> Points:
    if not isinstance(values, list) or not all(_is_number(value) and math.isfinite(value) for value in values):
        raise ValueError("a polygon of its segmentation holds something that is no finite number")
    if len(values) % 2 or len(values) < 2 * _LEAST_CORNERS:
        raise ValueError(f"a polygon of its segmentation has {len(values)} numbers; expected pairs, three or more")
    return np.array(values, np.float64).reshape(-1, 2)


def _rle(segmentation: Entry, image: Entry) -> RleMask:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        raise ValueError(f"the size of its run lengths is {size!r}, expected height and width")
    if not isinstance(counts, (str, list)):
        raise ValueError("its run lengths have no counts")
    height, width = size
    if any(image.get(key) not in (None, side) for key, side in (("height", height), ("width", width))):
        stated = f"{image.get('width')}x{image.get('height')}"
        raise ValueError(f"its run lengths are of {width}x{height} px, but its image is {stated} px")
    return parse_rle(counts, width, height)
