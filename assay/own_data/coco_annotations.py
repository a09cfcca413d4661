"""The annotations of one COCO file: boxes, outlines, crowds.

Belongs here: from entries to ``Annotation``, and entries that can't be right. Does not belong here: whether a box fits
its image, which only the image can say.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from assay.datasets.annotations import Annotation, Outline
from assay.datasets.coco_json import CocoFile, Entry, Id, is_id
from assay.datasets.geometry import Edges
from assay.own_data.polygons import Polygons
from assay.own_data.runs import Runs, read_counts

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


def _runs(segmentation: Entry, image: Entry) -> Runs:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        raise ValueError(f"the size of its run lengths is {size!r}, expected height and width")
    if not isinstance(counts, (str, list)):
        raise ValueError("its run lengths have no counts")
    height, width = size
    if any(image.get(key) not in (None, side) for key, side in (("height", height), ("width", width))):
        stated = f"{image.get('width')}x{image.get('height')}"
        raise ValueError(f"its run lengths are of {width}x{height} px, but its image is {stated} px")
    numbers = read_counts(counts)
    if numbers.sum() != height * width:
        raise ValueError(f"its run lengths sum to {numbers.sum()}, expected {height * width} ({width}x{height} px)")
    return Runs(numbers, width, height)
