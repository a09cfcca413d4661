"""Stage ``trained_model``: from a table or images to weights, logs and a history.

Belongs here: the order of the stage, and the files of its result. Does not belong here: the training itself
(``trainer``), reading data (``prepare``).
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import torch

from assay.errors import TrainingError
from assay.pipeline import digest_of
from assay.plots.training import learning_curves
from assay.spec.defaults import epoch_count
from assay.spec.models import AutoModel
from assay.spec.recipes import CANDIDATE_CELLS, CANDIDATE_EPOCHS, CANDIDATE_ROWS, CANDIDATE_STEPS, candidate_models
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
from assay.training.metrics import adjusted_to_validation, is_better
from assay.training.model_card import ModelCard
from assay.training.model_file import CHOSEN, LAST, network_of, save_model
from assay.training.net_data import write_net_data
from assay.training.prepare import Prepared, prepare_subsets, prepare_training
from assay.training.summary import TRAINING_SUMMARY, training_summary
from assay.training.tasks.base import TrainingRequest
from assay.training.tasks.segmentation.decode import CENTER_THRESHOLD
from assay.training.tasks.statistics import Statistics, data_statistics
from assay.training.trainer import fit
from assay.training.worker import worker_processes
from assay.utils.concurrency import NO_VALUES, Progress, silent
from assay.utils.text import pluralize

log = logging.getLogger(__name__)

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
    choice, frozen = "", prepared.frozen
    if isinstance(prepared.card.section.model, AutoModel):
        made, choice = _best_of_kinds(request, prepared, progress, scratch, folder)
        log.info(choice)
    else:
        training_task, card = prepared.training_task, prepared.card
        del prepared  # its tables are not needed during the training
        made = _train(request, training_task, card, progress, _checkpoints(card, scratch, folder))
    chosen, training = _write_trained(made, frozen, folder), made.training
    write_parquet(summary, folder / TRAINING_SUMMARY)
    return {
        **({"choice": choice} if choice else {}),
        **_report(chosen, made.network, len(training.history)),
        "data": statistics,
        "stopped": training.stopped,
        **({"planned_epochs": training.planned} if spec.train_params.stop_after is not None else {}),
        **_notes(made.training_task, frozen),
    }


def _notes(task: TrainingTask, frozen: FrozenNetwork | None) -> dict[str, Any]:
    """Return the features that were learned from, warnings, and what else is worth telling, if there are any."""
    warnings = [*task.warnings, *(frozen.warnings if frozen else ())]
    features = {"features": frozen.features.fingerprint} if frozen else {}
    notes = {"warnings": warnings, "notes": list(task.notes)}
    return {**features, **{name: texts for name, texts in notes.items() if texts}}


@dataclass(frozen=True)
class _Trained:
    """A network after its training.

    Attributes:
        training_task: What it was trained with.
        card: As it was before the training.
        network: With its last weights.
        training: History and weights.
    """

    training_task: TrainingTask
    card: ModelCard
    network: torch.nn.Module
    training: Training


def _write_trained(made: _Trained, frozen: FrozenNetwork | None, folder: Path) -> ModelCard:
    """Write the models, samples of what they were trained on, and the history; return the card of the chosen epoch."""
    params, training = made.card.section.train_params, made.training
    with deterministic(params.threads, made.card.seed, params.device):
        cards = _cards(made.card, training, made.network, made.training_task.validation)
        if frozen is None:
            write_net_data(made.training_task, made.card, len(training.history), folder / NET_DATA)
    _write_history(folder, training, made.card.section)
    return _write_models(folder, training, *cards, frozen)


def _train(
    request: TrainingRequest, training_task: TrainingTask, card: ModelCard, progress: Progress, checkpoints: Checkpoints
) -> _Trained:
    params = card.section.train_params
    with deterministic(params.threads, request.seed, params.device), worker_processes(request, params.device):
        network = network_of(card)
        if card.section.model is not None and card.section.model.is_fitted:
            training = fit_at_once(network, training_task, card, progress)
        else:
            training = fit(network, training_task, progress, checkpoints)
    return _Trained(training_task, card, network, training)


def _best_of_kinds(
    request: TrainingRequest, prepared: Prepared, progress: Progress, scratch: Path | None, folder: Path
) -> tuple[_Trained, str]:
    """Train a model of each kind, and return the one that is best on the validation data, and a sentence about it.

    Raises:
        TrainingError: None could be trained.
    """
    metric, best = prepared.card.section.train_params.choosing_metric, ""
    trained: _Trained | None = None
    values: dict[str, float] = {}
    sections, left_out = candidates(prepared.card)
    for kind, section in sections.items():
        own = replace(request, section=section)
        ready = prepare_subsets(own, prepared.subsets)
        try:
            checkpoints = _checkpoints(ready.card, scratch, folder)
            made = _train(own, ready.training_task, ready.card, _naming(kind, progress), checkpoints)
        except TrainingError as error:
            left_out[kind] = str(error)
            continue
        values[kind] = made.training.chosen_values.validation[metric]
        if is_better(metric, values[kind], values.get(best)):
            best, trained = kind, made
    if trained is None:
        raise TrainingError(" ".join(f"{kind}: {reason}" for kind, reason in left_out.items()))
    card = trained.card.model_copy(update={"candidates": values})
    return replace(trained, card=card), choice_sentence(card, left_out)


def _naming(kind: str, progress: Progress) -> Progress:
    """Return a callback whose notes begin with the kind of model that is trained."""

    def report(done: int, total: int, note: str = "", values: Mapping[str, float] = NO_VALUES) -> None:
        progress(done, total, f"{kind}: {note}", values)

    return report


_ALONE = "beside the others (trained_model.model.kind: {} trains it alone)"


def candidates(card: ModelCard) -> tuple[dict[str, TrainedModelSection], dict[str, str]]:
    """Return the section to train each kind of model of a table with, and why others are left out, by kind.

    What all of them together cost stays within about 20 CPU seconds for 20,000 rows: all use one thread; the network
    gets fewer passes than alone, in larger batches, where there are many rows, and is left out where there would be too
    few passes; a linear model needs all rows in memory.

    Args:
        card: Rows, inputs and resolved section of a model of the kind auto.
    """
    params = card.section.train_params.model_copy(update={"threads": 1})
    section, inputs = card.section.model_copy(update={"train_params": params}), card.inputs.item_shape[0]
    rows, batch = card.rows[section.data_train.subset], section.data_train.batch_size or 1
    wanted = epoch_count(params, max(1, rows // batch))
    epochs = min(wanted, max(1, CANDIDATE_ROWS // rows))
    while rows // batch * epochs > CANDIDATE_STEPS:
        batch *= 2
    found = {kind: section.model_copy(update={"model": model}) for kind, model in candidate_models(card.task).items()}
    learner = section.learner.model_copy(update={"label_smoothing": 0.0})  # without it, losses are comparable
    found["mlp"] = found["mlp"].model_copy(update={"learner": learner})
    left_out: dict[str, str] = {}
    if rows * inputs > CANDIDATE_CELLS:
        left_out["linear"] = f"{rows:,} rows of {inputs:,} inputs are too many to try it {_ALONE.format('linear')}"
    if epochs < min(CANDIDATE_EPOCHS, wanted):
        left_out["mlp"] = f"{rows:,} rows are too many to try it {_ALONE.format('mlp')}"
    elif (epochs, batch) != (wanted, section.data_train.batch_size):
        fewer = params.model_copy(update={"epochs": epochs, "least_steps": 0})
        larger = section.data_train.model_copy(update={"batch_size": batch})
        found["mlp"] = found["mlp"].model_copy(update={"train_params": fewer, "data_train": larger})
    return {kind: each for kind, each in found.items() if kind not in left_out}, left_out


def choice_sentence(card: ModelCard, left_out: Mapping[str, str]) -> str:
    """Return which kind of model was chosen, by what, what the others reached, and what was not tried.

    Args:
        card: Of the chosen model, with its candidates.
        left_out: Reason by kind.
    """
    section, kind = card.section, card.section.model.kind if card.section.model else ""
    metric = section.train_params.choosing_metric
    subset = section.data_validation.subset if section.data_validation else ""
    others = ", ".join(f"{name} {value:.4g}" for name, value in card.candidates.items() if name != kind)
    sentence = f"{kind} was chosen: its {metric} on {subset} is {card.candidates[kind]:.4g}"
    sentences = [sentence + (f", that of {others}." if others else ".")]
    sentences += [f"{name} was left out: {reason.rstrip('.')}." for name, reason in left_out.items()]
    if kind == "mlp" and section.train_params.least_steps == 0:
        epochs = pluralize(section.train_params.epochs or 0, "epoch")
        form = f"{epochs} in batches of {section.data_train.batch_size}"
        sentences.append(f"It had {form}; trained_model.model: {{kind: mlp, width: 128}} trains it for longer.")
    return " ".join(sentences)


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
        **({"candidates": card.candidates} if card.candidates else {}),
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
