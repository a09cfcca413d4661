"""Keys without effect, or in contradiction with the task: a table of which key is read when, and by what.

Belongs here: rules on combinations of source, task and sections. Does not belong here: rules within one section,
defaults (``defaults``).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from assay.spec.base import Section
from assay.spec.models import AutoModel
from assay.spec.recipes import View, recipe_of
from assay.spec.trained_model import TrainedModelSection

_WITHOUT_CLASS_FOLDERS: dict[str, tuple[str, ...]] = {name: ("recursive",) for name in ("splits", "crops", "tabular")}

WITHOUT_EFFECT: dict[str, dict[str, tuple[str, ...]]] = {
    "table": {
        "splits": ("name_delimiter", "max_split", "recursive", "sub_dir"),
        "crops": ("margin", "square", "max_size", "name_delimiter", "recursive", "sub_dir"),
        "tabular": ("target_image_size", "border", "name_delimiter", "recursive", "sub_dir"),
    },
    "numbers": {
        "splits": ("name_delimiter", "max_split", "recursive", "use_given_subsets"),
        "crops": ("recursive",),
        "tabular": ("name_delimiter", "recursive"),
    },
    "image_folder": {"crops": ("margin", "square", "name_delimiter")},
    **dict.fromkeys(("coco", "yolo", "masks"), _WITHOUT_CLASS_FOLDERS),
}
"""Keys without effect, by kind of source and section. Images in class folders have no boxes, annotated images have no
class folders, generated images have neither folders nor labels in their names, and rows of a table have no files."""


def keys_without_effect(source_kind: str, sections: Mapping[str, Section]) -> Iterator[str]:
    """Yield one sentence per key that differs from its default and has no effect.

    Args:
        source_kind: ``generated_images.source.kind``.
        sections: Sections by name; irrelevant ones are ignored.
    """
    for name, keys in WITHOUT_EFFECT.get(source_kind, {}).items():
        for key in _changed(sections[name], keys):
            yield (
                f"{name}.{key} ({getattr(sections[name], key)!r}) has no effect with generated_images.source.kind "
                f"{source_kind!r}; leave it out"
            )


def _changed(section: Section, keys: Sequence[str]) -> list[str]:
    """Return the keys whose value is not the default; a spec that sets a key to its default stays valid."""
    fields = type(section).model_fields
    return [key for key in keys if getattr(section, key) != fields[key].default]


DENSE = ("segmentation", "detection")
"""Kinds of learning with a prediction per position in the image; their input is whole images."""

OF_CLASSES = ("classification", "multi_label")
"""Kinds of learning that predict the classes of an item as a whole."""

LOSSES: dict[str, tuple[str, ...]] = {
    "regression": ("smooth_l1", "mse"),
    "classification": ("cross_entropy", "focal"),
    "multi_label": ("binary_cross_entropy", "focal"),
    "segmentation": ("segmentation",),
    "detection": ("detection",),
}
"""Losses by kind of learning; the first is the default."""

TRAINING_METRICS: dict[str, tuple[str, ...]] = {
    "regression": ("loss", "mae", "rmse"),
    "classification": ("loss", "accuracy"),
    "multi_label": ("loss", "macro_f1"),
    "segmentation": ("loss", "mean_iou", "foreground_iou"),
    "detection": ("loss", "map50"),
}
"""Metrics that may choose the epoch, by kind of learning."""

Applies = Callable[[TrainedModelSection, str], bool]


def _loss(section: TrainedModelSection, learning: str) -> str:
    return section.learner.loss or LOSSES[learning][0]


READ_BY: dict[str, tuple[Applies, str]] = {
    "data_description.multi_label": (lambda _, learning: learning == "multi_label", "classification"),
    "data_description.target": (lambda _, learning: learning not in DENSE, "what has one answer per item"),
    "data_description.classes": (lambda _, learning: learning != "regression", "what has classes"),
    "data_description.class_mapping": (lambda _, learning: learning != "regression", "what has classes"),
    "data_description.window_size": (lambda _, learning: learning in DENSE, "segmentation and detection"),
    "data_description.reductions": (lambda _, learning: learning == "detection", "detection"),
    "data_train.balance": (lambda _, learning: learning != "regression", "what has classes"),
    "learner.class_weights": (
        lambda _, learning: learning in (*OF_CLASSES, "segmentation"),
        "classification and segmentation",
    ),
    "learner.label_smoothing": (lambda _, learning: learning in OF_CLASSES, "classification"),
    "learner.smooth_l1_beta": (lambda section, _: _loss(section, _) == "smooth_l1", "the loss smooth_l1"),
    "learner.focal_gamma": (lambda section, _: _loss(section, _) == "focal", "the loss focal"),
    "learner.focal_alpha": (lambda _, learning: learning == "multi_label", "data_description.multi_label"),
    "learner.milestones": (lambda section, _: section.learner.schedule == "step", "the schedule step"),
    "learner.gamma": (lambda section, _: section.learner.schedule == "step", "the schedule step"),
    "train_params.decision": (lambda _, learning: learning in OF_CLASSES, "classification"),
    "train_params.calibration": (lambda _, learning: learning in OF_CLASSES, "classification"),
}
"""Keys that only some trainings read: when they are read, and by what."""


def check_training(section: TrainedModelSection, learning: str, view: View) -> None:
    """Refuse a key that contradicts the kind of learning or has no effect.

    Args:
        section: The section as the user wrote it, or resolved.
        learning: The kind of learning.
        view: Form in which the network sees an item.

    Raises:
        ValueError: A key is refused; the message names it, its value and what was expected.
    """
    _check_choice("learner.loss", section.learner.loss, LOSSES[learning], learning)
    _check_choice("train_params.metric", section.train_params.metric, TRAINING_METRICS[learning], learning)
    for key, (applies, reader) in READ_BY.items():
        if _is_changed(section, key) and not applies(section, learning):
            raise ValueError(f"{key} is set, but {_learned(learning)}; it is read by {reader} only, leave it out")
    if learning == "detection" and any(each.weight != 1 for each in section.data_description.classes or ()):
        raise ValueError(
            "a weight in data_description.classes is set, but the loss of detection has none; leave it out"
        )
    _check_input(section, learning, view)
    _check_augmentation(section, view)


FITTED_READS = {
    "data_train": ("subset",),
    "learner": ("class_weights",),
    "train_params": (
        "decision",
        "calibration",
        "choose_epoch",
        "metric",
        "checkpoint_every_s",
        "threads",
        "device",
        "memory_gb",
    ),
}
"""Keys that models have which are fitted at once; the others are those of a training in steps."""


def check_fitted(section: TrainedModelSection, usual: TrainedModelSection, learning: str) -> None:
    """Refuse keys that a model does not read which is fitted at once, or which the validation data choose.

    Args:
        section: The resolved section, with a model that is fitted, or of the kind auto.
        usual: The defaults of a network for the same task and input, resolved.
        learning: The kind of learning.

    Raises:
        ValueError: A key is set that only a training in steps reads, or nothing is there to choose the model on; the
            message names the key.
    """
    kind = section.model.kind if section.model else ""
    is_auto = isinstance(section.model, AutoModel)
    reads = _read_by_fitted(kind, learning)
    what = "also means models that are" if is_auto else "is"
    told = f"model.kind {kind!r} {what} fitted at once, without steps; leave it out, or use model.kind: mlp"
    if section.starting_weights is not None:
        raise ValueError(f"starting_weights is set, but {told}")
    for part, keys in reads.items():
        own, other = getattr(section, part), getattr(usual, part)
        for key in type(own).model_fields:
            if key not in keys and getattr(own, key) != getattr(other, key, None):
                raise ValueError(f"{part}.{key} is set, but {told}")
    if is_auto and (section.data_validation is None or section.train_params.choose_epoch == "last"):
        key = "data_validation is null" if section.data_validation is None else "train_params.choose_epoch is 'last'"
        raise ValueError(
            f"{key}, but model.kind 'auto' is chosen on the validation data; leave it out, or use model.kind: "
            "gradient_boosting"
        )


def _read_by_fitted(kind: str, learning: str) -> dict[str, list[str]]:
    """Return the keys that a model of a kind reads which is fitted at once, or ``auto``, by part of the section."""
    reads = {part: list(keys) for part, keys in FITTED_READS.items()}
    if learning == "regression" and kind in ("auto", "gradient_boosting"):
        reads["learner"].append("loss")
    if kind == "auto":
        reads["train_params"].remove("threads")  # it trains on one
    return reads


def means_network(key: str, learning: str) -> bool:
    """Return whether only a training in steps reads a key, so that whoever varies it means a network, not ``auto``.

    Args:
        key: Dotted key within the section, such as ``train_params.epochs``.
        learning: The kind of learning.
    """
    part, _, inner = key.partition(".")
    reads = _read_by_fitted("auto", learning)
    reads["train_params"].remove("choose_epoch")  # of which ``auto`` has one value only
    return part == "starting_weights" or (part in reads and inner.partition(".")[0] not in reads[part])


def check_pretrained(section: TrainedModelSection, learning: str, view: View) -> None:
    """Refuse the keys of a training on pictures for a model that learns from the features of a frozen network.

    Raises:
        ValueError: A key is set; the message names it.
    """
    _check_input(section, learning, view)
    once = "the features of model.kind 'pretrained' are computed once, from the pictures as they are; leave it out"
    for name in ("rotation_degrees", "zoom", "shift", "invert_probability", "colour_shift", "contrast"):
        if getattr(section.data_train.augmentation, name):
            raise ValueError(f"data_train.augmentation.{name} is set, but {once}")
    own = "model.kind 'pretrained' has its own, from the folder model.weights; leave it out"
    if section.data_description.standardize:
        raise ValueError(f"data_description.standardize is true, but {own}")
    if section.starting_weights is not None:
        raise ValueError(f"starting_weights is set, but {own}")


def _check_choice(key: str, value: str | None, choices: tuple[str, ...], learning: str) -> None:
    if value is not None and value not in choices:
        raise ValueError(f"{key} is {value}, but {_learned(learning)}; expected {' or '.join(choices)}")


def _is_changed(section: TrainedModelSection, key: str) -> bool:
    """Return whether a key has a value that is neither its default nor empty."""
    part_name, name = key.split(".")
    part: Any = getattr(section, part_name)
    value = getattr(part, name)
    return bool(value) and value != type(part).model_fields[name].default


def _learned(learning: str) -> str:
    """Return the key of the spec that determines the kind of learning, as a clause for messages."""
    return "data_description.multi_label is true" if learning == "multi_label" else f"task is {learning}"


def _check_input(section: TrainedModelSection, learning: str, view: View) -> None:
    chosen, model = section.data_description.input, section.model
    if view == "images" and chosen not in (None, "splits"):
        raise ValueError(
            f"data_description.input is {chosen}, but task is {learning}, which learns from whole images; leave it out"
        )
    if view != "images" and chosen == "splits":
        raise ValueError(f"data_description.input is splits, but {_learned(learning)}; expected crops or normalized")
    if model is not None and view not in model.reads:
        fitting = recipe_of(learning, view).model.kind
        what = "rows of a table" if model.reads == ("columns",) else "images"
        reason = (
            f"can't learn {learning}"
            if "images" in (view, *model.reads)
            else f"reads {what}, but the inputs are {view}"
        )
        raise ValueError(f"model.kind {model.kind!r} {reason}; use model.kind: {fitting}")


def _check_augmentation(section: TrainedModelSection, view: View) -> None:
    meaningless = {
        "pixels": ("colour_shift", "contrast"),
        "columns": ("colour_shift", "contrast", "invert_probability"),
    }
    moves = ("rotation_degrees", "shift", "zoom") if view == "columns" else ()
    for name in sorted((*meaningless.get(view, ()), *moves)):
        if getattr(section.data_train.augmentation, name):
            raise ValueError(
                f"data_train.augmentation.{name} is set, but the inputs are {view}, to which it does not apply; "
                "leave it out"
            )
