"""Flip, affine and elastic changes of a photo, in one resampling.

The photo is warped at its own resolution and then enlarged: the same picture in less than half the time, because
photos are mostly smaller than the images made from them.

Belongs here: geometry. Does not belong here: colours, numbers.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assay.spec.numbers import Augmentation

_CELLS = 12
"""Cells per side of the mesh that approximates an elastic change; straight changes need one."""

_INSIDE_PX = 1e-3
"""Distance to a photo's far edges, on which Pillow finds no pixel and leaves black."""


class Frame(NamedTuple):
    """Where in the photo an image is taken from.

    Attributes:
        axes: (2, 2) float64; columns are the half width and half height of the image as vectors in photo pixels.
        centre: (2,) float64, x and y in photo pixels.
        bend: (N + 1, N + 1, 2) float64 shifts of the mesh points, in half widths and half heights; N cells per side.
    """

    axes: NDArray[np.float64]
    centre: NDArray[np.float64]
    bend: NDArray[np.float64]


def draw_frame(
    photo_size: tuple[int, int], size: tuple[int, int], rng: np.random.Generator, augmentation: Augmentation
) -> Frame:
    """Draw at random where in a photo an image of ``size`` (width, height) is taken from."""
    axes = _draw_shape(rng, augmentation) @ np.diag(np.asarray(size, float) / 2)
    extent = np.abs(axes).sum(axis=1)  # half width and half height of the frame's bounding box
    largest = float(np.min(np.asarray(photo_size) / 2 / extent))
    zoom = largest * (rng.uniform(0.6, 1.0) if augmentation.affine else 1.0)
    free = np.maximum(np.asarray(photo_size) / 2 - extent * zoom, 0.0)
    centre = np.asarray(photo_size) / 2 + rng.uniform(-1.0, 1.0, 2) * free
    return Frame(axes * zoom, centre, _draw_bend(rng, augmentation))


def cut(photo: Image.Image, frame: Frame, margin: float = 1.25) -> tuple[Image.Image, Frame]:
    """Return the part of the photo that the frame needs and the frame within it, so that later work is less.

    Args:
        photo: The whole photo.
        frame: Where the image will be taken from, in pixels of the photo.
        margin: Size of the part in sizes of the straight frame; elastic changes reach beyond it.
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


def _draw_shape(rng: np.random.Generator, augmentation: Augmentation) -> NDArray[np.float64]:
    """Draw the (2, 2) matrix of turn, shear and mirroring."""
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


def _draw_bend(rng: np.random.Generator, augmentation: Augmentation) -> NDArray[np.float64]:
    """Draw a smooth random field, (N + 1, N + 1, 2); zeros on one cell when nothing is bent."""
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
