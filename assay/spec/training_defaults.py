"""Defaults of ``trained_model`` that depend on what is learned from what: every null becomes a number.

Belongs here: filling them in, and refusing keys without meaning. Does not belong here: the numbers (``recipes``), keys
and rules of one section (``assay.spec.training``).
"""

from typing import Any

from assay.spec.recipes import MOST_TIMES, Recipe, View, recipe_of
from assay.spec.trained_model import TrainedModelSection
from assay.spec.training import Augmentation, TrainParams

DENSE = ("segmentation", "detection")
"""Kinds of learning whose answers have a place in the image: they see whole images."""

LOSSES: dict[str, tuple[str, ...]] = {
    "regression": ("smooth_l1", "mse"),
    "classification": ("cross_entropy", "focal"),
    "multi_label": ("binary_cross_entropy", "focal"),
    "segmentation": ("segmentation",),
    "detection": ("detection",),
}
"""Losses by kind of learning; the first is the default."""

WARMUPS = {"one_cycle": 0.25, "cosine": 0.05, "step": 0.05, "constant": 0.0}
"""Shares of the steps in which the learning rate rises, by schedule."""

TRAINING_METRICS: dict[str, tuple[str, ...]] = {
    "regression": ("loss", "mae", "rmse"),
    "classification": ("loss", "accuracy"),
    "multi_label": ("loss", "macro_f1"),
    "segmentation": ("loss", "mean_iou", "foreground_iou"),
    "detection": ("loss", "map50"),
}
"""What may choose the epoch, by kind of learning."""


def view_of(section: TrainedModelSection, learning: str, uses_images: bool) -> View:
    """Return what an item is to the network."""
    if learning in DENSE:
        return "images"
    chosen = section.data_description.input
    of_objects = chosen == "crops" or (chosen is None and learning in ("classification", "multi_label"))
    if uses_images and of_objects:
        return "crops"
    return "pixels" if uses_images else "columns"


def resolved(section: TrainedModelSection, learning: str, view: View) -> TrainedModelSection:
    """Return the section with a number wherever null meant "by the task or the input".

    What only the data can tell stays null: input columns, target, classes, and image size.

    Raises:
        ValueError: A key has no meaning for this kind of learning or input.
    """
    _check_learning(section, learning)
    _check_input(section, learning, view)
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
        ),
    }
    return section.model_copy(update=changes)


def _described(section: TrainedModelSection, view: View, window_size: int | None) -> Any:
    stage = {"images": "splits", "crops": "crops"}.get(view, "normalized")
    return _filled(section.data_description, input=stage, standardize=view != "columns", window_size=window_size)


def _learner(section: TrainedModelSection, learning: str, recipe: Recipe) -> Any:
    rates = {"adamw": recipe.adamw, "sgd": recipe.sgd}
    return _filled(
        section.learner,
        loss=LOSSES[learning][0],
        learning_rate=rates[section.learner.optimizer],
        warmup=WARMUPS[section.learner.schedule],
        label_smoothing=recipe.label_smoothing if learning in ("classification", "multi_label") else 0.0,
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


def _check_learning(section: TrainedModelSection, learning: str) -> None:
    learner, metric = section.learner, section.train_params.metric
    losses, metrics = LOSSES[learning], TRAINING_METRICS[learning]
    if learner.loss is not None and learner.loss not in losses:
        raise ValueError(f"learner.loss is {learner.loss}, but {_learned(learning)}; expected {' or '.join(losses)}")
    if metric not in metrics:
        raise ValueError(f"train_params.metric is {metric}, but {_learned(learning)}; expected {' or '.join(metrics)}")
    if section.data_description.multi_label and learning != "multi_label":
        raise ValueError(f"data_description.multi_label is true, but {_learned(learning)}; leave it out")
    if section.train_params.decision is not None and learning != "multi_label":
        raise ValueError(f"train_params.decision is set, but {_learned(learning)}; leave it out")
    if learner.focal_alpha is not None and learning != "multi_label":
        raise ValueError(f"learner.focal_alpha is set, but {_learned(learning)}; use learner.class_weights")
    _check_class_keys(section, learning)


def _check_class_keys(section: TrainedModelSection, learning: str) -> None:
    """Refuse what is said about classes where nothing would read it."""
    learner, description = section.learner, section.data_description
    if learning in DENSE and learner.label_smoothing:
        raise ValueError(f"learner.label_smoothing is set, but {_learned(learning)}, whose loss has none; leave it out")
    weighted = any(each.weight != 1 for each in description.classes or ())
    if learning == "detection" and (weighted or learner.class_weights):
        raise ValueError(
            "learner.class_weights or a weight in data_description.classes is set, but task is detection, "
            "whose loss weighs all classes the same; leave it out"
        )
    if learning != "regression":
        return
    meaningless = {
        "learner.class_weights": learner.class_weights,
        "learner.label_smoothing": learner.label_smoothing,
        "data_train.balance": section.data_train.balance,
        "data_description.classes": description.classes,
        "data_description.class_mapping": description.class_mapping,
    }
    for key, value in meaningless.items():
        if value:
            raise ValueError(f"{key} is set, but task is regression: there are no classes; leave it out")


def _learned(learning: str) -> str:
    """Say what is learned in the words of the spec."""
    return "data_description.multi_label is true" if learning == "multi_label" else f"task is {learning}"


def _check_input(section: TrainedModelSection, learning: str, view: View) -> None:
    description, model = section.data_description, section.model
    if view == "images" and description.input not in (None, "splits"):
        raise ValueError(
            f"data_description.input is {description.input}, but task is {learning}, which learns from whole images; "
            "leave it out"
        )
    if view != "images" and description.input == "splits":
        raise ValueError(f"data_description.input is splits, but {_learned(learning)}; expected crops or normalized")
    if view != "images" and description.window_size is not None:
        raise ValueError(f"data_description.window_size is set, but {_learned(learning)}; leave it out")
    if model is not None and view not in model.reads:
        fitting = recipe_of(learning, view).model.kind
        raise ValueError(
            f"model.kind {model.kind!r} reads images, but the inputs are {view}; use model.kind: {fitting}"
            if view in ("pixels", "columns")
            else f"model.kind {model.kind!r} can't learn {learning}; use model.kind: {fitting}"
        )
    _check_augmentation(section.data_train.augmentation, view)


def _check_augmentation(augmentation: Augmentation, view: View) -> None:
    if view in ("crops", "images"):
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
