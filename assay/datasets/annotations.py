"""The common form of annotated images: what every reader returns, and how it becomes objects and masks.

Belongs here: annotations as a file states them, objects in the upright image, masks drawn from outlines. Does not
belong here: reading any format (``coco``, ``yolo``, ``mask_folder``), tables and reports (``index``).

A reader opens the user's files once and returns an ``AnnotatedDataset``: the images with their annotations, and
everything that is wrong. Nobody adds to it later.

Annotations refer to an image either as it is stored or as EXIF turns it upright. A COCO file states each image's size,
and a mask has one: where that is the upright size, the tool that made the annotations applied EXIF; where it is the
stored size, it did not. Where both are the same (square, mirrored or upside-down images), or no size is stated, the
other images of the data set decide, since the same tool wrote them; without such evidence, annotations are taken to
refer to the image as people see it, upright.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from assay.datasets.box_units import corners_hint, guess_unit, require_agreement, require_unit
from assay.datasets.geometry import Edges, Polygons, RleMask, clip_box, upright_edges, upright_image, upright_size
from assay.datasets.inspection import ImageInfo
from assay.datasets.schema import BACKGROUND, CLASS, IGNORE, MASK_CLASS_COLUMNS
from assay.images.boxes import Box
from assay.utils.concurrency import Progress, map_in_order, usable_cores

Outline = Polygons | RleMask


@dataclass(frozen=True)
class Annotation:
    """One object as a file describes it.

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


@dataclass(frozen=True)
class AnnotatedImage:
    """One image and its annotations.

    Attributes:
        file: Path relative to the root of all images.
        where: File and entry that name it, for messages.
        given_subset: Our name of the subset that it comes in.
        stated_size: Width and height as its annotations state them, or those of its mask.
        labelled: Whether its objects are known; an image without any is empty then.
        is_complete: Whether all of its annotations are here. An image that lost one is not known to be empty elsewhere.
        in_shares: Whether boxes and polygons are in shares of the upright image's sides rather than in pixels.
        annotations: Its objects.
        mask: Path of the user's own mask, relative to the root of all masks.
    """

    file: str
    where: str
    given_subset: str | None
    stated_size: tuple[int, int] | None = None
    labelled: bool = True
    is_complete: bool = True
    in_shares: bool = False
    annotations: tuple[Annotation, ...] = ()
    mask: str | None = None


@dataclass(frozen=True)
class UserMasks:
    """The masks that the user's images come with.

    Attributes:
        root: Folder that the masks' files are relative to.
        classes: Rows of mask_classes.parquet.
    """

    root: Path
    classes: pl.DataFrame


@dataclass(frozen=True)
class AnnotatedDataset:
    """Everything that a reader found.

    Attributes:
        root: Folder that the images' files are relative to.
        images: Those that exist, sorted by file.
        classes: Names in the order of their numbers.
        problems: What must be mended before anything can be computed.
        bad_annotations: Annotations that can't be right; the rest can be used without them.
        statistics: Further entries of the report.
        warnings: Sentences about what was read, but may not be meant.
        masks: The user's own masks, where the data set consists of such.
    """

    root: Path
    images: tuple[AnnotatedImage, ...]
    classes: tuple[str, ...]
    problems: tuple[str, ...] = ()
    bad_annotations: tuple[str, ...] = ()
    statistics: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    masks: UserMasks | None = None


