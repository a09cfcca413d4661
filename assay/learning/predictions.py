"""Stage ``predictions``: one row per item, with its target, what the model says, and how sure it is.

Belongs here: the order of the stage, and its table. Does not belong here: metrics.
"""

import fnmatch
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from assay.errors import DataError
from assay.learning.determinism import deterministic
from assay.learning.inputs import load_inputs
from assay.learning.outputs import predict
from assay.learning.source import DataSource, read_subsets, require_columns, row_counts
from assay.learning.trained_model import CHOSEN, LAST
from assay.learning.weights import LoadedModel, load_model
from assay.progress import Progress, silent
from assay.spec.predictions import PredictionsSection
from assay.tables import write_parquet

PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True)
class Request:
    """What the stage is asked for: spec, seed, data and the model."""

    section: PredictionsSection
    seed: int
    source: DataSource
    model: LoadedModel


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

    Args:
        spec: The section.
        task: Must be the model's.
        seed: Of augmented copies.
        source: The result to predict; must be the one that the model was trained on.
        model_folder: Result of the stage ``trained_model``.
        folder: Empty.
        progress: Called after each subset.

    Returns:
        Rows of each subset, rows predicted, which model and by which rule its epoch was chosen.

    Raises:
        DataError: The data changed since the training, lack a subset, or have classes that the model does not know.
        StorageError: The model can't be read.
    """
    name = CHOSEN if spec.model_loader.kind == "chosen" else LAST
    model = load_model(model_folder / name)
    check_same_data(model, task, source)
    subsets = read_subsets(source, spec.datasets, model.card.target.column)
    request = Request(spec, seed, source, model)
    parts = []
    with deterministic(model.card.section.train_params.threads, seed):
        for done, (subset, rows) in enumerate(subsets.items(), start=1):
            parts.append(predict_subset(request, subset, rows))
            progress(done, len(subsets), f"{subset}: {len(parts[-1])} rows")
    write_parquet(pl.concat(parts), folder / PREDICTIONS)
    return {
        "rows": row_counts(subsets),
        "predicted": {subset: len(part) for subset, part in zip(subsets, parts, strict=True)},
        "model": name,
        "epoch": model.card.epoch,
        "chosen_by": model.card.chosen_by,
        "trained_on": model.card.trained_on,
    }


def check_same_data(model: LoadedModel, task: str, source: DataSource) -> None:
    """Refuse data other than those of the training: their split may be another, and known items be in the test.

    Raises:
        DataError: Task or fingerprint differ; names both.
    """
    card = model.card
    if card.task != task:
        raise DataError(f"The model was trained for {card.task}, but task is {task}. Materialize trained_model again.")
    if card.trained_on != {source.kind: source.fingerprint}:
        trained = ", ".join(f"{kind} {fingerprint}" for kind, fingerprint in card.trained_on.items())
        raise DataError(
            f"The model was trained on {trained}, but the data are now {source.kind} {source.fingerprint}. "
            "Materialize trained_model again."
        )


def predict_subset(request: Request, subset: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the predictions of one subset, in the order of its rows."""
    spec, card = request.section, request.model.card
    if spec.prediction_steps is not None:
        rows = rows.head(spec.prediction_steps * spec.batch_size)
    function = spec.prediction_function
    copies = function.copies if function.kind == "augmented" else 0
    items = load_inputs(card.inputs, request.source, rows, card.section.train_params.threads)
    answers = predict(request.model, items, spec.batch_size, spec.prediction_steps, copies, request.seed)
    named = [pl.col("item"), *([pl.col("image")] if "image" in rows.columns else []), pl.lit(subset).alias("subset")]
    kept = copied_columns(rows, spec.prediction_handler.copy_columns)
    table = rows.select(named).hstack(card.target.columns(answers, rows))
    clash = [name for name in kept if name in table.columns]
    if clash:
        raise DataError("prediction_handler.copy_columns: predictions already have columns of these names.", clash)
    return table.hstack(rows.select(kept))


def copied_columns(rows: pl.DataFrame, patterns: tuple[str, ...]) -> list[str]:
    """Return the columns that match the patterns, in the table's order.

    Raises:
        DataError: A pattern matches none.
    """
    for pattern in patterns:
        if not fnmatch.filter(rows.columns, pattern):
            require_columns(rows, [pattern], "prediction_handler.copy_columns")
    return [name for name in rows.columns if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]
