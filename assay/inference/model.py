"""A trained model that predicts new pictures or rows.

The network's inputs and outputs are computed by the code of the stage ``predictions``, so that the items of an
experiment's own test subset get the very numbers of its predictions. Belongs here: batches of items through the
network, the card. Does not belong here: finding the model (``stored``), decoding (``pictures``, ``tables``).
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Generator, Tensor, nn

import assay
from assay.errors import AssayError, DataError
from assay.experiments.folders import PLACES
from assay.inference.pictures import (
    PictureLike,
    PreparedPicture,
    files_of,
    is_table_file,
    named_pictures,
    notes_on_oddities,
    prepare_picture,
)
from assay.inference.stored import StoredModel, find_model, require_kind
from assay.inference.tables import ignored_columns, notes_on_gaps, rare_values, scaled_rows, table_parts
from assay.spec.loading import load_values
from assay.stages.tabular import pixel_columns
from assay.storage.parquet import read_parquet
from assay.training.device import deterministic
from assay.training.model_file import LoadedModel, in_float32, load_model
from assay.training.tasks.detection.task import SCHEMA as BOXES
from assay.training.tasks.detection.task import box_target, detect, detection_rows
from assay.training.tasks.images import ResizedImage
from assay.training.tasks.item_level import WayToPredict, way_to_predict
from assay.training.tasks.segmentation.task import SCHEMA as PIXELS
from assay.training.tasks.segmentation.task import mask_target, pixel_counts, segment
from assay.utils.concurrency import map_in_order, usable_cores
from assay.utils.text import pluralize

IMAGES_AT_ONCE = 16
"""Whole images per part; each goes through the network by itself, as in the stage."""

_computing = RLock()
"""Held while a network computes: torch's threads, seed and modes are those of the whole process."""


