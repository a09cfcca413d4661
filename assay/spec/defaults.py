"""Resolving a spec: every default that depends on the task, the source or another section becomes a value.

Belongs here: filling in these defaults, rules across sections. Does not belong here: defaults and rules within one
section, the numbers themselves (``recipes``), keys without effect (``validation``).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from assay.errors import nearest
from assay.spec.analysis import BUILT_IN_METRIC_NAMES, OF_EACH_CLASS, TASK_METRICS, AnalysisSection
from assay.spec.experiment import SECTION_NAMES, Board, ExperimentSpec
from assay.spec.exptests import ExptestsSection
from assay.spec.generated_images import ColumnUse, GeneratedImagesSection, TableSource
from assay.spec.models import AutoModel, PretrainedModel
from assay.spec.recipes import MOST_TIMES, Recipe, View, recipe_of
from assay.spec.splits import TRAIN
from assay.spec.trained_model import Augmentation, TrainedModelSection, TrainParams
from assay.spec.validation import (
    DENSE,
    LOSSES,
    OF_CLASSES,
    check_fitted,
    check_pretrained,
    check_training,
    keys_without_effect,
)

CHOOSING = {"segmentation": "mean_iou", "detection": "map50"}
"""Metric that chooses the epoch, where it is not the loss: the loss of masks and boxes has terms that no metric has."""

MOMENTA = {"muon": 0.8, "adamw": 0.9, "sgd": 0.9}
"""Momentum by optimizer."""

WARMUPS = {"one_cycle": 0.25, "cosine": 0.05, "step": 0.05, "constant": 0.0}
"""Fraction of the steps in which the learning rate rises, by schedule."""


def view_of(section: TrainedModelSection, learning: str, uses_images: bool) -> View:
    """Return the form in which the network sees an item."""
    if learning in DENSE:
        return "images"
    chosen = section.data_description.input
    is_usual = learning in OF_CLASSES or isinstance(section.model, PretrainedModel)
    of_objects = chosen == "crops" or (chosen is None and is_usual)
    if uses_images and of_objects:
        return "crops"
    return "pixels" if uses_images else "columns"


def with_defaults(
    section: TrainedModelSection, learning: str, view: View, by_data: bool = False
) -> TrainedModelSection:
    """Return the section with a value for every null that means "by the task or the input".

    What depends on the data stays null: input columns, target, classes, and image size.

    Args:
        section: As the user wrote it, or resolved.
        learning: The kind of learning.
        view: Form in which the network sees an item.
        by_data: Whether a model that is null is chosen on the validation data, unless a key is set that only a
            training in steps reads: whoever sets one means the network.

    Raises:
        ValueError: A key has no effect for this kind of learning or input.
    """
    if isinstance(section.model, PretrainedModel):
        return _with_defaults_of_head(section, section.model, learning, view)
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
    resolved = section.model_copy(update=changes)
    if section.model is not None and (section.model.is_fitted or isinstance(section.model, AutoModel)):
        check_fitted(resolved, with_defaults(TrainedModelSection(), learning, view), learning)
    return _chosen_by_data(resolved, learning, view) if section.model is None and by_data else resolved


def _chosen_by_data(resolved: TrainedModelSection, learning: str, view: View) -> TrainedModelSection:
    """Return the section with the model auto, or as it is where it sets a key that only the network reads."""
    chosen = resolved.model_copy(update={"model": AutoModel()})
    try:
        check_fitted(chosen, with_defaults(TrainedModelSection(), learning, view), learning)
    except ValueError:
        return resolved
    return chosen


def _with_defaults_of_head(
    section: TrainedModelSection, model: PretrainedModel, learning: str, view: View
) -> TrainedModelSection:
    """Return the section with the defaults of what learns from the features of a frozen network: rows of numbers."""
    check_pretrained(section, learning, view)
    try:
        resolved = with_defaults(of_features(section), learning, "columns")
    except ValueError as error:
        raise ValueError(str(error).replace("model.kind", "model.head.kind")) from None
    description = resolved.data_description.model_copy(update={"input": "crops", "standardize": False})
    return resolved.model_copy(update={"model": model, "data_description": description})


def of_features(section: TrainedModelSection) -> TrainedModelSection:
    """Return the section of the training of a head, whose inputs are features; other sections as they are."""
    if not isinstance(section.model, PretrainedModel):
        return section
    description = section.data_description.model_copy(update={"input": None, "standardize": None})
    return section.model_copy(update={"model": section.model.head, "data_description": description})


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
    """Return the number of epochs to train.

    Args:
        params: Resolved parameters.
        steps_per_pass: Number of batches in one pass over the training data.
    """
    usual, steps = params.epochs or 1, params.steps_per_epoch or steps_per_pass
    wanted = -(-(params.least_steps or 0) // steps)
    return max(usual, min(MOST_TIMES * usual, wanted))


def _filled(section: Any, **defaults: Any) -> Any:
    """Return a copy of a section with defaults for its null keys; nested augmentations are replaced as given."""
    replace = {name: value for name, value in defaults.items() if _is_open(getattr(section, name))}
    return section.model_copy(update=replace)


def _is_open(value: Any) -> bool:
    return value is None or isinstance(value, Augmentation)


def resolve(spec: ExperimentSpec) -> ExperimentSpec:
    """Return the spec with every default filled in, except those that depend on the data; resolving is idempotent.

    Raises:
        ValueError: Keys of different sections contradict each other; the message names both.
    """
    _check_subsets(spec)
    _check_source(spec)
    _check_handler(spec)
    for sentence in keys_without_effect(spec.generated_images.source.kind, {n: spec.section(n) for n in SECTION_NAMES}):
        raise ValueError(sentence)
    changes: dict[str, Any] = {name: _with_seed(spec, name) for name in SECTION_NAMES}
    if spec.splits.folds is not None and spec.splits.fold is None:
        changes["splits"] = changes["splits"].model_copy(update={"fold": 0})
    changes["normalized"] = spec.normalized.with_defaults_for(is_table=not spec.uses_images)
    changes["trained_model"] = _with_target(spec, changes["trained_model"])
    changes["generated_images"] = _with_use(spec, changes)
    view = view_of(spec.trained_model, spec.learning, spec.uses_images)
    try:
        changes["trained_model"] = with_defaults(
            changes["trained_model"], spec.learning, view, by_data=view == "columns"
        )
    except ValueError as error:
        raise ValueError(f"trained_model.{error}") from error
    if spec.found and TRAIN not in spec.splits.set_names:
        # There is nothing to fit a scaling on: a model that reads rows comes with its own, the others need none.
        changes["normalized"] = changes["normalized"].model_copy(update={"fit_on": "all"})
    changes["analysis"] = _with_metrics(changes["analysis"], spec.learning)
    tests = spec.exptests.tests_for(spec.learning, headline_subset(spec))
    changes["exptests"] = changes["exptests"].model_copy(update={"tests": tests})
    _check_tested_subsets(spec.predictions.datasets, changes["exptests"])
    if spec.board is not None:
        changes["board"] = _decided(spec.board, spec, changes["analysis"].result_analyzer.metrics)
    return spec.model_copy(update=changes)


def _check_source(spec: ExperimentSpec) -> None:
    """Refuse a table as the source of segmentation or detection."""
    if spec.learning in DENSE and not spec.uses_images:
        raise ValueError(
            f"task is {spec.task}, but generated_images.source.kind is table, which has no images; "
            "expected numbers, coco, yolo or masks"
        )


def _check_handler(spec: ExperimentSpec) -> None:
    """Refuse keys of ``predictions`` that have no effect for this task."""
    handler, of_boxes = spec.predictions.prediction_handler, ("min_confidence", "most_overlap", "max_boxes")
    idle = of_boxes if spec.learning != "detection" else ()
    for key in (*idle, *(("copy_columns",) if spec.learning in DENSE else ())):
        if getattr(handler, key) != type(handler).model_fields[key].default:
            raise ValueError(
                f"predictions.prediction_handler.{key} has no effect when task is {spec.task}; leave it out"
            )
    if spec.learning in DENSE and spec.predictions.prediction_function.kind != "plain":
        raise ValueError(
            f"predictions.prediction_function.kind is {spec.predictions.prediction_function.kind!r}, but task is "
            f"{spec.task}, whose answers have places; expected plain"
        )


def _with_target(spec: ExperimentSpec, section: TrainedModelSection) -> TrainedModelSection:
    """Return the section with the table's target column as target, unless it names another one."""
    source = spec.generated_images.source
    if section.data_description.target is not None or not isinstance(source, TableSource):
        return section
    description = section.data_description.model_copy(update={"target": source.target_column})
    return section.model_copy(update={"data_description": description})