@dataclass(frozen=True)
class AnnotationFrame:
    """What the annotations of an image refer to.

    Attributes:
        size: Width and height of the image that they refer to, in pixels.
        orientation: EXIF orientation by which that image is turned upright; 1 where it is upright already.
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


@dataclass(frozen=True)
class PlacedImage:
    """An image with its objects.

    Attributes:
        file: Path relative to the root of all images.
        frame: What its annotations refer to.
        size: Upright width and height in pixels.
        objects: Its objects; None where they are not known.
        is_complete: Whether these are all objects; where not, what is elsewhere in the image is unknown.
    """

    file: str
    frame: AnnotationFrame
    size: tuple[int, int]
    objects: tuple[PlacedObject, ...] | None
    is_complete: bool = True

    @property
    def has_truth(self) -> bool:
        """Whether the whole image can be learned from: its objects are known, all of them."""
        return self.objects is not None and self.is_complete


MOST_OBJECTS = 100_000
"""Most annotations of one image: no data set has a quarter of them, and a mask is drawn from each."""


def place_objects(images: Sequence[AnnotatedImage], infos: Sequence[ImageInfo]) -> tuple[list[PlacedImage], list[str]]:
    """Return every image with its objects, and a line per annotation that can't be right.

    Args:
        images: The images.
        infos: What is in their files, in the same order; all of them are usable.
    """
    orientations = exif_orientations(images, infos)
    frames = [frame_of(*each) for each in zip(images, infos, orientations, strict=True)]
    guess = _guess_unit(images, frames)
    placed, bad = [], []
    for image, info, frame in zip(images, infos, frames, strict=True):
        objects, problems = _placed(image, frame, guess)
        bad += problems
        placed.append(
            PlacedImage(
                image.file,
                frame,
                (info.width_px, info.height_px),
                tuple(objects) if image.labelled else None,
                image.is_complete and not problems,
            )
        )
    return placed, bad


def _placed(image: AnnotatedImage, frame: AnnotationFrame, guess: str) -> tuple[list[PlacedObject], list[str]]:
    """Return the objects of an image, and a line per annotation that can't be right."""
    if len(image.annotations) > MOST_OBJECTS:
        return [], [f"{image.where}: has {len(image.annotations):,} annotations; expected at most {MOST_OBJECTS:,}"]
    objects: list[PlacedObject] = []
    problems: list[str] = []
    for annotation in image.annotations:
        try:
            box = _stated_box(annotation)
            if guess and box is not None and not frame.in_shares:
                require_unit(box, frame.size, guess, annotation.outline is None)
            objects.append(place(annotation, frame))
        except ValueError as error:
            problems.append(f"{annotation.where}: {error}")
    return objects, problems


def _guess_unit(images: Sequence[AnnotatedImage], frames: Sequence[AnnotationFrame]) -> str:
    """Return what the boxes in pixels show to be instead, if they do; see ``box_units``."""
    boxes, alone = [], []
    for image, frame in zip(images, frames, strict=True):
        for annotation in () if image.in_shares else image.annotations:
            box = _stated_box(annotation)
            if box is not None:
                boxes.append((box, frame.size))
                if annotation.outline is None:
                    alone.append((box, frame.size))
    return guess_unit(boxes, alone)


def _stated_box(annotation: Annotation) -> Edges | None:
    """Return the box that an annotation states, by its numbers or by the corners of its outline."""
    outline = annotation.outline
    return outline.edges if annotation.edges is None and isinstance(outline, Polygons) else annotation.edges


def frame_of(image: AnnotatedImage, info: ImageInfo, orientation: int) -> AnnotationFrame:
    """Return what an image's annotations refer to, given the orientation by which they are turned upright."""
    return AnnotationFrame(upright_size((info.width_px, info.height_px), orientation), orientation, image.in_shares)


def place(annotation: Annotation, frame: AnnotationFrame) -> PlacedObject:
    """Return the object that an annotation means.

    Raises:
        ValueError: The clause that says what is wrong with its box or outline.
    """
    outline, edges = annotation.outline, annotation.edges
    if isinstance(outline, RleMask) and (outline.width_px, outline.height_px) != frame.size:
        stated, size = f"{outline.width_px}x{outline.height_px}", "{}x{}".format(*frame.size)
        raise ValueError(f"its run lengths are of {stated} px, but its image is {size} px")
    around = outline.edges if outline else None
    edges = around if edges is None else edges
    if edges is None:
        raise ValueError("its segmentation has no pixel")
    if frame.in_shares:
        edges, around = _scaled(edges, frame.size), None  # the box is that of the outline
        outline = outline.scaled(frame.size) if isinstance(outline, Polygons) else outline
    image_size = upright_size(frame.size, frame.orientation)
    try:
        clipped = clip_box(upright_edges(edges, frame.size, frame.orientation), image_size)
    except ValueError as error:
        raise ValueError(f"{error}{'' if frame.in_shares else corners_hint(edges, frame.size)}") from None
    if around is not None:
        require_agreement(edges, around)
    if outline is not None and not outline.covers(*frame.size):
        raise ValueError("its outline covers no pixel of the image")
    return PlacedObject(annotation.label, clipped.box, clipped.was_clipped, annotation.crowd, outline)


def _scaled(edges: Edges, size: tuple[int, int]) -> Edges:
    left, top, right, bottom = edges
    return left * size[0], top * size[1], right * size[0], bottom * size[1]


def exif_orientations(images: Sequence[AnnotatedImage], infos: Sequence[ImageInfo]) -> list[int]:
    """Return the EXIF orientation by which each image's annotations are turned upright, 1 where they are already.

    YOLO's shares refer to the upright image, as its tools read images.
    """
    verdicts = [_refers_to_stored(image, info) for image, info in zip(images, infos, strict=True)]
    undecided = {verdict for verdict in verdicts if verdict is not None} == {True}
    stored = [undecided if verdict is None else verdict for verdict in verdicts]
    return [info.orientation if is_stored else 1 for is_stored, info in zip(stored, infos, strict=True)]


