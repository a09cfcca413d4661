"""Linear models and gradient boosting, fitted to all training rows at once by scikit-learn, as networks of tensors.

What scikit-learn fits is written into the network that the model's card describes, and compared with it, so that
nothing of scikit-learn is stored and the model is applied, stored and exported as every other one. Several penalties or
numbers of trees take the place of epochs: the validation data choose one.

Belongs here: fitting, from estimators to tensors. Does not belong here: applying them (``models.linear``,
``models.trees``), baselines beside a network (``simple_models``).
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Generator, Tensor, nn

from assay.errors import TrainingError
from assay.spec.models import GradientBoostingModel, LinearModel
from assay.training.checkpoint import EpochValues, Training
from assay.training.class_targets import ClassTarget, LabelsTarget
from assay.training.engine import evaluate
from assay.training.inputs import Inputs
from assay.training.interfaces import TrainingTask
from assay.training.losses import class_weights, label_weights
from assay.training.metrics import as_note
from assay.training.model_card import ModelCard
from assay.training.models.trees import Trees
from assay.training.targets import ItemTarget, NumberTarget
from assay.training.trainer import keep_if_better, validate, weights_of
from assay.utils.concurrency import Progress

PENALTIES = (1e4, 1e3, 1e2, 10.0, 1.0, 0.1, 0.01)
"""Penalties of a linear model of which the validation data choose one; without such data it is 1."""

MOST_STAGES = 10
"""Numbers of trees that are compared."""

MOST_CATEGORIES = 255
"""Categories of one column that scikit-learn's gradient boosting can divide."""

ROWS_AT_ONCE = 4096

TOLERANCE = 1e-4
"""Largest difference between scikit-learn's outputs and the network's, which computes in float32."""

Floats = NDArray[np.float64]

Fitted = tuple[float, dict[str, Tensor], int]
"""Learning rate, state of the network, and how many trees it has; 0 for a linear model."""


def fit_at_once(network: nn.Module, training_task: TrainingTask, card: ModelCard, progress: Progress) -> Training:
    """Fit the network to the training rows and return what the validation data chose, as ``trainer.fit`` does.

    Args:
        network: Of a kind that ``is_fitted``; it gets the last weights.
        training_task: Rows, losses and metrics.
        card: Inputs and target.
        progress: Called after each penalty or number of trees.

    Raises:
        TrainingError: Outputs are not finite, or differ from those of scikit-learn.
    """
    everything = torch.arange(len(training_task.train))
    values, targets = training_task.train.batch(everything, Generator())
    rows = values.cpu().double().numpy()
    weights = item_weights(training_task, card.item_target)
    device = "cuda" if training_task.section.train_params.device == "cuda" else "cpu"
    network.to(device)
    training = Training()
    with threadpool_limits(1):  # OpenMP's threads spin, which on a busy machine takes a hundred times as long
        stages = list(_stages(training_task, card, rows, targets.cpu().numpy(), weights))
    for epoch, (rate, state, _) in enumerate(stages, 1):
        network.load_state_dict({name: value.to(device) for name, value in state.items()})
        parts = zip(*(torch.split(part, ROWS_AT_ONCE) for part in (values, targets)), strict=True)
        train = {"loss": evaluate(network, parts, training_task.plain_loss)["loss"], "learning_rate": rate}
        if not np.isfinite(train["loss"]):
            raise TrainingError("The loss of the fitted model is not finite. Look for huge numbers in the target.")
        validation = validate(network, training_task, f"the validation of stage {epoch}")
        training.history.append(EpochValues(epoch, train, validation))
        keep_if_better(training, network, training_task, last=epoch == len(stages))
        measured = {f"validation_{name}": value for name, value in validation.items()}
        progress(
            epoch, len(stages), as_note(validation or {"loss": train["loss"]}), {"epoch": epoch, **train, **measured}
        )
    training.last = weights_of(network)
    return training


