"""How often printed intervals hold the truth: ``python -m tests.campaigns.coverage --seed 1 --count 200``.

Each cell draws ``count`` data sets of one kind and size, and counts for every metric how many of its 95% intervals hold
the value that endless data of that kind have; of pairs, the difference of two models of the same items; of folds, the
mean over them. Wanted: 93 to 97% wherever an interval is printed, or none. A cell fails where so few hold it that
chance alone explains it in less than 1 of 1,000 cases.
"""

import argparse
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from assay.comparison.repeats import interval_of_mean
from assay.metrics.intervals import intervals
from assay.metrics.paired import paired_intervals
from assay.metrics.registry import get_metric
from assay.metrics.samples import ClassificationSample, RegressionSample, Sample
from assay.spec.analysis import TASK_METRICS

SIZES = (30, 100, 400, 2000)
ENDLESS = 400_000
RESAMPLES = 500


@dataclass(frozen=True)
class Kind:
    """One kind of data.

    Attributes:
        name: For the table.
        task: What is predicted.
        draw: Returns a sample of a size.
    """

    name: str
    task: str
    draw: Callable[[np.random.Generator, int], Sample]


@dataclass(frozen=True)
class PairKind:
    """Two models of the same items.

    Attributes:
        name: For the table.
        task: What is predicted.
        draw: Returns both samples of a size.
    """

    name: str
    task: str
    draw: Callable[[np.random.Generator, int], tuple[Sample, Sample]]


def pair_of_numbers(
    errors: Callable[[np.random.Generator, int], np.ndarray], scale: float
) -> Callable[[np.random.Generator, int], tuple[Sample, Sample]]:
    """Return a drawer of numbers whose errors share half of their variance; the second model's own are scaled."""

    def draw(rng: np.random.Generator, size: int) -> tuple[Sample, Sample]:
        target, shared = rng.normal(0, 3, size), errors(rng, size)
        first, second = (0.7 * (shared + each * errors(rng, size)) for each in (1.0, scale))
        weights = np.ones((1, size))
        return RegressionSample(target, target + first, weights), RegressionSample(target, target + second, weights)

    return draw


def pair_of_classes(
    accuracies: tuple[float, float], count: int
) -> Callable[[np.random.Generator, int], tuple[Sample, Sample]]:
    """Return a drawer of classes; what is hard is hard for both models on 6 of 10 items."""

    def one(rng: np.random.Generator, accuracy: float, target: np.ndarray, hard: np.ndarray) -> Sample:
        size = len(target)
        right = np.where(rng.random(size) < 0.6, hard, rng.random(size)) < accuracy
        predicted = np.where(right, target, (target + rng.integers(1, count, size)) % count)
        sure = rng.uniform(max(1 / count, 0.5) + 0.01, 1, size)
        probabilities = np.repeat(((1 - sure) / (count - 1))[:, None], count, axis=1)
        probabilities[np.arange(size), predicted] = sure
        return ClassificationSample(target, predicted, probabilities, np.ones((1, size)))

    def draw(rng: np.random.Generator, size: int) -> tuple[Sample, Sample]:
        target, hard = rng.integers(0, count, size), rng.random(size)
        return one(rng, accuracies[0], target, hard), one(rng, accuracies[1], target, hard)

    return draw


def numbers(errors: Callable[[np.random.Generator, int], np.ndarray]) -> Callable[[np.random.Generator, int], Sample]:
    """Return a drawer of predicted numbers with these errors; the targets are normal with a deviation of 3."""

    def draw(rng: np.random.Generator, size: int) -> Sample:
        target = rng.normal(0, 3, size)
        return RegressionSample(target, target + errors(rng, size), np.ones((1, size)))

    return draw


