"""Simple models of the training rows, that a network must beat to be worth its trouble.

For rows a linear model and gradient boosting (Friedman, Annals of Statistics 29, 2001; scikit-learn's histograms), for
pictures of single objects a linear model on histograms of oriented gradients (Dalal and Triggs, CVPR 2005). The one
that is best on the validation data is shown.

Belongs here: fitting and applying them. Does not belong here: trivial predictions (``assay.metrics.samples``).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from threadpoolctl import threadpool_limits

from assay.metrics.samples import Floats
from assay.training.class_targets import ClassTarget
from assay.training.data import DataSource, read_subsets
from assay.training.fitted_models import boosting
from assay.training.inputs import Inputs, load_inputs, with_levels
from assay.training.model_card import ModelCard
from assay.training.targets import ItemTarget, NumberTarget

MOST_ROWS, MOST_PICTURES = 20_000, 4_000
"""Training items, drawn at random, that are learned from: enough for a few seconds."""

SIDE_BESIDE_OTHERS = 48
"""Side in pixels of the pictures of the simple model beside a network of others, which reads ones of 224 and more."""

Predictor = Callable[[Floats], Floats]
"""From features (n, d) to what ``ItemTarget.columns`` takes: probabilities (n, k), or standardized numbers (n, 1)."""


def simple_predictions(
    card: ModelCard, source: DataSource, subsets: Sequence[str], seed: int
) -> tuple[str, pl.DataFrame] | None:
    """Return the name of the best simple model, and what it predicts for some subsets.

    Args:
        card: Of the network; its inputs and its target are the simple model's.
        source: The data that were predicted.
        subsets: Which of its subsets were.
        seed: Of the draw of training items and of the models.

    Returns:
        A name for readers, such as ``gradient boosting``, and the same rows and columns as those of the stage
        ``predictions``. None for whole images, where the network was trained on other data, and where fewer than two
        classes can be learned.

    Raises:
        DataError: The data can't be read.
    """
    if card.task in ("segmentation", "detection") or card.trained_on != {source.kind: source.fingerprint}:
        return None
    target, section = card.item_target, card.section
    train = section.data_train.subset
    validation = section.data_validation.subset if section.data_validation else ""
    names = dict.fromkeys(filter(None, [train, validation, *subsets]))
    rows = read_subsets(source, list(names), target.column)
    known = {name: each.filter(target.ground_truth(each).is_not_null()) for name, each in rows.items()}
    learned = _drawn(known[train], MOST_PICTURES if card.inputs.image_size else MOST_ROWS, seed)
    features = {name: _features(card, source, each) for name, each in {**rows, train: learned}.items()}
    everything = {**features, train: _features(card, source, rows[train])} if train in subsets else features
    targets = target.encode(learned).numpy()
    with threadpool_limits(1):  # OpenMP's threads spin, which on a busy machine takes a hundred times as long
        models = _candidates(target, card.inputs)
        fitted = {name: fit(features[train], targets, seed) for name, fit in models.items()}
        usable = {name: predictor for name, predictor in fitted.items() if predictor is not None}
        if not usable:
            return None
        errors = {name: _error(predictor, features, rows, target, validation) for name, predictor in usable.items()}
        best = min(errors, key=lambda name: errors[name])
        parts = [_predicted(usable[best], everything[subset], rows[subset], target, subset) for subset in subsets]
    return best, pl.concat(parts)


def _drawn(rows: pl.DataFrame, most: int, seed: int) -> pl.DataFrame:
    if len(rows) <= most:
        return rows
    return rows[np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False))]


def _features(card: ModelCard, source: DataSource, rows: pl.DataFrame) -> Floats:
    """Return the network's inputs as float64 (n, d): columns, with codes, or histograms of gradients of pictures."""
    inputs = card.inputs
    if card.backbone is not None:
        inputs = inputs.model_copy(update={"image_size": min(inputs.image_size, SIDE_BESIDE_OTHERS)})
    items = load_inputs(inputs, source, rows, card.section.train_params.threads).numpy()
    if not inputs.image_size:
        return items.astype(np.float64)
    from skimage.feature import hog  # half a second, which only pictures need

    grey = items.mean(axis=1) / 255
    size = max(inputs.image_size // 6, 2)
    described = [hog(each, 9, (size, size), (2, 2), block_norm="L2-Hys") for each in grey]
    return np.array(described, dtype=np.float64).reshape(len(items), -1)


def _predicted(
    predictor: Predictor, features: Floats, rows: pl.DataFrame, target: ItemTarget, subset: str
) -> pl.DataFrame:
    named = [pl.col("item"), *([pl.col("image")] if "image" in rows.columns else []), pl.lit(subset).alias("subset")]
    return rows.select(named).hstack(target.columns(torch.from_numpy(predictor(features)), rows))


def _error(
    predictor: Predictor,
    features: Mapping[str, Floats],
    rows: Mapping[str, pl.DataFrame],
    target: ItemTarget,
    validation: str,
) -> float:
    """Return the mean error on the validation data: of numbers, or the share of wrong classes; 0 without such data."""
    if not validation:
        return 0.0
    predicted = _predicted(predictor, features[validation], rows[validation], target, validation)
    if isinstance(target, NumberTarget):
        error = (pl.col("prediction") - pl.col("target")).abs()
    elif isinstance(target, ClassTarget):
        error = pl.col("predicted_class") != pl.col("target_class")
    else:
        error = pl.col("predicted_labels") != pl.col("target_labels")
    mean = predicted.select(error.cast(pl.Float64).mean()).item()
    return float("inf") if mean is None else float(mean)


Fit = Callable[[Floats, Any, int], Predictor | None]


def _candidates(target: ItemTarget, inputs: Inputs) -> Mapping[str, Fit]:
    if isinstance(target, NumberTarget):
        models: dict[str, Fit] = {
            "linear model": _linear_numbers,
            "gradient boosting": lambda features, targets, seed: _boosted_numbers(features, targets, seed, inputs),
        }
    elif isinstance(target, ClassTarget):
        classes = target.output_count
        models = {
            "linear model": lambda features, targets, seed: _linear_classes(features, targets, classes),
            "gradient boosting": lambda features, targets, seed: _boosted_classes(
                features, targets, seed, classes, inputs
            ),
        }
    else:
        models = {"linear model": _linear_labels}
    if inputs.levels:
        models["linear model"] = _of_levels(models["linear model"], inputs)
    return {"HOG and a linear model": models["linear model"]} if inputs.image_size else models


def _of_levels(fit: Fit, inputs: Inputs) -> Fit:
    """Return the same, of an input per level in place of codes, which are no quantity."""

    def expanded(features: Floats) -> Floats:
        return np.asarray(with_levels(inputs, torch.from_numpy(features)).numpy(), np.float64)

    def fit_expanded(features: Floats, targets: Any, seed: int) -> Predictor | None:
        predictor = fit(expanded(features), targets, seed)
        return None if predictor is None else lambda values: predictor(expanded(values))

    return fit_expanded


def _linear_numbers(features: Floats, targets: Floats, seed: int) -> Predictor:
    from sklearn.linear_model import RidgeCV

    model = _scaled(RidgeCV(alphas=np.logspace(-3, 4, 15))).fit(features, targets)
    return lambda values: np.asarray(model.predict(values), np.float64)[:, None]


def _boosted_numbers(features: Floats, targets: Floats, seed: int, inputs: Inputs) -> Predictor:
    model = boosting(True, seed, inputs).fit(features, targets)
    return lambda values: np.asarray(model.predict(values), np.float64)[:, None]


def _linear_classes(features: Floats, targets: Any, classes: int) -> Predictor | None:
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(targets)) < 2:
        return None
    model = _scaled(LogisticRegression(max_iter=300)).fit(features, targets)
    return lambda values: _all_classes(model.predict_proba(values), model.classes_, classes)


def _boosted_classes(features: Floats, targets: Any, seed: int, classes: int, inputs: Inputs) -> Predictor | None:
    if len(np.unique(targets)) < 2:
        return None
    steps = 100 if classes == 2 else 40  # each step makes one tree per class
    model = boosting(False, seed, inputs, max_iter=steps).fit(features, targets)
    return lambda values: _all_classes(model.predict_proba(values), model.classes_, classes)


def _linear_labels(features: Floats, targets: Floats, seed: int) -> Predictor:
    columns = [_linear_classes(features, targets[:, place].astype(int), 2) for place in range(targets.shape[1])]
    shares = targets.mean(axis=0)

    def predict(values: Floats) -> Floats:
        return np.stack(
            [
                np.full(len(values), share) if column is None else column(values)[:, 1]
                for column, share in zip(columns, shares, strict=True)
            ],
            axis=1,
        )

    return predict


def _scaled(model: Any) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), model)


def _all_classes(probabilities: Floats, learned: Any, classes: int) -> Floats:
    """Return probabilities (n, k) of all classes; those that were not learned have 0."""
    every = np.zeros((len(probabilities), classes))
    every[:, learned] = probabilities
    return every
