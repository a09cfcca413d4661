"""What COCO files and YOLO folders say, before anybody has looked into the images.

Belongs here: the common form of both. Does not belong here: reading either, judging boxes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from assay.datasets.geometry import Edges, Polygons, RleMask, clip_box, upright_edges, upright_image, upright_size
from assay.datasets.inspection import Inspected
from assay.datasets.schema import BACKGROUND, CLASS, IGNORE, MASK_CLASS_COLUMNS
from assay.images.boxes import Box
from assay.utils.concurrency import Progress, map_in_order, usable_cores

Outline = Polygons | RleMask


@dataclass(frozen=True)
class Annotation:
    """One object.

    Attributes:
        where: File and entry or line, for messages.
        label: Name of its class.
        edges: Its box; None where only the outline says where it is.
        outline: Its shape, if that is known.
        crowd: Whether it is a region of many objects.
    """

    where: str
    label: str
    edges: Edges | None
    outline: Outline | None = None
    crowd: bool = False


@dataclass
class AnnotatedImage:
    """One image and what is said about it.

    Attributes:
        file: Path relative to the root of all images.
        where: File and entry that name it, for messages.
        given_subset: Our name of the subset that it comes in.
        stated_size: Width and height as the annotations' file states them.
        labelled: Whether its objects are known; without any it is empty then.
        in_shares: Whether boxes and polygons are in shares of the upright image's sides rather than in pixels.
        annotations: Its objects.
    """

    file: str
    where: str
    given_subset: str | None
    stated_size: tuple[int, int] | None = None
    labelled: bool = True
    in_shares: bool = False
    annotations: list[Annotation] = field(default_factory=list)


@dataclass
class Listing:
    """All images of a source.

    Attributes:
        root: Folder that the images' files are relative to.
        images: Those that exist, sorted by file.
        classes: Names in the order of their numbers.
        problems: What must be mended before anything can be computed.
        bad: Annotations that can't be right; the rest can be used without them.
        counts: Statistics for the report.
    """

    root: Path
    images: list[AnnotatedImage]
    classes: list[str]
    problems: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


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
    return Frame(upright_size((one.width_px, one.height_px), orientation), orientation, image.in_shares)


def place(annotation: Annotation, frame: Frame) -> PlacedObject:
    """Return the object that an annotation means.

    Raises:
        ValueError: The clause that says what is wrong with its box.
    """
    outline, edges = annotation.outline, annotation.edges
    if isinstance(outline, RleMask) and (outline.width_px, outline.height_px) != frame.size:
        stated, found_size = f"{outline.width_px}x{outline.height_px}", "{}x{}".format(*frame.size)
        raise ValueError(f"its run lengths are of {stated} px, but its image is {found_size} px")
    if edges is None:
        edges = _edges_of(outline, frame)
    if frame.in_shares:
        edges = _scaled(edges, frame.size)
        outline = outline.scaled(frame.size) if isinstance(outline, Polygons) else outline
    image_size = upright_size(frame.size, frame.orientation)
    found = clip_box(upright_edges(edges, frame.size, frame.orientation), image_size)
    return PlacedObject(annotation.label, found.box, found.was_clipped, annotation.crowd, outline)


def _scaled(edges: Edges, size: tuple[int, int]) -> Edges:
    left, top, right, bottom = edges
    return left * size[0], top * size[1], right * size[0], bottom * size[1]


def _edges_of(outline: Outline | None, frame: Frame) -> Edges:
    """Return the box around an outline."""
    if isinstance(outline, Polygons):
        return outline.edges
    edges = outline.edges if outline else None
    if edges is None:
        raise ValueError("its segmentation has no pixel")
    return edges


def draw(outline: Outline, frame: Frame) -> NDArray[np.bool_]:
    """Return the pixels of an outline in the upright image, as (height, width)."""
    mask = outline.mask(*frame.size)
    return mask if frame.orientation == 1 else np.asarray(upright_image(Image.fromarray(mask), frame.orientation))


def needed_turns(images: Sequence[AnnotatedImage], found: Sequence[Inspected]) -> tuple[list[int], list[str]]:
    """Return the orientation by which each image's annotations must be turned, 1 for none, and wrong sizes.

    YOLO's shares refer to the upright image, as its tools read images.
    """
    verdicts: list[bool | None] = []
    problems = []
    for image, one in zip(images, found, strict=True):
        if problem := _wrong_size(image, one):
            problems.append(f"{image.where}: {problem}")
        verdicts.append(_is_as_stored(image, one))
    decided = {verdict for verdict in verdicts if verdict is not None}
    otherwise = decided == {True}
    stored = [otherwise if verdict is None else verdict for verdict in verdicts]
    return [one.orientation if is_stored else 1 for is_stored, one in zip(stored, found, strict=True)], problems


def _is_as_stored(image: AnnotatedImage, one: Inspected) -> bool | None:
    """Return whether the stated size is the stored one; None where it doesn't say."""
    if one.orientation == 1 or image.in_shares:
        return False if image.in_shares else None
    upright = (one.width_px, one.height_px)
    if image.stated_size is None or upright_size(upright, one.orientation) == upright:
        return None
    return image.stated_size != upright


