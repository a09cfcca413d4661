"""From annotations to objects: boxes of whole pixels in the upright image, outlines that can be drawn.

Belongs here: one annotation in its image. Does not belong here: reading annotations, tables, files.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assay.boxes import Box
from assay.datasets.annotations import AnnotatedImage, Annotation, Outline
from assay.datasets.geometry import Edges, turned, turned_edges, turned_size
from assay.datasets.inspection import Inspected
from assay.own_data.polygons import Polygons
from assay.own_data.runs import Runs
from assay.own_data.whole_boxes import whole_box


@dataclass(frozen=True)
class Frame:
    """What annotations of an image refer to.

    Attributes:
        size: Width and height of the image that they refer to, in pixels.
        orientation: How that must be turned to be upright.
        in_shares: Whether they are in shares of ``size`` rather than in pixels.
    """

    size: tuple[int, int]
    orientation: int
    in_shares: bool


@dataclass(frozen=True)
class PlacedObject:
    """One object in the upright image.

    Attributes:
        label: Name of its class.
        box: Its box, inside the image.
        was_clipped: Whether something of the box was cut off.
        crowd: Whether it is a region of many objects.
        outline: Its shape, in pixels of the frame.
    """

    label: str
    box: Box
    was_clipped: bool
    crowd: bool
    outline: Outline | None


def frame_of(image: AnnotatedImage, one: Inspected, orientation: int) -> Frame:
    """Return what an image's annotations refer to, given how they must be turned."""
    return Frame(turned_size((one.width_px, one.height_px), orientation), orientation, image.in_shares)


def place(annotation: Annotation, frame: Frame) -> PlacedObject:
    """Return the object that an annotation means.

    Raises:
        ValueError: The clause that says what is wrong with its box.
    """
    outline, edges = annotation.outline, annotation.edges
    if isinstance(outline, Runs) and (outline.width_px, outline.height_px) != frame.size:
        stated, found_size = f"{outline.width_px}x{outline.height_px}", "{}x{}".format(*frame.size)
        raise ValueError(f"its run lengths are of {stated} px, but its image is {found_size} px")
    if edges is None:
        edges = _edges_of(outline, frame)
    if frame.in_shares:
        edges = _scaled(edges, frame.size)
        outline = outline.scaled(frame.size) if isinstance(outline, Polygons) else outline
    upright_size = turned_size(frame.size, frame.orientation)
    found = whole_box(turned_edges(edges, frame.size, frame.orientation), upright_size)
    return PlacedObject(annotation.label, found.box, found.was_clipped, annotation.crowd, outline)


def _scaled(edges: Edges, size: tuple[int, int]) -> Edges:
    left, top, right, bottom = edges
    return left * size[0], top * size[1], right * size[0], bottom * size[1]


def _edges_of(outline: Outline | None, frame: Frame) -> Edges:
    """Return the box around an outline."""
    if isinstance(outline, Polygons):
        return outline.edges
    inside = Image.fromarray(outline.mask(*frame.size)).getbbox() if outline else None
    if inside is None:
        raise ValueError("its segmentation has no pixel")
    return inside


def draw(outline: Outline, frame: Frame) -> NDArray[np.bool_]:
    """Return the pixels of an outline in the upright image, as (height, width)."""
    mask = outline.mask(*frame.size)
    return mask if frame.orientation == 1 else np.asarray(turned(Image.fromarray(mask), frame.orientation))
