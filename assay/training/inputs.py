"""Inputs of the network: rows, or images of single objects, read into memory and standardized batch by batch.

Belongs here: the description of the inputs, which is stored with the weights, and applying it. Does not belong here:
whole images (``tasks.images``), augmentation.
"""

import fnmatch
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from pydantic import Field
from torch import Tensor

from assay.datasets.dates import in_parts
from assay.datasets.scaling import CategoricalInfo, NormalizationInfo, read_normalization
from assay.errors import DataError
from assay.spec.base import Section
from assay.spec.recipes import View
from assay.spec.trained_model import TrainedModelSection
from assay.training.data import DataSource, require_columns
from assay.utils.concurrency import map_in_order
from assay.utils.text import pluralize

PIXEL = re.compile(r"px_(\d+)_(\d+)")

EPSILON = {"crops": 0.05, "pixels": 1e-3}
"""Added to the standard deviation (white = 1), so that noise in a nearly uniform image is not amplified."""


class Inputs(Section):
    """How an item becomes a tensor; the same in training and prediction."""

    view: View
    """Images of single objects, rows of pixels, rows of other columns, or whole images."""
    image_size: int = Field(default=0, ge=0)
    """Side of an object's image, or longest side of a whole image, in pixels; 0 for rows."""
    columns: tuple[str, ...] = ()
    """Names of the input columns, in order; empty for images."""
    levels: dict[str, tuple[str, ...]] = Field(default={}, exclude_if=lambda levels: not levels)
    """Names of the levels of the columns that hold codes of categories, each of which is an input of the network: 1
    for rows of this code, else 0. These inputs come after all others; rows of higher codes have none."""
    codes: bool = Field(default=False, exclude_if=lambda codes: not codes)
    """Whether the network reads the codes of these columns themselves."""
    grid: tuple[int, int] = (0, 0)
    """Rows and columns of the pixels; (0, 0) when the columns do not form a complete grid."""
    standardize: bool = True
    """Whether each item is standardized to mean 0 and standard deviation 1."""
    reductions: tuple[int, ...] = Field(default=(1,), exclude_if=lambda reductions: reductions == (1,))
    """Detection: factors by which each whole image is reduced further, at all of which the network looks at it."""

    @property
    def item_shape(self) -> tuple[int, ...]:
        """Shape of one item as the network gets it, without the batch."""
        return (3, self.image_size, self.image_size) if self.image_size else (len(self.input_names),)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the network's inputs; empty for images."""
        if self.codes:
            return self.columns
        numbers = [name for name in self.columns if name not in self.levels]
        expanded = [f"{name}={level}" for name in self.columns for level in self.levels.get(name, ())]
        return (*numbers, *expanded)

    @property
    def is_picture(self) -> bool:
        """Whether an item can be shown: an image, or a row of all its pixels."""
        return self.image_size > 0 or self.grid != (0, 0)


def describe_inputs(section: TrainedModelSection, source: DataSource, train: pl.DataFrame, target: str) -> Inputs:
    """Return how the items of a table become tensors.

    Args:
        section: The spec; nulls allowed.
        source: Result with the table.
        train: The training rows.
        target: The target column, which is never an input.

    Raises:
        DataError: A pattern matches no column, or a column does not hold numbers.
    """
    description = section.data_description
    if source.kind == "crops" and not source.features:
        size = description.image_size or natural_size(train, source.folder)
        return Inputs(view="crops", image_size=size, standardize=description.standardize is not False)
    scaling = read_normalization(source.norm_info) if source.norm_info else NormalizationInfo(fitted_rows=0)
    columns = _input_columns(description.inputs, source.features, train, target, scaling)
    grid = _grid_of(columns)
    view: View = "pixels" if all(PIXEL.fullmatch(name) for name in columns) else "columns"
    standardize = view == "pixels" if description.standardize is None else description.standardize
    reads_codes = section.model is not None and section.model.reads_codes
    levels = _levels_of(columns, scaling) if view == "columns" else {}
    return Inputs(
        view=view,
        columns=columns,
        levels=levels,
        codes=reads_codes and bool(levels),
        grid=grid,
        standardize=standardize,
    )


def _levels_of(columns: tuple[str, ...], scaling: NormalizationInfo) -> dict[str, tuple[str, ...]]:
    infos = scaling.norm_infos
    found = {info.name: info.level_names for info in infos if isinstance(info, CategoricalInfo) and info.levels}
    return {name: found[name] for name in columns if name in found}