def item_weights(training_task: TrainingTask, target: ItemTarget) -> Floats | None:
    """Return how much each row counts: (n,), or (n, k) where each label has its own; None: equally."""
    section, classes = training_task.section, training_task.classes
    if classes is None or not section.weighs_classes:
        return None
    if isinstance(target, LabelsTarget):
        sides = label_weights(section, target.classes, classes)
        return torch.where(classes > 0, sides[1], sides[0]).cpu().double().numpy()
    if not isinstance(target, ClassTarget):
        return None
    weights = class_weights(section, target.classes, classes.bincount(minlength=target.output_count))
    return None if weights is None else weights.to(classes.device)[classes].cpu().double().numpy()


def _stages(
    training_task: TrainingTask, card: ModelCard, rows: Floats, targets: Any, weights: Floats | None
) -> Iterator[Fitted]:
    model = training_task.section.model
    if isinstance(model, LinearModel):
        usual = PENALTIES if training_task.validation is not None else (1.0,)
        for penalty in (model.penalty,) if model.penalty else usual:
            yield 0.0, _linear(card.item_target, rows, targets, weights, penalty), 0
    elif isinstance(model, GradientBoostingModel):
        yield from _boosted(model, training_task, card, rows, targets, weights)


def _linear(
    target: ItemTarget, rows: Floats, targets: Any, weights: Floats | None, penalty: float
) -> dict[str, Tensor]:
    """Return weight and bias of a model fitted to standardized rows, for rows as they are."""
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(rows)
    scaled = scaler.transform(rows)
    if isinstance(target, NumberTarget):
        from sklearn.linear_model import Ridge

        model = Ridge(alpha=penalty).fit(scaled, targets)
        coefficients, intercepts = model.coef_[None], np.array([model.intercept_])
    elif isinstance(target, LabelsTarget):
        each = [
            _logistic(scaled, targets[:, place].astype(int), _column(weights, place), penalty)
            for place in range(target.output_count)
        ]
        coefficients, intercepts = (np.concatenate(parts) for parts in zip(*each, strict=True))
    else:
        coefficients, intercepts = _logistic(scaled, targets, weights, penalty)
        if target.output_count == 2:
            coefficients = np.concatenate([np.zeros_like(coefficients), coefficients])
            intercepts = np.concatenate([np.zeros_like(intercepts), intercepts])
    coefficients = coefficients / scaler.scale_
    intercepts = intercepts - coefficients @ scaler.mean_
    return {"weight": torch.from_numpy(coefficients).float(), "bias": torch.from_numpy(intercepts).float()}


def _column(weights: Floats | None, place: int) -> Floats | None:
    return None if weights is None else weights[:, place]


def _logistic(scaled: Floats, targets: Any, weights: Floats | None, penalty: float) -> tuple[Floats, Floats]:
    """Return coefficients (k, d) and intercepts (k,), k 1 for two classes; of one class alone, how certain it is."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(targets)) < 2:
        return np.zeros((1, scaled.shape[1])), np.array([_certain(targets)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what it reached is measured on the validation data
        model = LogisticRegression(C=1 / penalty, max_iter=500).fit(scaled, targets, weights)
    return model.coef_, model.intercept_


def _certain(targets: Any) -> float:
    """Return the logit of a label that all rows have, or none."""
    return float(np.log(len(targets) + 1)) * (1.0 if targets[0] else -1.0)


def boosting(is_number: bool, seed: int, inputs: Inputs, **keys: Any) -> Any:
    """Return scikit-learn's gradient boosting, not fitted yet, that takes codes of categories for what they are.

    Of more than ``MOST_CATEGORIES``, their codes are numbers to it.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    levels = {name for name, names in inputs.levels.items() if len(names) <= MOST_CATEGORIES}
    codes = [place for place, name in enumerate(inputs.columns) if name in levels]
    kind = HistGradientBoostingRegressor if is_number else HistGradientBoostingClassifier
    usual = {"loss": "absolute_error"} if is_number else {}
    return kind(early_stopping=False, random_state=seed, categorical_features=codes or None, **{**usual, **keys})


