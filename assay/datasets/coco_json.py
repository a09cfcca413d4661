"""One COCO file: its images and categories, checked.

Belongs here: the file's structure, images, categories. Does not belong here: annotations (``coco_annotations``).

The format is that of https://cocodataset.org/#format-data.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from assay.datasets.annotations import Annotation, Outline
from assay.datasets.geometry import Edges, Polygons, RleMask, parse_rle
from assay.errors import DataError

Entry = dict[str, Any]

Id = int | str


@dataclass
class CocoFile:
    """What is usable of one file, and what is wrong with it.

    Attributes:
        name: Its name in messages.
        images: Entries of images by ID.
        categories: Names by ID, in the order of the IDs.
        annotations: The entries as they are; None where the file has none, so that nothing is known.
        problems: What must be mended.
        duplicates: How many entries were there twice, word for word.
    """

    name: str
    images: dict[Id, Entry] = field(default_factory=dict)
    categories: dict[Id, str] = field(default_factory=dict)
    annotations: list[Any] | None = None
    problems: list[str] = field(default_factory=list)
    duplicates: int = 0


def read_coco_file(path: Path, name: str) -> CocoFile:
    """Read images and categories of a file.

    Raises:
        DataError: The file is no JSON, or no COCO file.
    """
    content = _content(path, name)
    file = CocoFile(name, annotations=content.get("annotations"))
    for where, entry in _entries(content, "images", file):
        _add_image(file, where, entry)
    names: dict[Id, str] = {}
    for where, entry in _entries(content, "categories", file):
        _add_category(file, names, where, entry)
    file.categories = dict(sorted(names.items(), key=lambda pair: (str(type(pair[0])), pair[0])))
    return file


def _content(path: Path, name: str) -> Entry:
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


def _entries(content: Entry, key: str, file: CocoFile) -> Iterator[tuple[str, Entry]]:
    """Yield place and entry, leaving out and noting what is no entry at all."""
    for number, entry in enumerate(content[key]):
        where = f"{file.name}: {key}[{number}]"
        if not isinstance(entry, dict) or not is_id(entry.get("id")):
            file.problems.append(f"{where}: has no id (a whole number or text)")
        else:
            yield f"{where} (id {entry['id']})", entry


def is_id(value: object) -> bool:
    """Return whether a value can be an ID: a whole number, 0 included, or text."""
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def _add_image(file: CocoFile, where: str, entry: Entry) -> None:
    known = file.images.get(entry["id"])
    if known == entry:
        file.duplicates += 1
    elif known is not None:
        file.problems.append(f"{where}: the image {known.get('file_name')!r} has the same id; give each its own")
    elif not isinstance(entry.get("file_name"), str) or not entry["file_name"]:
        file.problems.append(f"{where}: has no file_name")
    elif not all(_is_side(entry.get(key)) for key in ("width", "height")):
        size = f"width {entry.get('width')!r} and height {entry.get('height')!r}"
        file.problems.append(f"{where}: has {size}; expected whole numbers from 1 on, or leave both out")
    else:
        file.images[entry["id"]] = entry


def _is_side(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1)


def _add_category(file: CocoFile, names: dict[Id, str], where: str, entry: Entry) -> None:
    name = entry.get("name")
    if not isinstance(name, str) or not name.strip():
        file.problems.append(f"{where}: has no name")
    elif entry["id"] in names and names[entry["id"]] == name:
        file.duplicates += 1
    elif entry["id"] in names:
        file.problems.append(f"{where}: {name!r} has the id of {names[entry['id']]!r}; give each its own")
    elif name in names.values():
        file.problems.append(f"{where}: another category is called {name!r} as well; rename or merge them")
    else:
        names[entry["id"]] = name


_LEAST_CORNERS = 3


def read_annotations(file: CocoFile, bad: list[str]) -> dict[Id, list[Annotation]]:
    """Return the annotations by image ID; entries that can't be right are described in ``bad``."""
    found: dict[Id, list[Annotation]] = defaultdict(list)
    for where, entry in _unique(file, bad):
        try:
            found[_image_id(entry, file)].append(_annotation(where, entry, file))
        except ValueError as error:
            bad.append(f"{where}: {error}")
    return found


def _unique(file: CocoFile, bad: list[str]) -> Iterator[tuple[str, Entry]]:
    """Yield place and entry; of those that are there twice, word for word, one."""
    first: dict[Id, tuple[int, Entry]] = {}
    for number, entry in enumerate(file.annotations or []):
        where = f"{file.name}: annotations[{number}]"
        if not isinstance(entry, dict):
            bad.append(f"{where}: is no entry with keys")
            continue
        own_id = entry.get("id")
        if own_id is None or not is_id(own_id):
            yield where, entry
            continue
        where += f" (id {own_id})"
        if own_id not in first:
            first[own_id] = (number, entry)
            yield where, entry
        elif first[own_id][1] == entry:
            file.duplicates += 1
        else:
            bad.append(f"{where}: annotations[{first[own_id][0]}], which is another one, has the same id")


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
        return _runs(segmentation, image)
    if not isinstance(segmentation, list):
        raise ValueError("segmentation is neither polygons nor run lengths")
    parts = [segmentation] if _is_number(segmentation[0]) else segmentation
    return Polygons(tuple(_polygon(part) for part in parts))


def _polygon(values: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    if not isinstance(values, list) or not all(_is_number(value) and math.isfinite(value) for value in values):
        raise ValueError("a polygon of its segmentation holds something that is no finite number")
    if len(values) % 2 or len(values) < 2 * _LEAST_CORNERS:
        raise ValueError(f"a polygon of its segmentation has {len(values)} numbers; expected pairs, three or more")
    return np.array(values, np.float64).reshape(-1, 2)


def _runs(segmentation: Entry, image: Entry) -> RleMask:
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
