"""Defaults of ``trained_model`` that depend on what is learned from what: every null becomes a number.

Belongs here: the recipes, and filling them in. Does not belong here: keys and rules (``assay.spec.training``).
"""

from typing import Any, Literal

from assay.spec.models import AnyModel, CnnModel, MlpModel
from assay.spec.trained_model import TrainedModelSection
from assay.spec.training import Augmentation, TrainParams

View = Literal["crops", "pixels", "columns"]
"""What an item is to the network: an image, a row of grey pixels, or a row of any other columns."""

AUGMENTATIONS: dict[str, Augmentation] = {
    "crops": Augmentation(
        rotation_degrees=15,
        zoom=0.2,
        shift=0.06,
        invert_probability=0.3,
        colour_shift=0.5,
        contrast=0.3,
        noise=0,
    ),
    "pixels": Augmentation(
        rotation_degrees=6,
        zoom=0.06,
        shift=0.03,
        invert_probability=0.5,
        colour_shift=0,
        contrast=0,
        noise=0.05,
    ),
    "columns": Augmentation(
        rotation_degrees=0,
        zoom=0,
        shift=0,
        invert_probability=0,
        colour_shift=0,
        contrast=0,
        noise=0,
    ),
}

EPOCHS: dict[str, int] = {"crops": 20, "pixels": 160, "columns": 80}
LEAST_STEPS, MOST_TIMES = 700, 10
"""Steps that a network needs in any case, and how many times the usual epochs that may take."""
BATCH_SIZES: dict[str, int] = {"crops": 32, "pixels": 128, "columns": 64}
LEARNING_RATES: dict[str, float] = {"adamw": 4e-3, "sgd": 0.1}
LABEL_SMOOTHING = 0.05


def view_of(section: TrainedModelSection, task: str, uses_images: bool) -> View:
    """Return what an item is to the network."""
    chosen = section.data_description.input
    if uses_images and (chosen == "crops" or (chosen is None and task == "classification")):
        return "crops"
    return "pixels" if uses_images else "columns"


def resolved(section: TrainedModelSection, task: str, view: View) -> TrainedModelSection:
    """Return the section with a number wherever null meant "by the task or the input".

    What only the data can tell stays null: input columns, target, classes, and image size.

    Raises:
        ValueError: A key has no meaning for this task or input.
    """
    _check_task(section, task)
    model = section.model or default_model(view)
    if model.needs_images and view != "crops":
        raise ValueError(f"model.kind {model.kind!r} reads images, but the inputs are {view}; use model.kind: mlp")
    _check_augmentation(section.data_train.augmentation, view)
    changes: dict[str, Any] = {
        "model": model,
        "data_description": _filled(
            section.data_description,
            input="crops" if view == "crops" else "normalized",
            standardize=view != "columns",
        ),
        "data_train": _filled(
            section.data_train,
            batch_size=BATCH_SIZES[view],
            augmentation=_filled(section.data_train.augmentation, **dict(AUGMENTATIONS[view])),
        ),
        "learner": _filled(
            section.learner,
            loss="cross_entropy" if task == "classification" else "smooth_l1",
            learning_rate=LEARNING_RATES[section.learner.optimizer],
            label_smoothing=LABEL_SMOOTHING if task == "classification" else 0.0,
        ),
        "train_params": _filled(
            section.train_params,
            epochs=EPOCHS[view],
            least_steps=LEAST_STEPS if section.train_params.epochs is None else 0,
        ),
    }
    return section.model_copy(update=changes)


def epoch_count(params: TrainParams, steps_per_pass: int) -> int:
    """Return how many epochs to train.

    Args:
        params: Resolved.
        steps_per_pass: Batches in one pass over the training data.
    """
    usual, steps = params.epochs or 1, params.steps_per_epoch or steps_per_pass
    wanted = -(-(params.least_steps or 0) // steps)
    return max(usual, min(MOST_TIMES * usual, wanted))


def default_model(view: View) -> AnyModel:
    """Return the network for a kind of input."""
    if view == "crops":
        return CnnModel()
    return MlpModel() if view == "pixels" else MlpModel(width=128)


def _filled(section: Any, **defaults: Any) -> Any:
    """Return a copy whose null keys have the defaults; sections within are replaced as they are given."""
    replace = {name: value for name, value in defaults.items() if _is_open(getattr(section, name))}
    return section.model_copy(update=replace)


def _is_open(value: Any) -> bool:
    return value is None or isinstance(value, Augmentation)


def _check_task(section: TrainedModelSection, task: str) -> None:
    learner, metric = section.learner, section.train_params.metric
    losses = ("cross_entropy",) if task == "classification" else ("smooth_l1", "mse")
    if learner.loss is not None and learner.loss not in losses:
        raise ValueError(f"learner.loss is {learner.loss}, but task is {task}; expected {' or '.join(losses)}")
    metrics = ("loss", "accuracy") if task == "classification" else ("loss", "mae", "rmse")
    if metric not in metrics:
        raise ValueError(f"train_params.metric is {metric}, but task is {task}; expected {' or '.join(metrics)}")
    if task == "classification":
        return
    meaningless = {
        "learner.class_weights": learner.class_weights,
        "learner.label_smoothing": learner.label_smoothing,
        "data_description.classes": section.data_description.classes,
        "data_description.class_mapping": section.data_description.class_mapping,
    }
    for key, value in meaningless.items():
        if value:
            raise ValueError(f"{key} is set, but task is {task}: there are no classes; leave it out")


def _check_augmentation(augmentation: Augmentation, view: View) -> None:
    if view == "crops":
        return
    meaningless = {"colour_shift", "contrast"}
    if view == "columns":
        meaningless |= {"rotation_degrees", "zoom", "shift", "invert_probability"}
    for name in sorted(meaningless):
        if getattr(augmentation, name):
            raise ValueError(
                f"data_train.augmentation.{name} is set, but the inputs are {view}, to which it does not apply; "
                "leave it out"
            )