def classes(accuracy: float, count: int, calibrated: bool) -> Callable[[np.random.Generator, int], Sample]:
    """Return a drawer of classes, predicted rightly with this probability whatever the class."""

    def draw(rng: np.random.Generator, size: int) -> Sample:
        target = rng.integers(0, count, size)
        right = rng.random(size) < accuracy
        predicted = np.where(right, target, (target + rng.integers(1, count, size)) % count)
        sure = np.full(size, accuracy) if calibrated else rng.uniform(max(1 / count, 0.5) + 0.01, 1, size)
        probabilities = np.repeat(((1 - sure) / (count - 1))[:, None], count, axis=1)
        probabilities[np.arange(size), predicted] = sure
        return ClassificationSample(target, predicted, probabilities, np.ones((1, size)))

    return draw


def heavy(degrees: float) -> Callable[[np.random.Generator, int], np.ndarray]:
    """Return Student's errors."""
    return lambda rng, size: rng.standard_t(degrees, size)


KINDS = (
    Kind("normal errors", "regression", numbers(lambda rng, size: rng.normal(size=size))),
    Kind("Student's errors, 3 degrees", "regression", numbers(heavy(3))),
    Kind("Student's errors, 4 degrees", "regression", numbers(heavy(4))),
    Kind(
        "lognormal errors",
        "regression",
        numbers(lambda rng, size: np.exp(rng.normal(size=size)) * rng.choice([-1, 1], size)),
    ),
    *(
        Kind(
            f"{count} classes, accuracy {accuracy}{', calibrated' if calibrated else ''}",
            "classification",
            classes(accuracy, count, calibrated),
        )
        for count in (2, 5)
        for accuracy in (0.55, 0.9, 0.985)
        for calibrated in (False, True)
    ),
)


PAIRS = (
    PairKind("pair: normal errors", "regression", pair_of_numbers(lambda rng, size: rng.normal(size=size), 1.2)),
    PairKind("pair: equal normal errors", "regression", pair_of_numbers(lambda rng, size: rng.normal(size=size), 1.0)),
    PairKind("pair: Student's errors, 4 degrees", "regression", pair_of_numbers(heavy(4), 1.2)),
    *(
        PairKind(f"pair: {count} classes, {one} and {other}", "classification", pair_of_classes((one, other), count))
        for count, one, other in ((5, 0.55, 0.6), (5, 0.9, 0.93), (2, 0.9, 0.9), (2, 0.98, 0.985))
    ),
)


@dataclass(frozen=True)
class Cell:
    """What became of one metric in one cell.

    Attributes:
        kind: Of the data.
        size: Number of items.
        metric: Its name, with the class where it has one value each.
        printed: Number of intervals.
        held: How many of them hold the truth.
    """

    kind: str
    size: int
    metric: str
    printed: int
    held: int

    @property
    def fails(self) -> bool:
        """Whether an interval that holds the truth in 93 of 100 cases would do so badly in less than 1 of 1,000."""
        if not self.printed:
            return False
        deviation = np.sqrt(self.printed * 0.93 * 0.07)
        return bool(self.held < self.printed * 0.93 - 3.1 * deviation - 0.5)

    def __str__(self) -> str:
        share = f"{self.held / self.printed:.3f}" if self.printed else "none"
        return f"{self.kind:<36} {self.size:>4} {self.metric:<20} {self.printed:>4} printed, {share} hold the truth"