@dataclass(frozen=True)
class Card:
    """What is known about a trained model.

    Attributes:
        experiment_id: ID of its experiment; empty for a model that was loaded from a path.
        task: regression, classification, multi_label, segmentation or detection.
        inputs: What it reads: ``view`` (crops, pixels, columns or images), ``image_size`` in pixels, ``columns``.
        classes: Class names in the order of the outputs; empty for regression.
        target: The column that it predicts.
        trained_on: Fingerprint of the training data, by stage.
        rows: Number of items of each subset that the training read.
        epoch: Epoch of the weights, from 1.
        chosen_by: The rule that chose the epoch.
        validation: Loss and metrics on the validation data in that epoch.
        metrics: Rows of the analysis: subset, metric, class, value, ci_low, ci_high, baseline, unit; empty without one.
        versions: Version of Assay, torch and other packages with which it was trained, as far as they were recorded.
        candidates: Where the data chose the kind of model: the validation metric that decided, of each kind.
    """

    experiment_id: str
    task: str
    inputs: dict[str, Any]
    classes: tuple[str, ...]
    target: str
    trained_on: dict[str, str]
    rows: dict[str, int]
    epoch: int
    chosen_by: str
    validation: dict[str, float]
    metrics: tuple[dict[str, Any], ...] = ()
    versions: dict[str, Any] = field(default_factory=dict)
    candidates: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as JSON takes them."""
        return asdict(self)


@dataclass(frozen=True)
class PredictedPart:
    """The predictions of some consecutive items.

    Attributes:
        table: Their rows, with the columns that ``Model.predict`` describes.
        items: Columns item, width_px, height_px of the pictures that were predicted; only item for rows.
        problems: Name of each picture that can't be read, and why.
        masks: For segmentation, the class of every pixel of each picture by its name: uint8 (height, width), 0 for the
            background, else the class's place in ``card.classes`` plus 1.
        ignored: Columns of a table that the model does not read.
        notes: What a person should know of how a table was read, or of what was lost of pictures.
        rare: By column, how many rows have a category that is rare in the training data, or not in it.
    """

    table: pl.DataFrame
    items: pl.DataFrame
    problems: tuple[tuple[str, str], ...] = ()
    masks: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    rare: dict[str, int] = field(default_factory=dict)


class Model:
    """A trained model; make one with ``assay.load_model``."""

    def __init__(self, stored: StoredModel, loaded: LoadedModel | None = None) -> None:
        """Load a model's weights, unless they are given; it computes as its experiment's predictions do."""
        loaded = loaded or load_model(stored.weights)
        self.stored = stored
        self.loaded = in_float32(loaded) if stored.predictions.precision == "fp32" else loaded

    def with_network(self, network: nn.Module) -> "Model":
        """Return the same model with another network, which computes in float32."""
        return Model(self.stored, in_float32(LoadedModel(self.loaded.card, network)))

    @cached_property
    def card(self) -> Card:
        """What the store holds about the model."""
        return card_of_model(self.stored)

    @property
    def task(self) -> str:
        """The kind of learning, as in ``card``."""
        return self.stored.card.task

    def predict(self, items: pl.DataFrame | pl.LazyFrame | PictureLike | Iterable[PictureLike]) -> pl.DataFrame:
        """Return the predictions of pictures or rows.

        Args:
            items: For a model of pictures: a picture or several, each a path (also of a folder), the bytes of a file,
                an image of Pillow, or an array uint8 (H, W) or (H, W, 3). For a model of a table: a frame with the
                training's columns in their own units, or the path of a .csv or .parquet file.

        Returns:
            In the order of the items, with the column ``item``: the path of a picture's file, the place in the order of
            other pictures, or a row's number (or its own column ``item``). Then, by task:

            - regression: ``prediction``, Float64 in the target's unit;
            - classification: ``predicted_class``, ``confidence`` and ``prob_<class>``, Float32 from 0 to 1;
            - multi_label: ``predicted_labels``, a list of classes by the model's thresholds, and ``prob_<class>``;
            - detection: a row per box, ``predicted_class``, ``confidence``, ``x_px``, ``y_px``, ``width_px``,
              ``height_px`` in pixels of the picture; the most confident first;
            - segmentation: a row per picture and class in it, ``predicted_class`` (``background`` is one) and
              ``pixels``; the masks themselves come from ``masks``.

        Raises:
            DataError: Pictures can't be read, or the items are not what the model was trained on.
        """
        parts = list(self.parts(items))
        if problems := [f"{item}: {problem}" for part in parts for item, problem in part.problems]:
            raise DataError(
                f"{pluralize(len(problems), 'picture')} can't be read. Leave them out, or mend them.", problems
            )
        return pl.concat([part.table for part in parts]) if parts else self._of_nothing()

    def masks(self, items: PictureLike | Iterable[PictureLike]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """Yield name and mask of each picture, see ``PredictedPart.masks``; memory does not grow with their number.

        Raises:
            DataError: The model is of another task, or a picture can't be read.
        """
        if self.task != "segmentation":
            raise DataError(f"{self.stored.name} is a {self.task} model, which predicts no masks. Use predict.")
        for part in self.parts(items):
            if part.problems:
                raise DataError("A picture can't be read.", [": ".join(each) for each in part.problems])
            yield from part.masks.items()

    def parts(
        self, items: pl.DataFrame | pl.LazyFrame | PictureLike | Iterable[PictureLike]
    ) -> Iterator[PredictedPart]:
        """Yield the predictions in parts; pictures that can't be read are listed, and the others predicted.

        Memory does not grow with the number of pictures.

        Raises:
            DataError: The items are not what the model was trained on.
        """
        if type(items).__module__.startswith("pandas."):
            raise DataError("A frame of pandas was given; expected one of polars: polars.from_pandas(frame).")
        if isinstance(items, pl.LazyFrame):
            items = items.collect()
        if isinstance(items, pl.DataFrame):
            require_kind(self.stored, "a table", "a frame")
            yield from self._rows(iter([(items, [])]))
        elif isinstance(items, str | Path) and is_table_file(items):
            require_kind(self.stored, "a table", str(items))
            yield from self._rows(table_parts(self.stored, Path(items)))
        else:
            require_kind(self.stored, "pictures", str(items) if isinstance(items, str | Path) else "what is given")
            yield from self._pictures(_several(items))

    def _pictures(self, pictures: Iterable[PictureLike]) -> Iterator[PredictedPart]:
        """Yield the predictions of pictures, which are decoded in threads while the network computes."""
        prepared = map_in_order(
            lambda named: prepare_picture(self.stored, *named), named_pictures(pictures), usable_cores()
        )
        is_whole = self.stored.card.inputs.view == "images"
        size = IMAGES_AT_ONCE if is_whole else self.stored.predictions.batch_size
        generator = Generator().manual_seed(self.stored.seed)
        while part := list(islice(prepared, size)):
            read = [each for each in part if not each.problem]
            problems = tuple((each.item, each.problem) for each in part if each.problem)
            items = pl.DataFrame(
                [(each.item, each.width_px, each.height_px) for each in read],
                {"item": pl.String, "width_px": pl.Int32, "height_px": pl.Int32},
                orient="row",
            )
            table, masks = self._whole_images(read) if is_whole else (self._items(read, generator), {})
            yield PredictedPart(table, items, problems, masks, notes=notes_on_oddities(read))

    def _items(self, pictures: list[PreparedPicture], generator: Generator) -> pl.DataFrame:
        """Return the predictions of pictures that are an item each."""
        names = pl.Series("item", [each.item for each in pictures], pl.String)
        inputs = self.loaded.card.inputs
        if inputs.view == "crops":
            size = inputs.image_size
            values = torch.empty((len(pictures), 3, size, size), dtype=torch.uint8)
            for row, each in enumerate(pictures):
                values[row] = torch.from_numpy(np.asarray(each.value)).permute(2, 0, 1)
        else:
            grey = np.array([each.value for each in pictures], np.float32)
            values = self._tensor(self._pixel_rows(names, grey))
        return self._table(names, values, generator)

    def _pixel_rows(self, names: pl.Series, grey: NDArray[np.float32]) -> pl.DataFrame:
        size = self.stored.tabular.target_image_size
        columns = np.ascontiguousarray(grey.reshape(len(grey), size.height * size.width).T)
        pixels = zip(pixel_columns(size.height, size.width), columns, strict=True)
        frame = pl.DataFrame([names, *(pl.Series(name, column) for name, column in pixels)])
        return scaled_rows(self.stored, frame)

    def _rows(self, parts: Iterator[tuple[pl.DataFrame, list[str]]]) -> Iterator[PredictedPart]:
        first = 0
        generator, size = Generator().manual_seed(self.stored.seed), self.stored.predictions.batch_size
        for part, told in parts:
            scaled = scaled_rows(self.stored, part, first)
            notes = (*told, *notes_on_gaps(self.stored, part, first))
            first += len(part)
            values = self._tensor(scaled)
            tables = [
                self._table(scaled["item"][start : start + size], values[start : start + size], generator)
                for start in range(0, len(scaled), size)
            ] or [self._table(scaled["item"], values, generator)]
            yield PredictedPart(
                pl.concat(tables),
                scaled.select("item"),
                ignored=tuple(ignored_columns(self.stored, part)),
                notes=notes,
                rare=rare_values(self.stored, scaled),
            )

    def _tensor(self, scaled: pl.DataFrame) -> Tensor:
        values = scaled.select(pl.col(self.loaded.card.inputs.columns).cast(pl.Float32))
        return torch.from_numpy(values.to_numpy(order="c", writable=True))

    @cached_property
    def _way(self) -> WayToPredict:
        return way_to_predict(self.loaded, self.stored.predictions.prediction_function)

    def _table(self, names: pl.Series, values: Tensor, generator: Generator) -> pl.DataFrame:
        card = self.loaded.card
        if not len(values):
            predictions = torch.zeros(0, card.target.output_count, dtype=torch.float64)
        else:
            with _computing, deterministic(card.section.train_params.threads, self.stored.seed):
                predictions = self._way(values, generator)
        return pl.DataFrame([names, *card.item_target.predicted_columns(predictions)])

    def _whole_images(self, pictures: list[PreparedPicture]) -> tuple[pl.DataFrame, dict[str, NDArray[np.uint8]]]:
        """Return the predictions of whole images, and their masks."""
        card, handler = self.loaded.card, self.stored.predictions.prediction_handler
        tables, masks = [], {}
        with _computing, deterministic(card.section.train_params.threads, self.stored.seed):
            for each in pictures:
                if not isinstance(each.value, ResizedImage):
                    raise AssayError(f"{each.item} was not read as a whole image.")
                if card.task == "detection":
                    found = detect(self.loaded, handler, each.value)
                    rows = detection_rows(each.item, "", found, each.value, box_target(card.target))
                else:
                    mask = segment(self.loaded, each.value)
                    masks[each.item] = mask.numpy()
                    rows = pixel_counts(each.item, "", None, mask, mask_target(card.target).classes)
                tables.append(rows)
        return pl.concat(tables).select(self._no_rows().columns) if tables else self._no_rows(), masks

    def _of_nothing(self) -> pl.DataFrame:
        """Return the table of no pictures, which has the columns all the same."""
        is_whole = self.stored.card.inputs.view == "images"
        return self._no_rows() if is_whole else self._items([], Generator())

    def _no_rows(self) -> pl.DataFrame:
        schema = BOXES if self.task == "detection" else PIXELS
        return schema.to_frame().select(pl.exclude("subset", "target_class"))


def _several(items: PictureLike | Iterable[PictureLike]) -> Iterable[PictureLike]:
    """Return one picture, the pictures of a path, or several pictures as several."""
    if isinstance(items, str | Path):
        return files_of([items])
    return [items] if isinstance(items, bytes | np.ndarray | Image.Image) else items


def open_model(name: str | Path) -> Model:
    """Return a trained model, ready to predict; nothing of Dagster is imported.

    Args:
        name: ID of an experiment of this project; ``champion`` or ``champion:NAME``, for that of the board NAME; or the
            path of an experiment's folder, wherever it is, of a result of ``trained_model``, or of a model's
            ``.safetensors`` file.

    Raises:
        StorageError: There is no such experiment, champion or file, it is not trained yet, or lacks what predicting
            needs.
    """
    return Model(find_model(name))


def card_of_model(stored: StoredModel) -> Card:
    """Return what the store holds about a model."""
    card = stored.card
    return Card(
        experiment_id=stored.experiment_id,
        task=card.task,
        inputs={**card.inputs.model_dump(mode="json"), "columns": list(stored.columns)},
        classes=tuple(getattr(card.target, "classes", ())),
        target=card.target.column,
        trained_on=dict(card.trained_on),
        rows=dict(card.rows),
        epoch=card.epoch,
        chosen_by=card.chosen_by,
        validation=dict(card.values),
        metrics=_metrics_in(stored.analysis or stored.folder / PLACES["analysis"]),
        versions={"torch": card.torch_version, **_versions_in(stored.folder)},
        candidates=dict(card.candidates),
    )


def _metrics_in(folder: Path) -> tuple[dict[str, Any], ...]:
    from assay.experiments.contents import TABLES  # with all experiment tests: half a second that only cards need

    path = folder / TABLES["analysis"]
    return tuple(read_parquet(path).iter_rows(named=True)) if path.is_file() else ()


def _versions_in(folder: Path) -> dict[str, Any]:
    """Return the recorded versions of Assay, Python and the packages that a model's numbers depend on."""
    git, environment = folder / "git_versions.yaml", folder / "environment.yaml"
    found: dict[str, Any] = {}
    if git.is_file():
        found["assay"] = load_values(git).get("assay", {}).get("version", assay.__version__)
    if environment.is_file():
        values = load_values(environment)
        packages = values.get("packages", {})
        found |= {name: packages[name] for name in ("numpy", "pillow", "polars") if name in packages}
        found["python"] = values.get("python")
    return found