def _with_use(spec: ExperimentSpec, resolved: Mapping[str, Any]) -> Any:
    """Return the section ``generated_images`` whose table source knows what the experiment does with the columns."""
    section: GeneratedImagesSection = resolved["generated_images"]
    if not isinstance(section.source, TableSource):
        return section
    normalized, described = resolved["normalized"], resolved["trained_model"].data_description
    categories = (*normalized.listed("binary_feature_keys"), *normalized.listed("categorical_feature_keys"))
    in_parts = normalized.dates == "parts"
    use = ColumnUse(spec.learning, described.target, described.inputs, categories, normalized.missing, in_parts)
    return section.model_copy(update={"source": section.source.used_as(use)})


def headline_subset(spec: ExperimentSpec) -> str:
    """Return the subset whose metrics represent the experiment: test, or else the last predicted one."""
    return "test" if "test" in spec.predictions.datasets else spec.predictions.datasets[-1]


def _with_metrics(section: AnalysisSection, learning: str) -> AnalysisSection:
    try:
        metrics = section.result_analyzer.metrics_for(learning)
    except ValueError as error:
        raise ValueError(f"analysis.{error}") from error
    return section.model_copy(
        update={"result_analyzer": section.result_analyzer.model_copy(update={"metrics": metrics})}
    )


