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
from assay.errors import DataError
from assay.plots.sheets import class_color
from assay.spec.predictions import PredictionsSection
from assay.storage.parquet import write_parquet
from assay.training.annotations import Annotations
from assay.training.data import DataSource, read_subsets, row_counts
from assay.training.device import deterministic
from assay.training.model_file import CHOSEN, LAST, LoadedModel, load_model, read_card
from assay.training.tasks.base import PredictionRequest, task_of
from assay.training.tasks.statistics import data_statistics
from assay.utils.concurrency import Progress, silent

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
    name = CHOSEN if spec.model_loader.kind == "chosen" else LAST
    model = load_model(model_folder / name)
    check_task(model, task)
    subsets = read_subsets(source, spec.datasets, model.card.target.column)
    chosen = {subset: _first_batches(rows, spec) for subset, rows in subsets.items()}
    request, module = PredictionRequest(spec, seed, Annotations(source), model, folder), task_of(task)
    parts = []
    with deterministic(request.threads, seed):
        for done, (subset, rows) in enumerate(chosen.items(), start=1):
            parts.append(module.predict(request, subset, rows))
            progress(done, len(subsets), f"{subset}: {len(rows)} items")
    write_parquet(pl.concat(parts), folder / PREDICTIONS)
    if source.kind == "splits":
        write_parquet(pl.concat([_index_of(rows) for rows in chosen.values()]), folder / PREDICTED_ITEMS_FILE)
    data = data_statistics(task, request.annotations, model.card.target, chosen)
    return {"rows": row_counts(subsets), "predicted": row_counts(chosen), "data": data, **_model_report(name, model)}


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
