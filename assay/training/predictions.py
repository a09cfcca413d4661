"""Stage ``predictions``: what the model says about the items of the chosen subsets, and how sure it is.

Belongs here: the order of the stage, and its table. Does not belong here: metrics.
"""

from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image
from torch import Tensor

from assay.errors import DataError
from assay.plots.sheets import class_color
from assay.spec.predictions import PredictionsSection
from assay.storage.parquet import write_parquet
from assay.training.data import DataSource, read_subsets, row_counts
from assay.training.device import deterministic
from assay.training.model_file import LoadedModel, load_model, read_card
from assay.training.tasks.base import PredictionRequest, task_of
from assay.training.tasks.statistics import data_statistics
from assay.training.trained_model import CHOSEN, LAST
from assay.utils.concurrency import Progress, silent

PREDICTIONS, PREDICTED_ITEMS = "predictions.parquet", "predicted_items.parquet"


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

    Of whole images, predicted_items.parquet says which were predicted; of segmentation, masks/ has what was predicted.

    Args:
        spec: The section.
        task: Must be the model's.
        seed: Of augmented copies.
        source: The result to predict.
        model_folder: Result of the stage ``trained_model``.
        folder: Empty.
        progress: Called after each subset.

    Returns:
        Rows of each subset, rows predicted and what is in them, which model and by which rule its epoch was chosen.

    Raises:
        DataError: The model is for another task, or the data lack a subset or have classes that it does not know.
        StorageError: The model can't be read.
    """
    name = CHOSEN if spec.model_loader.kind == "chosen" else LAST
    model = load_model(model_folder / name)
    check_task(model, task)
    subsets = read_subsets(source, spec.datasets, model.card.target.column)
    asked = {subset: _first_batches(rows, spec) for subset, rows in subsets.items()}
    request, family = PredictionRequest(spec, seed, source, model, folder), task_of(task)
    parts = []
    with deterministic(request.threads, seed):
        for done, (subset, rows) in enumerate(asked.items(), start=1):
            parts.append(family.predict(request, subset, rows))
            progress(done, len(subsets), f"{subset}: {len(rows)} items")
    write_parquet(pl.concat(parts), folder / PREDICTIONS)
    if source.kind == "splits":
        write_parquet(pl.concat([_index_of(rows) for rows in asked.values()]), folder / PREDICTED_ITEMS)
    data = data_statistics(task, source, model.card.target, asked)
    return {"rows": row_counts(subsets), "predicted": row_counts(asked), "data": data, **_model_report(name, model)}


def _model_report(name: str, model: LoadedModel) -> dict[str, Any]:
    """Return which model was applied, and by which rule its epoch was chosen."""
    card = model.card
    return {"model": name, "epoch": card.epoch, "chosen_by": card.chosen_by, "trained_on": card.trained_on}


def _first_batches(rows: pl.DataFrame, spec: PredictionsSection) -> pl.DataFrame:
    return rows if spec.prediction_steps is None else rows.head(spec.prediction_steps * spec.batch_size)


def _index_of(rows: pl.DataFrame) -> pl.DataFrame:
    """Return which images were predicted; of segmentation and detection, predictions have no row per image."""
    return rows.select("item", "subset", "file", "mask", "labelled", "width_px", "height_px")


def check_task(model: LoadedModel, task: str) -> None:
    """Refuse a model that learned something else.

    Raises:
        DataError: Its task differs; names both.
    """
    if model.card.task != task:
        trained = model.card.task
        raise DataError(f"The model was trained for {trained}, but task is {task}. Materialize trained_model again.")


def require_same_data(model_folder: Path, source: DataSource) -> None:
    """Refuse data other than those of the training: their split may be another, and known items be in the test.

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
    """Write a palette PNG; equal masks give equal bytes. The result store forces the whole folder to the disk.

    Args:
        path: Its folder is made.
        classes: uint8 (height, width): 0 background, 1 to ``class_count``.
        class_count: Classes with a colour of their own.
    """
    image = Image.fromarray(classes.numpy())
    colours = [(0, 0, 0), *(class_color(index) for index in range(class_count))]
    image.putpalette([level for colour in colours for level in colour])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "PNG")