def _boosted(
    spec: GradientBoostingModel,
    training_task: TrainingTask,
    card: ModelCard,
    rows: Floats,
    targets: Any,
    weights: Floats | None,
) -> Iterator[Fitted]:
    _require_few_categories(card.inputs)
    target, seed = card.item_target, training_task.seed % 2**32
    outputs = 1 if isinstance(target, NumberTarget) else target.output_count
    keys = {
        "max_iter": spec.trees or (300 if outputs <= 2 else 100),
        "learning_rate": spec.shrinkage,
        "max_leaf_nodes": spec.leaves,
        "min_samples_leaf": spec.least_rows,
    }
    if isinstance(target, NumberTarget):
        loss = "squared_error" if training_task.section.learner.loss == "mse" else "absolute_error"
        models = [boosting(True, seed, card.inputs, loss=loss, **keys).fit(rows, targets)]
    elif isinstance(target, LabelsTarget):
        columns = [targets[:, place].astype(int) for place in range(outputs)]
        models = [
            boosting(False, seed, card.inputs, **keys).fit(rows, column, _column(weights, place))
            if len(np.unique(column)) > 1
            else _certain(column)
            for place, column in enumerate(columns)
        ]
    else:
        models = [boosting(False, seed, card.inputs, **keys).fit(rows, targets, weights)]
    codes = max((len(names) for names in card.inputs.levels.values()), default=0) + 1
    forest = _side_by_side(
        [_certain_forest(one) if isinstance(one, float) else _forest_of(one, codes) for one in models]
    )
    _require_equal(forest, models, rows[:ROWS_AT_ONCE], target.output_count)
    most = len(forest.trees)
    for count in sorted({max(1, round(most * share)) for share in np.geomspace(0.05, 1, MOST_STAGES)}):
        yield spec.shrinkage, forest.tensors(count), count


def _require_few_categories(inputs: Inputs) -> None:
    """Refuse columns of more categories than trees can divide, as ``unseen_categories: error`` makes them.

    Raises:
        TrainingError: Names them.
    """
    many = [f"{name!r} has {len(names)}" for name, names in inputs.levels.items() if len(names) > MOST_CATEGORIES]
    if many:
        raise TrainingError(
            f"Gradient boosting divides at most {MOST_CATEGORIES} categories of a column, but {', '.join(many)}. Let "
            "the rare ones share a level (normalized.unseen_categories: code), or use model.kind: linear or mlp."
        )


@dataclass(frozen=True)
class _Forest:
    """Trees as tensors of ``Trees``, without roots and baseline.

    Attributes:
        trees: For each step of boosting, a tree per output.
        baseline: What the trees are added to, (O,).
    """

    trees: list[list[dict[str, Tensor]]]
    baseline: Floats

    def tensors(self, count: int) -> dict[str, Tensor]:
        """Return the tensors of a network of the trees of the first steps."""
        trees = [tree for step in self.trees[:count] for tree in step]
        nodes = np.cumsum([0, *(len(tree["feature"]) for tree in trees)])
        rows = np.cumsum([0, *(len(tree["members"]) for tree in trees)])
        joined: dict[str, list[Tensor]] = {name: [] for name in trees[0]}
        for tree, node, row in zip(trees, nodes, rows, strict=False):
            for name, value in tree.items():
                if name in ("left", "right"):
                    value = value + int(node)
                elif name == "members_of":
                    value = torch.where(value >= 0, value + int(row), value)
                joined[name].append(value)
        depth = torch.stack(joined.pop("depth")).max()
        members = joined.pop("members")
        codes = max(each.shape[1] for each in members)
        sides = [torch.cat(joined.pop(name)) for name in ("right", "left")]
        return {
            **{name: torch.cat(values) for name, values in joined.items()},
            "members": torch.cat([each if each.shape[1] == codes else each.new_zeros(0, codes) for each in members]),
            "ways": torch.stack(sides, 1).reshape(-1),
            "depth": depth,
            "roots": torch.from_numpy(nodes[:-1].copy()),
            "baseline": torch.from_numpy(self.baseline).float(),
        }


def _side_by_side(forests: Sequence[_Forest]) -> _Forest:
    """Return forests of one output each as one of several outputs."""
    steps = max(len(forest.trees) for forest in forests)
    still = _leaf()
    trees = [
        [tree for forest in forests for tree in (forest.trees[step] if step < len(forest.trees) else [still])]
        for step in range(steps)
    ]
    return _Forest(trees, np.concatenate([forest.baseline for forest in forests]))


