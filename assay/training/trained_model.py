"""Stage ``trained_model``: from a table or images to weights, logs and a history.

Belongs here: the order of the stage, and the files of its result. Does not belong here: the training itself
(``trainer``), reading data (``prepare``).
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
from assay.training.annotations import Annotations
from assay.training.checkpoint import FILE as CHECKPOINT
from assay.training.checkpoint import Checkpoints, EpochValues, Training
from assay.training.data import DataSource
from assay.training.device import deterministic
from assay.training.features import FrozenNetwork
from assay.training.fitted_models import fit_at_once
from assay.training.image_targets import MaskTarget
from assay.training.interfaces import EvaluationDataset, TrainingTask
from assay.training.metrics import adjusted_to_validation
from assay.training.model_card import ModelCard
from assay.training.model_file import CHOSEN, LAST, network_of, save_model
from assay.training.net_data import write_net_data
from assay.training.prepare import Prepared, prepare_training
from assay.training.summary import TRAINING_SUMMARY, training_summary
from assay.training.tasks.base import TrainingRequest
from assay.training.tasks.segmentation.decode import CENTER_THRESHOLD
from assay.training.tasks.statistics import Statistics, data_statistics
from assay.training.trainer import fit
from assay.training.worker import worker_processes
from assay.utils.concurrency import Progress, silent

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
    """Train a model and fill ``folder``: models/, net_data/, logs, history, model.json, taught.parquet, a plot.

    Args:
        spec: The section; nulls become the defaults for task and data.
        task: regression, classification, multi_label, segmentation or detection.
        seed: Seed of initial weights, order, augmentation and dropout: same seed, data and spec, same bytes.
        source: The result with the training data.
        folder: Empty.
        progress: Called after each epoch.
        scratch: Folder that survives the process, from which a training that was killed is resumed; None for none.

    Returns:
        Statistics of each subset, classes, network, and the chosen epoch with its rule and metrics.

    Raises:
        DataError: The data lack a subset, column, class or value that the spec asks for.
        SpecError: A key has no meaning for this task or data.
        TrainingError: The loss became NaN or infinite.
    """
    request = TrainingRequest(spec, task, seed, Annotations(source))
    prepared = prepare_training(request, progress)
    statistics, summary = _describe_data(request, prepared)
    training_task, card, frozen = prepared.training_task, prepared.card, prepared.frozen
    del prepared  # its tables are not needed during the training
    params = card.section.train_params
    with deterministic(params.threads, seed, params.device):
        with worker_processes(request, params.device):
            checkpoints = _checkpoints(card, scratch, folder)
            network = network_of(card)
            training = _trained(network, training_task, card, progress, checkpoints)
        cards = _cards(card, training, network, training_task.validation)
        if frozen is None:
            write_net_data(training_task, card, len(training.history), folder / NET_DATA)
    chosen = _write_models(folder, training, *cards, frozen)
    _write_history(folder, training, card.section)
    write_parquet(summary, folder / TRAINING_SUMMARY)
    return {
        **_report(chosen, network, len(training.history)),
        "data": statistics,
        "stopped": training.stopped,
        **({"planned_epochs": training.planned} if params.stop_after is not None else {}),
        **_notes(training_task, frozen),
    }


def _notes(task: TrainingTask, frozen: FrozenNetwork | None) -> dict[str, Any]:
    """Return the features that were learned from, warnings, and what else is worth telling, if there are any."""
    warnings = [*task.warnings, *(frozen.warnings if frozen else ())]
    features = {"features": frozen.features.fingerprint} if frozen else {}
    notes = {"warnings": warnings, "notes": list(task.notes)}
    return {**features, **{name: texts for name, texts in notes.items() if texts}}


def _trained(
    network: torch.nn.Module, task: TrainingTask, card: ModelCard, progress: Progress, checkpoints: Checkpoints
) -> Training:
    if card.section.model is not None and card.section.model.is_fitted:
        return fit_at_once(network, task, card, progress)
    return fit(network, task, progress, checkpoints)


def _checkpoints(card: ModelCard, scratch: Path | None, folder: Path) -> Checkpoints:
    """Return where the state of a training is kept while it runs, and once it ended early.

    A training that ended early is, with a later end, the same one up to there. What it left is part of its result, and
    found beside that of this one.
    """
    params = card.section.train_params
    endless = card.section.model_copy(update={"train_params": params.model_copy(update={"stop_after": None})})
    owner = digest_of(card.model_copy(update={"section": endless}).as_dict())
    earlier = [] if scratch is None else list(scratch.parents[1].glob(f"*/{CHECKPOINT}"))
    return Checkpoints(scratch, owner, params.checkpoint_every_s, folder / CHECKPOINT, earlier, params.stop_after)


def _describe_data(request: TrainingRequest, prepared: Prepared) -> tuple[dict[str, Statistics], pl.DataFrame]:
    """Return the statistics of each subset and the training summary, from the rows that were read already."""
    target, annotations, subsets = prepared.card.target, request.annotations, prepared.subsets
    train = subsets[request.section.data_train.subset]
    statistics = data_statistics(request.task, annotations, target, subsets)
    return statistics, training_summary(annotations, target, train)


def _cards(
    card: ModelCard, training: Training, network: torch.nn.Module, validation: EvaluationDataset | None
) -> tuple[ModelCard, ModelCard]:
    """Return the cards of the chosen and of the last epoch's weights."""
    chosen = adjusted_to_validation(
        card_of(card, training, training.chosen_epoch), network, training.chosen, validation
    )
    last = adjusted_to_validation(card_of(card, training, len(training.history)), network, training.last, validation)
    return chosen, last


def card_of(card: ModelCard, training: Training, epoch: int) -> ModelCard:
    """Return the card of one epoch's weights."""
    rule, validation = card.section.train_params, card.section.data_validation
    chosen_by = "last epoch"
    if rule.choose_epoch == "best" and validation is not None and epoch == training.chosen_epoch:
        chosen_by = f"best {rule.choosing_metric} on {validation.subset}"
    values = training.history[epoch - 1].validation
    target = card.target
    if isinstance(target, MaskTarget):
        target = target.model_copy(update={"least_middle": values.get(CENTER_THRESHOLD, target.least_middle)})
    return card.model_copy(update={"epoch": epoch, "chosen_by": chosen_by, "values": values, "target": target})


def _write_models(
    folder: Path, training: Training, chosen: ModelCard, last: ModelCard, frozen: FrozenNetwork | None
) -> ModelCard:
    """Write both models, with the network in front of what was trained, if any; return the card of the chosen one."""
    if frozen is not None:
        training.chosen, chosen = frozen.whole(training.chosen, chosen)
        training.last, last = frozen.whole(training.last, last)
    save_model(folder / CHOSEN, training.chosen, chosen)
    save_model(folder / LAST, training.last, last)
    write_json(folder / CARD, chosen.as_dict())
    return chosen


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
        history: Metrics of each epoch.
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
