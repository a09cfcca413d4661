"""Background photos: which there are, whether each can be read, and a small shelf of decoded ones.

Belongs here: photo files. Does not belong here: changing what is in the photos (``warp``, ``colours``).
"""

import hashlib
import warnings
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageOps

from assay.errors import DataError

MAX_PIXELS = 64_000_000
"""Photos with more pixels are refused: a few kilobytes of PNG can claim to be gigabytes."""

SHELF_BYTES = 128_000_000
"""Memory for decoded photos."""

SHIPPED_PHOTOS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "cell.png",
    "chelsea.png",
    "clock_motion.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)
"""The photos among the images in scikit-image's package; named, so that another release can't change the data."""


class Photo(NamedTuple):
    """A decoded photo and the name of its file."""

    name: str
    image: Image.Image


def package_folder(package: str, *parts: str) -> Path:
    """Return a folder inside an installed package without importing it (scikit-image takes a second to import).

    Raises:
        DataError: The package is not installed.
    """
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise DataError(f"The package {package} is not installed; install it, or reinstall Assay.")
    return Path(found.submodule_search_locations[0]).joinpath(*parts)


def photo_files(background_folder: str | None) -> tuple[Path, ...]:
    """Return the photos' files, sorted by name: the order of a folder differs between file systems.

    Raises:
        DataError: The folder does not exist or holds no file.
    """
    if background_folder is None:
        return tuple(package_folder("skimage", "data") / name for name in SHIPPED_PHOTOS)
    folder = Path(background_folder)
    if not folder.is_dir():
        raise DataError(f"background_folder {background_folder!r} is not a folder; give an existing one or null.")
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if not files:
        raise DataError(f"background_folder {background_folder!r} holds no file; put photos into it or give null.")
    return tuple(files)


def background_digest(background_folder: str | None) -> str:
    """Return a hash of the names and bytes of the user's photos; empty for the shipped ones."""
    if background_folder is None:
        return ""
    digest = hashlib.sha256()
    for path in photo_files(background_folder):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


class PhotoShelf:
    """The photos of one generation, decoded when needed and no larger than needed.

    Args:
        background_folder: The user's folder, or None for the shipped photos.
        side_px: The longest side of the images that will be made.

    Raises:
        DataError: Lists every photo that can't be used, with the reason, before anything is generated.
    """

    def __init__(self, background_folder: str | None, side_px: int) -> None:
        self.files = photo_files(background_folder)
        self._side_px = side_px
        slots = max(1, SHELF_BYTES // (2 * side_px * side_px * 3))
        self._decoded = lru_cache(min(slots, len(self.files)))(self._decode)
        problems = [f"{path.name}: {reason}" for path in self.files if (reason := self._reason_to_refuse(path))]
        if problems:
            raise DataError(f"{len(problems)} of {len(self.files)} background photos can't be used.", problems)

    def photo(self, number: int) -> Photo:
        """Return photo ``number``; its image is shared between threads and must not be changed."""
        path = self.files[number]
        return Photo(path.name, self._decoded(path))

    def _decode(self, path: Path) -> Image.Image:
        """Return the photo as RGB, upright, its shorter side about ``side_px`` at most."""
        with Image.open(path) as file:
            file.draft("RGB", (self._side_px, self._side_px))
            file.load()
            image = ImageOps.exif_transpose(file).convert("RGB")
        factor = min(image.size) // self._side_px
        return image.reduce(factor) if factor > 1 else image

    def _reason_to_refuse(self, path: Path) -> str:
        """Return why a photo can't be used; empty if it can."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                return _wrong_header(path) or self._undecodable(path)
        except Image.DecompressionBombError as error:
            return str(error)

    def _undecodable(self, path: Path) -> str:
        try:
            self._decoded(path)
        except (OSError, ValueError, SyntaxError) as error:
            return f"can't be decoded ({error})"
        return ""


def _wrong_header(path: Path) -> str:
    """Return what a photo's header says against it, without decoding the pixels."""
    try:
        with Image.open(path) as file:
            width, height, mode = file.width, file.height, file.mode
    except OSError as error:
        return f"is not a readable image ({error})"
    if width * height > MAX_PIXELS:
        return f"has {width}x{height} pixels, more than {MAX_PIXELS:,}; make it smaller"
    if mode[0] in "IF":
        return f"has pixels of type {mode}; save it with 8 bits per channel"
    return ""
