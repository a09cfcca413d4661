"""Defaults of ``trained_model`` that depend on what is learned from what: every null becomes a number.

Belongs here: filling them in. Does not belong here: the numbers (``recipes``), refusing keys (``training_checks``).
"""

from typing import Any

from assay.spec.recipes import MOST_TIMES, Recipe, View, recipe_of
from assay.spec.trained_model import TrainedModelSection
from assay.spec.training import TrainParams
from assay.spec.training_checks import DENSE, LOSSES, OF_CLASSES, check_training
from assay.spec.training_data import Augmentation

CHOOSING = {"segmentation": "mean_iou", "detection": "map50"}
"""What chooses the epoch, where it is not the loss: that of masks and boxes also weighs what no metric sees."""

MOMENTA = {"muon": 0.8, "adamw": 0.9, "sgd": 0.9}
"""Momentum by optimizer."""

WARMUPS = {"one_cycle": 0.25, "cosine": 0.05, "step": 0.05, "constant": 0.0}
"""Shares of the steps in which the learning rate rises, by schedule."""


def view_of(section: TrainedModelSection, learning: str, uses_images: bool) -> View:
    """Return what an item is to the network."""
    if learning in DENSE:
        return "images"
    chosen = section.data_description.input
    of_objects = chosen == "crops" or (chosen is None and learning in OF_CLASSES)
    if uses_images and of_objects:
        return "crops"
    return "pixels" if uses_images else "columns"


def resolved(section: TrainedModelSection, learning: str, view: View) -> TrainedModelSection:
    """Return the section with a number wherever null meant "by the task or the input".

    What only the data can tell stays null: input columns, target, classes, and image size.

    Raises:
        ValueError: A key has no meaning for this kind of learning or input.
    """
    check_training(section, learning, view)
    recipe = recipe_of(learning, view)
    changes: dict[str, Any] = {
        "model": section.model or recipe.model,
        "data_description": _described(section, view, recipe.window_size),
        "data_train": _filled(
            section.data_train,
            batch_size=recipe.batch_size,
            augmentation=_filled(section.data_train.augmentation, **dict(recipe.augmentation)),
        ),
        "learner": _learner(section, learning, recipe),
        "train_params": _filled(
            section.train_params,
            decision="fixed" if learning == "multi_label" else None,
            epochs=recipe.epochs,
            least_steps=recipe.least_steps if section.train_params.epochs is None else 0,
            precision=recipe.precision,
            metric=CHOOSING.get(learning, "loss"),
        ),
    }
    return section.model_copy(update=changes)


def _described(section: TrainedModelSection, view: View, window_size: int | None) -> Any:
    stage = {"images": "splits", "crops": "crops"}.get(view, "normalized")
    return _filled(section.data_description, input=stage, standardize=view != "columns", window_size=window_size)


def _learner(section: TrainedModelSection, learning: str, recipe: Recipe) -> Any:
    optimizer = section.learner.optimizer or recipe.optimizer
    return _filled(
        section.learner,
        loss=LOSSES[learning][0],
        optimizer=optimizer,
        momentum=MOMENTA[optimizer],
        learning_rate={"muon": recipe.muon, "adamw": recipe.adamw, "sgd": recipe.sgd}[optimizer],
        warmup=WARMUPS[section.learner.schedule],
        label_smoothing=recipe.label_smoothing if learning in OF_CLASSES else 0.0,
    )


def epoch_count(params: TrainParams, steps_per_pass: int) -> int:
    """Return how many epochs to train.

    Args:
        params: Resolved.
        steps_per_pass: Batches in one pass over the training data.
    """
    usual, steps = params.epochs or 1, params.steps_per_epoch or steps_per_pass
    wanted = -(-(params.least_steps or 0) // steps)
    return max(usual, min(MOST_TIMES * usual, wanted))


def _filled(section: Any, **defaults: Any) -> Any:
    """Return a copy whose null keys have the defaults; sections within are replaced as they are given."""
    replace = {name: value for name, value in defaults.items() if _is_open(getattr(section, name))}
    return section.model_copy(update=replace)


def _is_open(value: Any) -> bool:
    return value is None or isinstance(value, Augmentation)