def _wrong_size(image: AnnotatedImage, one: Inspected) -> str | None:
    upright = (one.width_px, one.height_px)
    if image.stated_size is None or image.stated_size in (upright, upright_size(upright, one.orientation)):
        return None
    stated = "{}x{}".format(*image.stated_size)
    return f"is stated to be {stated} px, but the file has {one.width_px}x{one.height_px} px; mend width and height"


_MOST_IN_8_BITS = 254


@dataclass(frozen=True)
class Scene:
    """An image with everything in it; ``objects`` is None where nothing is known."""

    file: str
    frame: Frame
    size: tuple[int, int]
    objects: tuple[PlacedObject, ...] | None


@dataclass(frozen=True)
class MaskPainter:
    """Draws the masks of one source; classes have the values 1, 2 and so on, the background 0.

    Attributes:
        classes: Names in the order of their values.
    """

    classes: tuple[str, ...]

    @property
    def ignore(self) -> int:
        """Value of pixels whose class is unknown: the largest of 8 bits, or of 16 where there are too many classes."""
        return 255 if len(self.classes) <= _MOST_IN_8_BITS else 65535

    def table(self) -> pl.DataFrame:
        """Return mask_classes.parquet."""
        named = [(value, name, CLASS) for value, name in enumerate(self.classes, 1)]
        rows = [(0, None, BACKGROUND), *named, (self.ignore, None, IGNORE)]
        return pl.DataFrame(rows, schema=dict(MASK_CLASS_COLUMNS), orient="row")

    def paint(self, scene: Scene) -> Image.Image:
        """Return the mask of an image."""
        width, height = scene.size
        mask = np.zeros((height, width), np.uint8 if self.ignore == 255 else np.uint16)
        objects = sorted(scene.objects or (), key=lambda one: one.box.width_px * one.box.height_px, reverse=True)
        for one in objects:
            if one.outline is None:
                left, top, right, bottom = one.box.edges
                mask[top:bottom, left:right] = self.ignore
            elif one.crowd:
                mask[draw(one.outline, scene.frame)] = self.ignore
        for one in objects:
            if one.outline is not None and not one.crowd:
                mask[draw(one.outline, scene.frame)] = self.classes.index(one.label) + 1
        return Image.fromarray(mask)


def write_masks(painter: MaskPainter, scenes: Sequence[Scene], folder: Path, progress: Progress) -> list[str | None]:
    """Write ``masks/<file>.png`` of each image whose objects are known; return names relative to ``folder``."""
    names = [None if scene.objects is None else f"masks/{scene.file}.png" for scene in scenes]
    for parent in {(folder / name).parent for name in names if name}:
        parent.mkdir(parents=True, exist_ok=True)

    def write(pair: tuple[Scene, str | None]) -> None:
        scene, name = pair
        if name:
            painter.paint(scene).save(folder / name, "PNG", compress_level=1)

    for done, _ in enumerate(map_in_order(write, zip(scenes, names, strict=True), usable_cores()), 1):
        progress(done, len(scenes), "masks drawn")
    return names