def _refers_to_stored(image: AnnotatedImage, info: ImageInfo) -> bool | None:
    """Return whether the annotations refer to the image as it is stored; None where its size doesn't say."""
    if image.in_shares:
        return False
    upright = (info.width_px, info.height_px)
    if info.orientation == 1 or image.stated_size is None or upright_size(upright, info.orientation) == upright:
        return None
    return image.stated_size != upright


def wrong_sizes(images: Sequence[AnnotatedImage], infos: Sequence[ImageInfo]) -> list[str]:
    """Return one line per usable image whose stated size is neither its upright nor its stored one."""
    problems = []
    for image, info in zip(images, infos, strict=True):
        upright = (info.width_px, info.height_px)
        sizes = dict.fromkeys([upright, upright_size(upright, info.orientation)])
        if info.problem or image.stated_size is None or image.stated_size in sizes:
            continue
        stated = "{}x{}".format(*image.stated_size)
        if image.mask:
            expected = " or ".join(f"{width}x{height}" for width, height in sizes)
            problems.append(f"{image.mask}: has {stated} px, its image {expected} px")
        else:
            actual = f"{info.width_px}x{info.height_px}"
            problems.append(
                f"{image.where}: is stated to be {stated} px, but the file has {actual} px; mend width and height"
            )
    return problems


def draw_outline(outline: Outline, frame: AnnotationFrame) -> NDArray[np.bool_]:
    """Return the pixels of an outline in the upright image, as (height, width)."""
    mask = outline.mask(*frame.size)
    return mask if frame.orientation == 1 else np.asarray(upright_image(Image.fromarray(mask), frame.orientation))


_MOST_IN_8_BITS = 254


@dataclass(frozen=True)
class MaskPainter:
    """Draws the masks of one data set; classes have the values 1, 2 and so on, the background 0.

    Larger objects lie below smaller ones. Crowds, and objects of which only the box is known, make their pixels
    unknown, except where an outline lies on them.

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

    def paint(self, image: PlacedImage) -> Image.Image:
        """Return the mask of an image whose objects are known."""
        width, height = image.size
        mask = np.zeros((height, width), np.uint8 if self.ignore == 255 else np.uint16)
        objects = sorted(image.objects or (), key=lambda each: each.box.width_px * each.box.height_px, reverse=True)
        for each in objects:
            if each.outline is None:
                left, top, right, bottom = each.box.edges
                mask[top:bottom, left:right] = self.ignore
            elif each.crowd:
                mask[draw_outline(each.outline, image.frame)] = self.ignore
        for each in objects:
            if each.outline is not None and not each.crowd:
                mask[draw_outline(each.outline, image.frame)] = self.classes.index(each.label) + 1
        return Image.fromarray(mask)


def write_masks(
    painter: MaskPainter, images: Sequence[PlacedImage], folder: Path, progress: Progress
) -> list[str | None]:
    """Write ``masks/<file>.png`` of each image whose objects are all known; return the names relative to ``folder``."""
    names = [f"masks/{image.file}.png" if image.has_truth else None for image in images]
    for parent in {(folder / name).parent for name in names if name}:
        parent.mkdir(parents=True, exist_ok=True)

    def write(pair: tuple[PlacedImage, str | None]) -> None:
        image, name = pair
        if name:
            painter.paint(image).save(folder / name, "PNG", compress_level=1)

    for done, _ in enumerate(map_in_order(write, zip(images, names, strict=True), usable_cores()), 1):
        progress(done, len(images), "masks drawn")
    return names


def counts_otherwise(used: Collection[int], known: Collection[int]) -> str:
    """Return that numbers of classes count from another number than their names, so that all mean another class.

    They do if some are one beyond the first or the last that has a name, and the one at the other end never occurs.
    Leaving out those without a name would leave the others wrong. Empty if nothing says so.

    Args:
        used: Numbers that annotations have.
        known: Numbers that have a name.
    """
    first, last = min(known, default=0), max(known, default=0)
    for without, never, start in ((last + 1, first, first + 1), (first - 1, last, first - 1)):
        if known and set(used) - set(known) == {without} and never not in used:
            return (
                f"the numbers of classes seem to count from {start}, but their names from {first}: {without} has no "
                f"name, and {never} never occurs; mend the numbers, or remove what has {without}"
            )
    return ""