def measure(kind: Kind | PairKind, size: int, count: int, seed: int) -> Iterator[Cell]:
    """Yield every metric's cell."""
    metrics = {name: get_metric(name, kind.task) for name in TASK_METRICS[kind.task]}
    rng = np.random.default_rng([seed, size, sum(kind.name.encode())])
    drawn = kind.draw(rng, ENDLESS)
    *first, endless = drawn if isinstance(drawn, tuple) else (drawn,)
    metrics = {name: metric for name, metric in metrics.items() if _is_defined(metric.class_count, endless)}
    truths = {name: metric.compute(endless)[0] for name, metric in metrics.items()}
    for other in first:
        truths = {name: truths[name] - metric.compute(other)[0] for name, metric in metrics.items()}
    held = {name: np.zeros_like(truth) for name, truth in truths.items()}
    printed = {name: np.zeros_like(truth) for name, truth in truths.items()}
    for _ in range(count):
        drawn, settings = kind.draw(rng, size), {"resamples": RESAMPLES, "confidence": 0.95}
        find = paired_intervals if isinstance(drawn, tuple) else intervals
        ends = find(metrics, drawn, np.arange(size), rng, **settings)
        for name, (low, high) in ends.items():
            printed[name] = printed[name] + ~np.isnan(low)
            held[name] = held[name] + ((low <= truths[name]) & (truths[name] <= high))
    for name in metrics:
        yield Cell(kind.name, size, name, int(np.sum(printed[name])), int(np.sum(held[name])))


def _is_defined(class_count: int | None, sample: Sample) -> bool:
    return class_count in (None, len(sample.class_counts))


FOLDS, FOLDED_SIZES, SEPARATIONS, FEATURES = (3, 5, 10), (60, 200, 1000), (0.8, 1.2), 10
TRUTHS = 60
"""Trainings on data of their own whose mean accuracy is the truth of a model that learns from so many items."""


def measure_folds(size: int, folds: int, separation: float, count: int, seed: int) -> Cell:
    """Return how often the interval of the mean accuracy over the folds of one data set holds that of endless data."""
    rng = np.random.default_rng([seed, size, folds, int(separation * 10)])
    unseen = _two_clouds(rng, 20_000, separation)
    learned = size - size // folds
    truth = np.mean([_accuracy(_two_clouds(rng, learned, separation), unseen) for _ in range(TRUTHS)])
    printed = held = 0
    for _ in range(count):
        features, target = _two_clouds(rng, size, separation)
        fold = rng.permutation(size) % folds
        values = [
            _accuracy((features[fold != each], target[fold != each]), (features[fold == each], target[fold == each]))
            for each in range(folds)
        ]
        ends = interval_of_mean(values, 1 / (folds - 1))
        printed += ends is not None
        held += ends is not None and ends[0] <= truth <= ends[1]
    return Cell(f"{folds} folds, separation {separation}", size, "mean accuracy", printed, held)


def _two_clouds(rng: np.random.Generator, size: int, separation: float) -> tuple[np.ndarray, np.ndarray]:
    target = rng.choice([-1.0, 1.0], size)
    features = rng.normal(size=(size, FEATURES))
    features[:, 0] += separation * target
    return features, target


def _accuracy(learned: tuple[np.ndarray, np.ndarray], tested: tuple[np.ndarray, np.ndarray]) -> float:
    """Return the accuracy of a linear model, by least squares."""
    columns = [np.column_stack([features, np.ones(len(features))]) for features, _ in (learned, tested)]
    weights = np.linalg.solve(columns[0].T @ columns[0] + np.eye(FEATURES + 1), columns[0].T @ learned[1])
    return float(np.mean(np.sign(columns[1] @ weights) == tested[1]))


def main() -> int:
    """Print a line per cell, and those that fail once more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=200, help="data sets per cell")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="items per data set")
    options = parser.parse_args()
    failed = []
    for cell in _cells(options.sizes, options.count, options.seed):
        print(cell, flush=True)
        failed += [cell] * cell.fails
    print("\n".join([f"\n{len(failed)} cells failed", *map(str, failed)]))
    return 1 if failed else 0


def _cells(sizes: Sequence[int], count: int, seed: int) -> Iterator[Cell]:
    for kind in (*KINDS, *PAIRS):
        for size in sizes:
            yield from measure(kind, size, count, seed)
    for size, folds, separation in itertools.product(FOLDED_SIZES, FOLDS, SEPARATIONS):
        yield measure_folds(size, folds, separation, count, seed)


if __name__ == "__main__":
    raise SystemExit(main())