def _certain_forest(logit: float) -> _Forest:
    return _Forest([], np.array([logit]))


def _leaf() -> dict[str, Tensor]:
    """Return a tree that adds nothing."""
    whole = torch.zeros(1, dtype=torch.int64)
    return {
        **dict.fromkeys(("feature", "left", "right"), whole),
        "members_of": whole - 1,
        "threshold": torch.zeros(1),
        "value": torch.zeros(1),
        "members": torch.zeros(0, 1, dtype=torch.bool),
        "depth": torch.zeros((), dtype=torch.int64),
    }


def _forest_of(model: Any, codes: int) -> _Forest:
    """Return the trees of scikit-learn's model; a category that it did not see goes where missing values go.

    Args:
        model: Fitted gradient boosting.
        codes: Number of codes of categories, the last of which stands for all that it did not see.
    """
    is_code = np.zeros(model.n_features_in_, bool) if model.is_categorical_ is None else model.is_categorical_
    order = np.concatenate([np.flatnonzero(is_code), np.flatnonzero(~is_code)])  # codes come first within it
    known = model._preprocessor.named_transformers_["encoder"].categories_ if is_code.any() else []
    trees = [[_tree_of(predictor, order, known, codes) for predictor in step] for step in model._predictors]
    return _Forest(trees, np.asarray(model._baseline_prediction, np.float64).reshape(-1))


def _tree_of(predictor: Any, order: NDArray[np.int64], known: Sequence[Floats], codes: int) -> dict[str, Tensor]:
    nodes = predictor.nodes
    places, is_leaf = np.arange(len(nodes)), nodes["is_leaf"].astype(bool)
    divides = nodes["is_categorical"].astype(bool) & ~is_leaf
    members = np.zeros((int(divides.sum()), codes), bool)
    for row, node in enumerate(nodes[divides]):
        members[row] = bool(node["missing_go_to_left"])
        bits = np.unpackbits(predictor.raw_left_cat_bitsets[node["bitset_idx"]].view(np.uint8), bitorder="little")
        for number, code in enumerate(known[node["feature_idx"]]):
            members[row, int(code)] = bool(bits[number])
    rows = np.where(divides, np.cumsum(divides) - 1, -1)
    threshold = np.where(is_leaf | divides, 0.0, nodes["num_threshold"])
    below = threshold.astype(np.float32)
    below = np.where(below > threshold, np.nextafter(below, np.float32(-np.inf)), below)  # rows are float32
    whole = {
        "feature": np.where(is_leaf, 0, order[nodes["feature_idx"]]),
        "left": np.where(is_leaf, places, nodes["left"]),
        "right": np.where(is_leaf, places, nodes["right"]),
        "members_of": rows,
    }
    return {
        **{name: torch.from_numpy(values.astype(np.int64)) for name, values in whole.items()},
        "threshold": torch.from_numpy(below.astype(np.float32)),
        "value": torch.from_numpy(np.where(is_leaf, nodes["value"], 0.0).astype(np.float32)),
        "members": torch.from_numpy(members),
        "depth": torch.tensor(int(nodes["depth"].max())),
    }


def _require_equal(forest: _Forest, models: Sequence[Any], rows: Floats, output_count: int) -> None:
    """Refuse trees that give other numbers than scikit-learn's, whose inner form another version may change."""
    network = Trees(output_count)
    network.set_trees(forest.tensors(len(forest.trees)))
    ours = network(torch.from_numpy(rows).float())[:, -len(forest.baseline) :].double().numpy()
    for place, model in enumerate(models):
        if isinstance(model, float):
            continue
        theirs = model.decision_function(rows) if hasattr(model, "decision_function") else model.predict(rows)
        own = ours if len(models) == 1 else ours[:, place : place + 1]
        if np.abs(own - theirs.reshape(len(rows), -1)).max() > TOLERANCE * max(1.0, np.abs(theirs).max()):
            raise TrainingError(
                "The trees that were stored differ from those of scikit-learn, whose version may be too new. Install "
                "the version that constraints.txt names, or use model.kind: mlp."
            )