def _input_columns(
    patterns: tuple[str, ...] | None,
    features: tuple[str, ...],
    train: pl.DataFrame,
    target: str,
    scaling: NormalizationInfo,
) -> tuple[str, ...]:
    columns = [name for name in features if name != target]
    if patterns is not None:
        candidates = [name for name in train.columns if name != target]
        for pattern in patterns:
            if not fnmatch.filter(candidates, pattern):
                require_columns(train.select(candidates), [pattern], "data_description.inputs")
        columns = [name for name in candidates if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
        columns = list(in_parts(columns, scaling.dates))
    wrong = [f"{name}: {train[name].dtype}" for name in columns if not _is_numeric(train[name].dtype)]
    if wrong:
        advice = "List them in normalized.categorical_feature_keys, or leave them out of data_description.inputs."
        raise DataError(
            f"{pluralize(len(wrong), 'input column holds', 'input columns hold')} no numbers. {advice}", wrong
        )
    if not columns:
        raise DataError("No column is left as input. Name some in data_description.inputs.")
    return tuple(columns)


def _is_numeric(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype == pl.Boolean


def _grid_of(columns: tuple[str, ...]) -> tuple[int, int]:
    """Return rows and columns when the names are px_<row>_<column> in reading order, else (0, 0)."""
    matches = [PIXEL.fullmatch(name) for name in columns]
    if not all(matches):
        return (0, 0)
    places = [(int(match[1]), int(match[2])) for match in matches if match]
    height, width = max(row for row, _ in places) + 1, max(column for _, column in places) + 1
    complete = [(row, column) for row in range(height) for column in range(width)]
    return (height, width) if places == complete else (0, 0)


def load_inputs(inputs: Inputs, source: DataSource, rows: pl.DataFrame, threads: int) -> Tensor:
    """Return all items of some rows in memory.

    Returns:
        uint8 (n, 3, S, S) for images, float32 (n, columns) for rows.

    Raises:
        DataError: A column is missing, a value is null or not finite, or an image can't be read.
    """
    if inputs.view == "crops":
        return load_images([source.folder / name for name in rows["file"]], inputs.image_size, threads)
    require_columns(rows, inputs.columns, "the model's input columns")
    values = rows.select(pl.col(inputs.columns).cast(pl.Float32))
    usable = values.select(pl.all().is_finite().fill_null(False).all()).row(0)
    bad = [name for name, good in zip(inputs.columns, usable, strict=True) if not good]
    if bad:
        raise DataError(
            f"{pluralize(len(bad), 'input column holds', 'input columns hold')} nulls, NaN or infinity. "
            "Fill or remove those rows.",
            bad,
        )
    return torch.from_numpy(values.to_numpy(order="c", writable=True))


def as_batch(inputs: Inputs, items: Tensor) -> Tensor:
    """Return items as the network reads them: float32, standardized if the description says so, images channels-last.

    Args:
        inputs: Whether and how to standardize.
        items: Some of the items from ``load_inputs``.
    """
    values = items.float().div_(255) if items.dtype == torch.uint8 else items
    if inputs.levels and not inputs.codes:
        values = with_levels(inputs, values)
    if inputs.standardize:
        values = standardized(values, EPSILON.get(inputs.view, 1e-3))
    return values.contiguous(memory_format=torch.channels_last) if inputs.view == "crops" else values


def with_levels(inputs: Inputs, values: Tensor) -> Tensor:
    """Return rows (B, columns) with an input for each level in place of codes: (B, inputs)."""
    numbers = [place for place, name in enumerate(inputs.columns) if name not in inputs.levels]
    parts = [values[:, numbers]]
    for place, name in enumerate(inputs.columns):
        if name in inputs.levels:
            codes = torch.arange(len(inputs.levels[name]), device=values.device)
            parts.append((values[:, place, None] == codes).to(values.dtype))
    return torch.cat(parts, 1)


def standardized(values: Tensor, epsilon: float) -> Tensor:
    """Return each item with mean 0 and standard deviation 1, computed over all its channels together."""
    dims = tuple(range(1, values.dim()))
    std, mean = torch.std_mean(values, dims, keepdim=True)
    return (values - mean) / (std + epsilon)


SMALL, USUAL = 16, 24
"""Sides in pixels to which images are resized: if none is larger than SMALL, to SMALL, else to USUAL."""


def natural_size(rows: pl.DataFrame, folder: Path) -> int:
    """Return the side to which images are resized by default: enlarging tiny images further would only cost time.

    Args:
        rows: Column file; of these images only the header is read, up to the first one larger than SMALL.
        folder: Folder of the files.
    """
    for name in rows["file"]:
        with Image.open(folder / name) as image:
            if max(image.size) > SMALL:
                return USUAL
    return SMALL


def load_images(paths: Sequence[Path], size: int, threads: int) -> Tensor:
    """Return images as uint8 (n, 3, size, size), resized to fit and padded with black to a square.

    Raises:
        DataError: Names every image that can't be read, and why.
    """
    images = torch.empty((len(paths), 3, size, size), dtype=torch.uint8)
    problems = []
    for index, pixels in enumerate(map_in_order(lambda path: _decode(path, size), paths, threads)):
        if isinstance(pixels, str):
            problems.append(f"{paths[index]}: {pixels}")
        else:
            images[index] = torch.from_numpy(pixels).permute(2, 0, 1)
    if problems:
        raise DataError(f"{pluralize(len(problems), 'picture')} can't be read. Materialize crops again.", problems)
    return images


def _decode(path: Path, size: int) -> NDArray[np.uint8] | str:
    """Return an image as (size, size, 3), or the problem as text."""
    try:
        with Image.open(path) as image:
            return fitted_pixels(image, size)
    except (OSError, UnidentifiedImageError, ValueError) as error:
        return str(error)


def fitted_pixels(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Return an image of any mode as (size, size, 3), resized to fit and padded with black to a square."""
    return np.array(ImageOps.pad(image.convert("RGB"), (size, size), Image.Resampling.BILINEAR))
