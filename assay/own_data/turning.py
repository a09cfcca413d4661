"""Whether annotations refer to an image as it is stored or as EXIF turns it upright.

Belongs here: that decision for COCO files. Does not belong here: turning (``orientation``).

A COCO file states each image's size. It was written by a tool that applied EXIF if that is the upright size, and by one
that didn't if it is the stored size. Where both are the same (square, mirrored or upside down images), or none is
stated, the other images of the data decide, which the same tool wrote; without such, the image is taken as people see
it, upright.
"""

from collections.abc import Sequence

from assay.datasets.annotations import AnnotatedImage
from assay.datasets.geometry import turned_size
from assay.datasets.inspection import Inspected


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
    if image.stated_size is None or turned_size(upright, one.orientation) == upright:
        return None
    return image.stated_size != upright


def _wrong_size(image: AnnotatedImage, one: Inspected) -> str | None:
    upright = (one.width_px, one.height_px)
    if image.stated_size is None or image.stated_size in (upright, turned_size(upright, one.orientation)):
        return None
    stated = "{}x{}".format(*image.stated_size)
    return f"is stated to be {stated} px, but the file has {one.width_px}x{one.height_px} px; mend width and height"
