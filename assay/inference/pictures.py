"""Pictures to predict: files, arrays and images, decoded as the training's were and brought to the network's form.

Belongs here: which files a path means, from one picture to a tensor. Does not belong here: rows of tables
(``tables``), the network (``model``).
"""

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from assay.datasets.inspection import (
    MOST_IMAGE_BYTES,
    describe_decode_error,
    existing_path,
    starts_with_image,
    walk_files,
)
from assay.errors import DataError, FileError, printable
from assay.images.decoding import DECODE_ERRORS, ODDITIES, decode_with_oddity, eight_bit
from assay.images.resizing import at_most
from assay.inference.stored import StoredModel
from assay.spec.generated_images import TABLE_EXTENSIONS, ImageSource
from assay.stages.tabular import grey_pixels
from assay.training.inputs import fitted_pixels
from assay.training.tasks.images import ResizedImage, resized_image
from assay.utils.reading import read_bytes, user_path
from assay.utils.text import pluralize

PictureLike: TypeAlias = str | Path | bytes | Image.Image | NDArray[Any]
"""Path of a file; the content of one; an image of any mode, which is turned upright as its EXIF data say; or uint8
(H, W) in grey, (H, W, 3) in RGB or (H, W, 4) with transparency."""

Prepared: TypeAlias = NDArray[np.uint8] | NDArray[np.float32] | ResizedImage
"""A picture as the network's batches are made of it: uint8 (S, S, 3) of crops, float32 (H, W) grey levels of rows of
pixels, or a whole image."""


@dataclass(frozen=True)
class PreparedPicture:
    """A picture that was read, or why it can't be.

    Attributes:
        item: Its name.
        width_px: Width of the picture, upright; 0 if it can't be read.
        height_px: Height.
        value: What the network reads; None if it can't be read.
        problem: Why; empty if it was read.
        oddity: A key of ``assay.images.decoding.ODDITIES``, where something of it is lost; usually empty.
    """

    item: str
    width_px: int = 0
    height_px: int = 0
    value: Prepared | None = None
    problem: str = ""
    oddity: str = ""


def files_of(paths: Iterable[str | Path]) -> Iterator[Path]:
    """Yield the picture files that paths mean: files as they are, all pictures below folders, and what globs match.

    Hidden files are left out, in folders all files that are no pictures, and what an earlier path meant already.

    Raises:
        DataError: A path or glob leads to nothing, with the nearest name that does; or a folder holds no picture.
    """
    given = [(str(path), _matches(str(path))) for path in paths]
    roots = (root for text, matches in given for root in ([_existing(text)] if matches is None else matches))
    files = (file for root in roots for file in _below(root))
    is_one = len(given) == 1 and given[0][1] is None  # which means no file twice; there may be millions
    yield from files if is_one else _each_once(files)


def _each_once(files: Iterable[Path]) -> Iterator[Path]:
    seen: set[str] = set()
    for file in files:
        place = os.path.abspath(file)  # noqa: PTH100 - pathlib keeps "..", so that a file had several places
        if place not in seen:
            seen.add(place)
            yield file


def _matches(text: str) -> list[Path] | None:
    """Return what a glob matches; None for a path, which may itself hold ``*`` or ``[``."""
    if Path(text).exists() or not glob.has_magic(text):
        return None
    found = sorted(glob.glob(text, recursive=True))  # noqa: PTH207 - pathlib takes no absolute patterns
    if not found:
        raise DataError(
            f"{text} matches no file. Give a folder, files, or a pattern such as 'photos/**/*.jpg' in quotes."
        )
    return [Path(each) for each in found]


def _existing(text: str) -> Path:
    """Return a path as it was given, so that items have the names that the user knows."""
    if not text:
        raise DataError(
            "A path is empty, as where a variable of the shell is not set. Give a folder, files, or a pattern."
        )
    try:
        existing_path(text, want_folder=None)
        return user_path(text)
    except DataError as error:
        raise DataError(str(error).removeprefix("source.path: ")) from None


