"""Stage ``trained_model``: from a table or images to weights, logs and a history.

Belongs here: the order of the stage, and its files. Does not belong here: how anything of it is done.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import torch

from assay.pipeline import digest_of
from assay.plots.training import learning_curves
from assay.spec.trained_model import TrainedModelSection
from assay.storage.files import write_bytes, write_json, write_text
from assay.storage.parquet import write_parquet
from assay.training.checkpoint import Checkpoints, EpochValues, Training
from assay.training.data import DataSource, read_subsets
from assay.training.device import deterministic
from assay.training.image_targets import MaskTarget
from assay.training.metrics import with_thresholds
from assay.training.model_card import ModelCard
from assay.training.model_file import network_of, save_model
from assay.training.net_data import write_net_data
from assay.training.prepare import prepare_training, subset_names
from assay.training.tasks.base import TrainingRequest
from assay.training.tasks.segmentation.decode import LEAST_MIDDLE
from assay.training.tasks.statistics import data_statistics
from assay.training.trainer import fit
from assay.training.worker import helpers
from assay.utils.concurrency import Progress, silent

CHOSEN, LAST = "models/model.safetensors", "models/last.safetensors"

HISTORY, LOGS, CARD = "training_history.parquet", "train_logs.csv", "model.json"

NET_DATA = "net_data"


def build_trained_model(
    spec: TrainedModelSection,
    task: str,
    seed: int,
    source: DataSource,
    folder: Path,
    progress: Progress = silent,
    scratch: Path | None = None,
) -> dict[str, Any]:
    """Train a model and fill ``folder``: models/, net_data/, logs, history, model.json, a picture.

    Args:
        spec: The section; nulls become the defaults for task and data.
        task: The kind of learning: regression, classification, multi_label, segmentation or detection.
        seed: Of weights, order, augmentation and dropout: same seed, data and spec, same bytes.
        source: The result that it learns from.
        folder: Empty.
        progress: Called after each epoch.
        scratch: Survives the process: a training that was killed goes on from there; None: it starts anew.

    Returns:
        What is in each subset, classes, network, chosen epoch with its rule and values.

    Raises:
        DataError: The data lack a subset, column, class or value that the spec asks for.
        SpecError: A key has no meaning for this task or data.
        TrainingError: The loss became NaN or infinite.
    """
    request = TrainingRequest(spec, task, seed, source)
    prepared = prepare_training(request)
    lesson, card, params = prepared.lesson, prepared.card, prepared.card.section.train_params
    with deterministic(params.threads, seed, params.device):
        with helpers(request, params.device):
            checkpoints = Checkpoints(scratch, digest_of(card.as_dict()), params.checkpoint_every_s)
            network = network_of(card)
            training = fit(network, lesson, progress, checkpoints)
        kept = ((training.chosen_epoch, training.chosen), (len(training.history), training.last))
        chosen, last = (
            with_thresholds(card_of(card, training, epoch), network, weights, lesson.validation)
            for epoch, weights in kept
        )
        write_net_data(lesson, card, len(training.history), folder / NET_DATA)
    _write_models(folder, training, chosen, last)
    _write_history(folder, training, card.section)
    subsets = read_subsets(source, subset_names(card.section), card.target.column)
    return {
        **_report(chosen, network, len(training.history)),
        "data": data_statistics(task, source, card.target, subsets),
        "stopped": training.stopped,
    }


def card_of(card: ModelCard, training: Training, epoch: int) -> ModelCard:
    """Return the card of one epoch's weights."""
    rule, validation = card.section.train_params, card.section.data_validation
    chosen_by = "last epoch"
    if rule.choose_epoch == "best" and validation is not None and epoch == training.chosen_epoch:
        chosen_by = f"best {rule.choosing_metric} on {validation.subset}"
    values = training.history[epoch - 1].validation
    target = card.target
    if isinstance(target, MaskTarget):
        target = target.model_copy(update={"least_middle": values.get(LEAST_MIDDLE, target.least_middle)})
    return card.model_copy(update={"epoch": epoch, "chosen_by": chosen_by, "values": values, "target": target})


def _write_models(folder: Path, training: Training, chosen: ModelCard, last: ModelCard) -> None:
    save_model(folder / CHOSEN, training.chosen, chosen)
    save_model(folder / LAST, training.last, last)
    write_json(folder / CARD, chosen.as_dict())


def _write_history(folder: Path, training: Training, section: TrainedModelSection) -> None:
    validation = section.data_validation.subset if section.data_validation else ""
    table = history_table(training.history, section.data_train.subset, validation)
    write_parquet(table, folder / HISTORY)
    write_train_logs(training.history, folder / LOGS)
    write_bytes(folder / "pictures" / "curves.png", learning_curves(table, training.chosen_epoch))


def _report(card: ModelCard, network: torch.nn.Module, epochs: int) -> dict[str, Any]:
    model, description = card.section.model, card.target.model_dump(mode="json")
    return {
        "model": model.kind if model else "",
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "rows": card.rows,
        "target": description,
        "inputs": card.inputs.view,
        "input_shape": list(card.inputs.item_shape),
        "epochs": epochs,
        "epoch": card.epoch,
        "chosen_by": card.chosen_by,
        **{f"validation_{name}": value for name, value in card.values.items()},
        "trained_on": card.trained_on,
        "spec": card.section.content(),
    }


SCHEMA = pl.Schema({"epoch": pl.Int32(), "subset": pl.String(), "metric": pl.String(), "value": pl.Float64()})


def history_table(history: Sequence[EpochValues], train: str, validation: str) -> pl.DataFrame:
    """Return one row per epoch, subset and metric.

    Args:
        history: What was measured.
        train: Name of the training subset.
        validation: Name of the validation subset.
    """
    rows = [
        (values.epoch, subset, metric, value)
        for values in history
        for subset, measured in ((train, values.train), (validation, values.validation))
        for metric, value in measured.items()
        if metric != "learning_rate"
    ]
    return pl.DataFrame(rows, SCHEMA, orient="row")


def write_train_logs(history: Sequence[EpochValues], path: Path) -> None:
    """Write one line per epoch: training values, then validation values with the prefix ``val_``."""
    rows = [
        {"epoch": values.epoch, **values.train, **{f"val_{name}": value for name, value in values.validation.items()}}
        for values in history
    ]
    write_text(path, pl.DataFrame(rows).write_csv())
