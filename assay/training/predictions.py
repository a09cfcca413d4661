"""Stage ``predictions``: a model's predictions and their confidence for the items of some subsets.

Belongs here: the order of the stage, and the files of its result. Does not belong here: predicting (the tasks),
metrics.
"""

from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image
from torch import Tensor

from assay.datasets.schema import PREDICTED_ITEMS_FILE, PREDICTIONS_FILE
from assay.errors import AssayError, DataError
from assay.plots.sheets import class_color
from assay.spec.extensions import added_function
from assay.spec.plugins import MODEL_LOADERS, PREDICTION_HANDLERS
from assay.spec.predictions import LoaderSection, PlainFunction, PredictionHandler, PredictionsSection
from assay.storage.parquet import write_parquet
from assay.training.annotations import Annotations
from assay.training.data import DataSource, read_subsets, row_counts
from assay.training.device import deterministic
from assay.training.features import head_on_features
from assay.training.model_file import CHOSEN, LAST, LoadedModel, in_float32, load_model, read_card
from assay.training.tasks.base import PredictionRequest, task_of
from assay.training.tasks.statistics import data_statistics
from assay.utils.concurrency import Progress, silent
from assay.utils.text import pluralize

PREDICTIONS = PREDICTIONS_FILE


def build_predictions(
    spec: PredictionsSection,
    task: str,
    seed: int,
    source: DataSource,
    model_folder: Path,
    folder: Path,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Apply a model to the subsets that the spec names and write predictions.parquet into ``folder``.

    For whole images, predicted_items.parquet lists the images that were predicted; segmentation also writes masks/.

    Args:
        spec: The section.
        task: Must be the task of the model.
        seed: Seed of augmented copies.
        source: The result with the data to predict.
        model_folder: Result of the stage ``trained_model``.
        folder: Empty.
        progress: Called after each subset.

    Returns:
        Rows of each subset, predicted rows and their statistics, the model and the rule that chose its epoch.

    Raises:
        DataError: The model is for another task, or the data lack a subset or have classes that it does not know.
        StorageError: The model can't be read.
    """
    name, model, source = _model_and_source(spec, model_folder, source)
    model = in_float32(model) if spec.precision == "fp32" else model
    check_task(model, task)
    subsets = read_subsets(source, spec.datasets, model.card.target.column)
    chosen = {subset: _first_batches(rows, spec) for subset, rows in subsets.items()}
    request, module = PredictionRequest(spec, seed, Annotations(source), model, folder), task_of(task)
    parts = []
    with deterministic(request.threads, seed):
        for done, (subset, rows) in enumerate(chosen.items(), start=1):
            parts.append(handled(request, rows, module.predict(request, subset, rows)))
            progress(done, len(subsets), f"{subset}: {pluralize(len(rows), 'item')}")
    write_parquet(pl.concat(parts), folder / PREDICTIONS)
    if source.kind == "splits":
        write_parquet(pl.concat([_index_of(rows) for rows in chosen.values()]), folder / PREDICTED_ITEMS_FILE)
    data = data_statistics(task, request.annotations, model.card.target, chosen)
    return {"rows": row_counts(subsets), "predicted": row_counts(chosen), "data": data, **_model_report(name, model)}


def _model_and_source(
    spec: PredictionsSection, model_folder: Path, source: DataSource
) -> tuple[str, LoadedModel, DataSource]:
    """Return the name of the weights, the model, and what it reads: of a frozen network's features, its head alone."""
    is_plain = (
        isinstance(spec.prediction_function, PlainFunction) and added_function(MODEL_LOADERS, spec.model_loader) is None
    )
    if is_plain:
        name = _weights_of(spec.model_loader)
        found = head_on_features(model_folder / name, source)
        if found is not None:
            return name, *found
    return *loaded_model(spec.model_loader, model_folder), source


def _weights_of(loader: LoaderSection) -> str:
    return CHOSEN if loader.kind == "chosen" else LAST


def loaded_model(loader: LoaderSection, model_folder: Path) -> tuple[str, LoadedModel]:
    """Return the weights to use, and their name: a file of ``trained_model``, or the kind of an added loader.

    Raises:
        StorageError: A file can't be read.
        AssayError: The loader of an installed package failed, or returned something else.
    """
    load = added_function(MODEL_LOADERS, loader)
    if load is None:
        name = _weights_of(loader)
        return name, load_model(model_folder / name)
    model = load(model_folder)
    if not isinstance(model, LoadedModel):
        wanted = "assay.training.model_file.LoadedModel"
        raise AssayError(f"The model loader {loader.kind!r} returned a {type(model).__name__}; expected a {wanted}.")
    return loader.kind, LoadedModel(model.card, model.network.eval())


def handled(request: PredictionRequest, rows: pl.DataFrame, predictions: pl.DataFrame) -> pl.DataFrame:
    """Return the predictions of one subset as the spec's handler wants them stored: with columns of its own.

    Args:
        request: What is predicted, with the folder for further files.
        rows: The items, with every column of the data.
        predictions: What Assay stores: one row per item, detection, or pair of classes of an image.

    Raises:
        DataError: The handler of an installed package lost or changed rows or columns that the analysis reads.
    """
    handler = request.section.prediction_handler
    handle = added_function(PREDICTION_HANDLERS, handler)
    if handle is None:
        return predictions
    table = handle(predictions, rows, request.folder)
    if not isinstance(table, pl.DataFrame):
        raise AssayError(
            f"The prediction handler {_kind(handler)} returned a {type(table).__name__}; expected a table."
        )
    kept = [name for name in predictions.columns if name in table.columns]
    if not table.select(kept).equals(predictions):
        wanted = "the rows and columns that it was given, and columns of its own"
        raise DataError(f"The prediction handler {_kind(handler)} returned another table; expected {wanted}.")
    return table


def _kind(handler: PredictionHandler) -> str:
    return repr(getattr(handler, "kind", ""))


def _model_report(name: str, model: LoadedModel) -> dict[str, Any]:
    """Return which model was applied, and the rule that chose its epoch."""
    card = model.card
    return {"model": name, "epoch": card.epoch, "chosen_by": card.chosen_by, "trained_on": card.trained_on}


def _first_batches(rows: pl.DataFrame, spec: PredictionsSection) -> pl.DataFrame:
    return rows if spec.prediction_steps is None else rows.head(spec.prediction_steps * spec.batch_size)


def _index_of(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the images that were predicted; segmentation and detection have no row per image in predictions."""
    return rows.select("item", "subset", "file", "mask", "labelled", "width_px", "height_px")


def check_task(model: LoadedModel, task: str) -> None:
    """Refuse a model of another task.

    Raises:
        DataError: Its task differs; names both.
    """
    if model.card.task != task:
        trained = model.card.task
        raise DataError(f"The model was trained for {trained}, but task is {task}. Materialize trained_model again.")


def require_same_data(model_folder: Path, source: DataSource) -> None:
    """Refuse data other than the training data: it may be split differently, with training items in the test subset.

    Raises:
        DataError: The fingerprint differs; names both.
    """
    card = read_card(model_folder / CHOSEN)
    if card.trained_on != {source.kind: source.fingerprint}:
        trained = ", ".join(f"{kind} {fingerprint}" for kind, fingerprint in card.trained_on.items())
        raise DataError(
            f"The model was trained on {trained}, but the data are now {source.kind} {source.fingerprint}. "
            "Materialize trained_model again."
        )


def save_mask(path: Path, classes: Tensor, class_count: int) -> None:
    """Write a palette PNG that any viewer shows, the background black; equal masks give equal bytes.

    Args:
        path: Its folder is created.
        classes: uint8 (height, width): 0 background, 1 to ``class_count``.
        class_count: Number of classes, each with its own colour.
    """
    image = Image.fromarray(classes.numpy())
    colours = [(0, 0, 0), *(class_color(index) for index in range(class_count))]
    image.putpalette([level for colour in colours for level in colour])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "PNG")
