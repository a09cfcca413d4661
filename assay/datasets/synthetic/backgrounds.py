"""Background photos: which there are, whether each can be read, and the geometry of the part that an image shows.

Belongs here: photo files, a cache of decoded photos; flip, affine and elastic changes. Does not belong here: colours
(``glyphs``), numbers.

All changes of geometry are one resampling. The photo is warped at its own resolution and then enlarged: the same image
in less than half the time, because photos are mostly smaller than the images made from them.
"""

import hashlib
import math
import warnings
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from assay.errors import DataError
from assay.spec.generated_images import NumbersSource, PhotoAugmentation
from assay.utils.text import pluralize

MAX_PIXELS = 64_000_000
"""Photos with more pixels are refused: a PNG file of a few kilobytes can decode to gigabytes."""

CACHE_BYTES = 128_000_000
"""Memory for decoded photos, in bytes."""

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


def photo_digest(source: NumbersSource, cache: Path) -> str:
    """Return the digest of a source's own background photos; the cache is not used, as they are few."""
    return background_digest(source.background_folder)


def background_digest(background_folder: str | None) -> str:
    """Return a hash of the names and bytes of the user's photos; empty for the shipped ones."""
    if background_folder is None:
        return ""
    digest = hashlib.sha256()
    for path in photo_files(background_folder):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


class PhotoCache:
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
        slots = max(1, CACHE_BYTES // (2 * side_px * side_px * 3))
        self._decoded = lru_cache(min(slots, len(self.files)))(self._decode)
        problems = [f"{path.name}: {reason}" for path in self.files if (reason := self._reason_to_refuse(path))]
        if problems:
            raise DataError(
                f"{len(problems)} of {pluralize(len(self.files), 'background photo')} can't be used.", problems
            )

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


_CELLS = 12
"""Cells per side of the mesh that approximates an elastic change; affine changes need one cell."""

_INSIDE_PX = 1e-3
"""Distance that is kept from a photo's far edges, where Pillow finds no pixel and leaves black."""


class Frame(NamedTuple):
    """The part of a photo that an image shows.

    Attributes:
        axes: (2, 2) float64; columns are the half width and half height of the image as vectors in photo pixels.
        centre: (2,) float64, x and y in photo pixels.
        bend: (N + 1, N + 1, 2) float64 shifts of the mesh points, in half widths and half heights; N cells per side.
    """

    axes: NDArray[np.float64]
    centre: NDArray[np.float64]
    bend: NDArray[np.float64]


def random_frame(
    photo_size: tuple[int, int], size: tuple[int, int], rng: np.random.Generator, augmentation: PhotoAugmentation
) -> Frame:
    """Return a random part of a photo for an image of ``size`` (width, height)."""
    axes = _random_shape(rng, augmentation) @ np.diag(np.asarray(size, float) / 2)
    extent = np.abs(axes).sum(axis=1)  # half width and half height of the frame's bounding box
    largest = float(np.min(np.asarray(photo_size) / 2 / extent))
    zoom = largest * (rng.uniform(0.6, 1.0) if augmentation.affine else 1.0)
    free = np.maximum(np.asarray(photo_size) / 2 - extent * zoom, 0.0)
    centre = np.asarray(photo_size) / 2 + rng.uniform(-1.0, 1.0, 2) * free
    return Frame(axes * zoom, centre, _random_bend(rng, augmentation))


def crop_to_frame(photo: Image.Image, frame: Frame, margin: float = 1.25) -> tuple[Image.Image, Frame]:
    """Return the photo cropped to what the frame needs, and the frame within the crop, to save later work.

    Args:
        photo: The whole photo.
        frame: The part that the image will show, in pixels of the photo.
        margin: Size of the crop as a multiple of the frame's bounding box; elastic changes reach beyond the box.
    """
    extent = np.abs(frame.axes).sum(axis=1) * margin + 2
    low = np.maximum(np.floor(frame.centre - extent), 0).astype(int)
    high = np.minimum(np.ceil(frame.centre + extent), photo.size).astype(int)
    part = photo.crop((int(low[0]), int(low[1]), int(high[0]), int(high[1])))
    return part, frame._replace(centre=frame.centre - low)


def warp(photo: Image.Image, frame: Frame, size: tuple[int, int]) -> Image.Image:
    """Return the image of ``size`` (width, height) that the frame shows."""
    photo_px_per_px = float(np.linalg.norm(frame.axes, axis=0).max()) / (max(size) / 2)
    scale = min(1.0, photo_px_per_px)
    width, height = (max(1, math.ceil(side * scale)) for side in size)
    mesh = _mesh(frame, (width, height), photo.size)
    small = photo.transform((width, height), Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)
    return small if small.size == size else small.resize(size, Image.Resampling.BILINEAR)


def _random_shape(rng: np.random.Generator, augmentation: PhotoAugmentation) -> NDArray[np.float64]:
    """Return a random (2, 2) matrix of rotation, shear and mirroring."""
    shape = np.eye(2)
    if augmentation.affine:
        angle = math.radians(rng.uniform(-45.0, 45.0)) if rng.random() < 0.6 else 0.0
        angle += math.pi / 2 if rng.random() < 0.3 else 0.0
        shear = rng.uniform(-0.2, 0.2) if rng.random() < 0.3 else 0.0
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        shape = turn @ np.array([[1.0, shear], [0.0, 1.0]])
    if augmentation.flip:
        shape = shape @ np.diag(rng.choice([-1.0, 1.0], 2))
    return shape


def _random_bend(rng: np.random.Generator, augmentation: PhotoAugmentation) -> NDArray[np.float64]:
    """Return a smooth random field, (N + 1, N + 1, 2); zeros on one cell when nothing is bent."""
    if not augmentation.elastic or rng.random() < 0.5:
        return np.zeros((2, 2, 2))
    strength = rng.uniform(0.05, 0.22)
    coarse = int(rng.integers(4, 6, endpoint=True))
    fields = [rng.uniform(-strength, strength, (coarse, coarse)).astype(np.float32) for _axis in "xy"]
    points = (_CELLS + 1, _CELLS + 1)
    smooth = [np.asarray(Image.fromarray(field).resize(points, Image.Resampling.BICUBIC)) for field in fields]
    return np.stack(smooth, axis=-1).astype(np.float64)


def _mesh(
    frame: Frame, size: tuple[int, int], photo_size: tuple[int, int]
) -> list[tuple[tuple[int, int, int, int], tuple[float, ...]]]:
    """Return Pillow's mesh: for each cell its box in the image and its four corners in the photo."""
    cells = len(frame.bend) - 1
    steps = np.linspace(-1.0, 1.0, cells + 1)
    grid = np.stack(np.meshgrid(steps, steps), axis=-1) + frame.bend
    points = np.clip(grid @ frame.axes.T + frame.centre, 0.0, np.asarray(photo_size) - _INSIDE_PX)
    # Pillow's order of corners: upper left, lower left, lower right, upper right.
    corners = np.concatenate([points[:-1, :-1], points[1:, :-1], points[1:, 1:], points[:-1, 1:]], axis=-1)
    across, down = ([round(i * side / cells) for i in range(cells + 1)] for side in size)
    return [
        ((across[i], down[j], across[i + 1], down[j + 1]), tuple(corners[j, i].tolist()))
        for j in range(cells)
        for i in range(cells)
        if across[i] < across[i + 1] and down[j] < down[j + 1]
    ]