def _below(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    any_file = False
    for name in walk_files(path):
        if ImageSource().is_image(name) or starts_with_image(path / name):
            any_file = True
            yield path / name
    if not any_file:
        raise DataError(f"{path} holds no pictures that Assay reads, such as PNG or JPEG. Give another folder.")


def is_table_file(path: str | Path) -> bool:
    """Return whether a path is that of a table, by its ending."""
    return Path(path).suffix.lower() in TABLE_EXTENSIONS


def prepare_picture(model: StoredModel, item: str, picture: PictureLike) -> PreparedPicture:
    """Return a picture as the network reads it, or why it can't be read.

    Args:
        model: Says how; each picture is one item, as an image of a class folder is in training: nothing is cut out.
        item: Name of the picture.
        picture: The picture.
    """
    if not _is_text(item):
        return PreparedPicture(printable(item), problem="its name is not UTF-8; rename it")
    try:
        image, oddity = _decoded(picture, max(ImageSource().max_pixels, model.source.get("max_pixels", 0)))
        return PreparedPicture(item, image.width, image.height, _prepared(model, image), oddity=oddity)
    except FileNotFoundError:
        return PreparedPicture(item, problem="does not exist")
    except FileError as error:
        return PreparedPicture(item, problem=error.reason)
    except DECODE_ERRORS as error:
        return PreparedPicture(item, problem=describe_decode_error(error))


def _is_text(name: str) -> bool:
    """Return whether tables can hold a name; file systems hold any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _prepared(model: StoredModel, image: Image.Image) -> Prepared:
    inputs = model.card.inputs
    if inputs.view == "images":
        return resized_image(image, inputs.image_size)
    crop = at_most(image, model.crops.max_size)
    if inputs.view == "crops":
        return fitted_pixels(crop, inputs.image_size)
    size = model.tabular.target_image_size
    return grey_pixels(crop, (size.width, size.height), model.tabular.border)


def _decoded(picture: PictureLike, most: int) -> tuple[Image.Image, str]:
    """Return a picture upright with 8 bits, and what is odd about its file."""
    if isinstance(picture, str | Path | bytes):
        content = picture if isinstance(picture, bytes) else read_bytes(Path(picture), MOST_IMAGE_BYTES)
        if not content:
            raise FileError("" if isinstance(picture, bytes) else picture, "is empty")
        image, _, oddity = decode_with_oddity(content, most)
        return image, oddity
    if isinstance(picture, Image.Image):
        if 0 in picture.size:
            raise ValueError(f"has {picture.width}x{picture.height} pixels, expected some")
        return eight_bit(ImageOps.exif_transpose(picture)), ""
    return eight_bit(Image.fromarray(_checked(picture))), ""


def _checked(array: NDArray[Any]) -> NDArray[np.uint8]:
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if array.dtype != np.uint8 or not fits or not array.size:
        turned = array.ndim == 3 and array.shape[0] in (1, 3, 4)
        hint = "; the channels come last: array.transpose(1, 2, 0)" if turned else ""
        raise ValueError(
            f"has the shape {array.shape} and the type {array.dtype}, expected uint8 (H, W), (H, W, 3) or (H, W, 4), "
            f"with levels from 0 to 255{hint}"
        )
    return np.ascontiguousarray(array)


def notes_on_oddities(pictures: Iterable[PreparedPicture]) -> tuple[str, ...]:
    """Return a sentence for each kind of pictures of which something is lost or hardly seen."""
    odd: dict[str, list[str]] = {}
    for each in pictures:
        if each.oddity:
            odd.setdefault(each.oddity, []).append(each.item)
    return tuple(
        f"{pluralize(len(items), 'picture')} {ODDITIES[kind]}: such as {items[0]}" for kind, items in odd.items()
    )


def named_pictures(pictures: Iterable[PictureLike]) -> Iterator[tuple[str, PictureLike]]:
    """Yield pictures with their names: the path of a file, or else the place in the order, ``000000000`` onwards."""
    if not isinstance(pictures, Iterable):
        raise DataError(f"A {type(pictures).__name__} was given; expected a picture, several of them, or their paths.")
    for place, picture in enumerate(pictures):
        if isinstance(picture, str | Path):
            yield str(picture), picture
        elif isinstance(picture, bytes | Image.Image | np.ndarray):
            yield f"{place:09d}", picture
        else:
            raise DataError(
                f"Picture {place} is a {type(picture).__name__}; expected a path, an image of Pillow, or an array "
                "uint8 (H, W, 3)."
            )