def _check_tested_subsets(predicted: Sequence[str], section: ExptestsSection) -> None:
    """Refuse a test of a subset that is not predicted: it would fail after everything else was computed."""
    for number, test in enumerate(section.tests or ()):
        subset = getattr(test, "subset", None)
        if subset is not None and subset not in predicted:
            key = f"exptests.tests.{number}.subset"
            raise ValueError(f"{key} is {subset!r}, but predictions.datasets are {', '.join(predicted)}; add it there")


def _decided(board: Board, spec: ExperimentSpec, computed: Sequence[str]) -> Board:
    """Return a board with the metric and the subset that decide on it.

    Raises:
        ValueError: The metric is not computed or has no single value, or the subset is not predicted.
    """
    single = [name for name in computed if name not in OF_EACH_CLASS]
    main = TASK_METRICS[spec.learning][0]
    metric = board.metric or (main if main in single else next(iter(single), main))
    if metric in OF_EACH_CLASS:
        raise ValueError(f"board.metric is {metric}, which has one value per class; expected {' or '.join(single)}")
    is_of_others = metric in BUILT_IN_METRIC_NAMES and metric not in TASK_METRICS[spec.learning]
    if metric not in single:
        raise ValueError(
            f"board.metric is {metric}, but analysis.result_analyzer.metrics are {', '.join(computed)}; "
            + (f"expected {' or '.join(single)}" if is_of_others else "add it there")
        )
    subset = board.subset or headline_subset(spec)
    if subset not in spec.predictions.datasets:
        predicted = ", ".join(spec.predictions.datasets)
        raise ValueError(f"board.subset is {subset!r}, but predictions.datasets are {predicted}; add it there")
    return board.model_copy(update={"metric": metric, "subset": subset})


def _with_seed(spec: ExperimentSpec, name: str) -> Any:
    section = spec.section(name)
    is_open = "seed" in type(section).model_fields and getattr(section, "seed", None) is None
    return section.model_copy(update={"seed": spec.seed}) if is_open else section


def _check_subsets(spec: ExperimentSpec) -> None:
    """Refuse the name of a subset that the split does not make."""
    made = spec.splits.set_names
    if TRAIN not in made and not spec.found:
        guess = nearest(TRAIN, made)
        hint = f" Rename {guess!r}?" if guess else ""
        raise ValueError(f"splits.set_infos: got {', '.join(made)}; expected one set_name {TRAIN!r}.{hint}")
    model = spec.trained_model
    used = [] if spec.found else [("trained_model.data_train.subset", model.data_train.subset)]
    if model.data_validation is not None and not spec.found:
        used.append(("trained_model.data_validation.subset", model.data_validation.subset))
    used += [("predictions.datasets", name) for name in spec.predictions.datasets]
    for key, name in used:
        if name not in made:
            guess = nearest(name, made)
            hint = f" Did you mean {guess!r}?" if guess else ""
            raise ValueError(f"{key} is {name!r}, but splits.set_infos makes {', '.join(made)}.{hint}")
