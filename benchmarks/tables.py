"""Tables of people's own: the default model beside ridge, forests and gradient boosting on the same rows.

Made tables have 20,000 rows with categories of 50 levels, skewed numbers and interactions; the same with 10% of its
cells missing, and with classes; and a target with 5% outliers. Small ones are scikit-learn's. Every contender learns
from the rows of train and is measured on those of test, once per seed. ``python -m benchmarks.tables --csv FILE
--target COLUMN`` measures any table instead, with ``--task classification`` classes, with ``--kinds auto,mlp,linear``
further models.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from benchmarks.rows import Row, at_most
from tests.helpers.trained import TrainedProject

LEVELS, CATEGORIES, SKEWED, PLAIN = 50, 3, 3, 3
DEFAULT = "auto"
SEEDS = 3
MOST_CPU_S = 20.0
MOST_MAE_WITH_OUTLIERS = 65.0

Errors = NDArray[np.float64]
"""Error of each test row, in the order of the items."""


def made_table(rows: int, seed: int) -> pl.DataFrame:
    """Return a table whose target depends on levels, on logarithms of skewed numbers, and on products of both."""
    rng = np.random.default_rng(seed)
    levels = [rng.integers(0, LEVELS, rows) for _ in range(CATEGORIES)]
    skewed = [np.exp(1.5 * rng.normal(size=rows)) for _ in range(SKEWED)]
    plain = [rng.normal(size=rows) for _ in range(PLAIN)]
    effects = np.random.default_rng(99).normal(size=(CATEGORIES + 1, LEVELS))
    target = sum(effects[place][level] for place, level in enumerate(levels))
    target = target + 0.6 * np.log(skewed[0]) + 0.4 * np.log(skewed[1]) * plain[0] + np.sin(2 * plain[1])
    target = target + 0.7 * effects[-1][levels[0]] * plain[2] + 0.6 * rng.normal(size=rows)
    columns: dict[str, Any] = {
        f"town_{place}": [f"t{each:02d}" for each in level] for place, level in enumerate(levels)
    }
    columns |= {f"income_{place}": values for place, values in enumerate(skewed)}
    columns |= {f"score_{place}": values for place, values in enumerate(plain)}
    return pl.DataFrame({**columns, "target": target})


def with_gaps(table: pl.DataFrame, seed: int, share: float = 0.1) -> pl.DataFrame:
    """Return the table with a share of the cells of its features missing."""
    rng = np.random.default_rng(seed)
    features = [name for name in table.columns if name != "target"]
    return table.with_columns(
        pl.when(pl.Series(rng.random(len(table)) >= share)).then(pl.col(name)).alias(name) for name in features
    )


def with_outliers(rows: int, seed: int) -> pl.DataFrame:
    """Return a table of skewed features, of whose targets 5% are far away."""
    rng = np.random.default_rng(seed)
    skewed = np.exp(1.5 * rng.normal(size=(rows, 5)))
    target = 60 * np.log(skewed[:, 0]) + 40 * np.log(skewed[:, 1]) * (skewed[:, 2] > 1) + 10 * rng.normal(size=rows)
    far = rng.random(rows) < 0.05
    target = target + far * rng.normal(size=rows) * 600
    return pl.DataFrame({**{f"x{place}": skewed[:, place] for place in range(5)}, "target": target})


def with_classes(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table with three classes in place of the number."""
    bounds = [table["target"].quantile(share) for share in (0.33, 0.67)]
    return table.with_columns(pl.col("target").cut(bounds, labels=["low", "middle", "high"]).cast(pl.String))


@dataclass(frozen=True)
class Case:
    """A table to learn from, anew for each seed.

    Attributes:
        name: For the rows of results.
        table: From a seed to the table; its target is the column ``target``.
        is_number: Whether that is a number.
        others: The contenders.
        target: Name of the column.
    """

    name: str
    table: Callable[[int], pl.DataFrame]
    is_number: bool
    others: tuple[str, ...] = ("linear", "boosting")
    target: str = "target"

    @property
    def unit(self) -> str:
        """What an error is."""
        return "MAE" if self.is_number else "share wrong"


def contender(name: str, train: pl.DataFrame, test: pl.DataFrame, case: Case) -> tuple[Errors, float]:
    """Return the errors of something simple, and its CPU seconds."""
    texts = [each for each, kind in train.schema.items() if kind == pl.String and each != case.target]
    numbers = [each for each in train.columns if each not in (*texts, case.target)]
    started = time.process_time()
    model = (_linear if name == "linear" else _trees)(name, texts, numbers, case.is_number)
    frames = [each.with_columns(pl.col(texts).fill_null("")) for each in (train, test)]
    answers = [each[case.target].to_numpy() for each in frames]
    model.fit(frames[0].drop(case.target), answers[0])
    predicted = model.predict(frames[1].drop(case.target))
    spent = time.process_time() - started
    wrong = np.abs(predicted - answers[1]) if case.is_number else predicted != answers[1]
    return wrong.astype(np.float64), spent


def _linear(_: str, texts: list[str], numbers: list[str], is_number: bool) -> Any:
    coded = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=3)
    parts = [
        ("numbers", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), numbers),
        ("texts", make_pipeline(SimpleImputer(strategy="constant", fill_value=""), coded), texts),
    ]
    last = RidgeCV(alphas=np.logspace(-3, 4, 15)) if is_number else LogisticRegression(max_iter=500)
    return make_pipeline(ColumnTransformer(parts), last)


def _trees(name: str, texts: list[str], numbers: list[str], is_number: bool) -> Any:
    coder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
    columns = ColumnTransformer([("texts", coder, texts), ("numbers", "passthrough", numbers)])
    codes = list(range(len(texts))) or None
    if name == "forest":
        last = RandomForestRegressor(random_state=0) if is_number else RandomForestClassifier(random_state=0)
    elif is_number:
        loss = "absolute_error" if "absolute" in name else "squared_error"
        last = HistGradientBoostingRegressor(loss=loss, categorical_features=codes, random_state=0)
    else:
        last = HistGradientBoostingClassifier(categorical_features=codes, random_state=0)
    return make_pipeline(columns, last)


def ours(folder: Path, kind: str, case: Case, seed: int) -> tuple[Errors, float, Any]:
    """Return errors and CPU seconds of the whole chain, and its results."""
    project = TrainedProject(folder)
    source = {"kind": "table", "path": str(folder / "table.csv"), "target_column": case.target}
    values = {
        "task": "regression" if case.is_number else "classification",
        "seed": seed,
        "generated_images": {"source": source},
        "trained_model": {} if kind == DEFAULT else {"model": {"kind": kind}},
    }
    name = f"{kind.replace('_', '-')}-{seed}"
    with pytest.MonkeyPatch.context() as patch:
        project.enter(patch)
        project.write(name, values)
        started = time.process_time()
        made = project.run(name, until="predictions")
        spent = time.process_time() - started
    found = pl.read_parquet(made["predictions"].folder / "predictions.parquet").filter(pl.col("subset") == "test")
    error = (
        (pl.col("prediction") - pl.col("target")).abs()
        if case.is_number
        else pl.col("predicted_class") != pl.col("target_class")
    )
    errors = found.sort("item").select(error.cast(pl.Float64)).to_series().to_numpy()
    return errors, spent, made


@dataclass
class Measured:
    """What was found out about a case.

    Attributes:
        case: The table.
        errors: Of each contender, the errors of each seed; ours are among them by their kind.
        cpu_s: Of each contender, the CPU seconds of each seed.
        kinds: Ours.
        chosen: Kind of model that the default was, per seed.
    """

    case: Case
    errors: dict[str, list[Errors]] = field(default_factory=dict)
    cpu_s: dict[str, list[float]] = field(default_factory=dict)
    kinds: tuple[str, ...] = (DEFAULT,)
    chosen: list[str] = field(default_factory=list)

    def add(self, name: str, errors: Errors, cpu_s: float) -> None:
        """Add the outcome of one seed."""
        self.errors.setdefault(name, []).append(errors)
        self.cpu_s.setdefault(name, []).append(cpu_s)

    def error(self, name: str) -> float:
        """Median over the seeds of the mean error."""
        return statistics.median(float(each.mean()) for each in self.errors[name])

    @property
    def best(self) -> str:
        """The best of the others."""
        return min((name for name in self.errors if name not in self.kinds), key=self.error)

    def beside_the_best(self) -> tuple[float, float]:
        """Return how much worse the default is than the best other, and the half width of its 95% interval."""
        pairs = zip(self.errors[self.kinds[0]], self.errors[self.best], strict=True)
        differences = np.concatenate([own - other for own, other in pairs])
        return float(differences.mean()), float(1.96 * differences.std() / np.sqrt(len(differences)))

    def note(self, name: str) -> str:
        """Return what a contender cost, and which kind the default was."""
        cost = f"{statistics.median(self.cpu_s[name]):.1f} CPU seconds"
        return f"{cost}; {', '.join(dict.fromkeys(self.chosen))}" if name == DEFAULT and self.chosen else cost


def measure(case: Case, seeds: int, kinds: Sequence[str] = (DEFAULT,)) -> Measured:
    """Let everyone learn from the same rows, once per seed."""
    measured = Measured(case, kinds=tuple(kinds))
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as place:
            case.table(seed).write_csv(Path(place) / "table.csv")
            for kind in kinds:
                errors, spent, made = ours(Path(place), kind, case, seed)
                measured.add(kind, errors, spent)
                if kind == DEFAULT:
                    measured.chosen.append(str(made["trained_model"].report["model"]))
            rows = pl.read_parquet(made["tabular"].folder / "tabular.parquet").sort("item")
            parts = [rows.filter(pl.col("subset") == each).drop("item", "subset") for each in ("train", "test")]
            for other in case.others:
                measured.add(other, *contender(other, parts[0], parts[1], case))
    return measured


def rows_of(measured: Measured, most: float | None = None) -> list[Row]:
    """Return a row per contender; the default shall be level with the best other, or reach a number of its own."""
    case, first = measured.case, measured.kinds[0]
    limit = 1.05 * measured.error(measured.best) if most is None else most
    rows = [
        Row(
            f"{case.name}: {name}",
            measured.error(name),
            case.unit,
            at_most(limit) if name == first else None,
            note=measured.note(name),
        )
        for name in measured.errors
    ]
    spent = statistics.median(measured.cpu_s[first])
    return [
        *rows,
        Row(f"{case.name}: {first}, CPU time of the whole chain", spent, "s", at_most(MOST_CPU_S, "machine")),
    ]


def small_rows(all_measured: Sequence[Measured]) -> list[Row]:
    """Return per small table how much worse than the best other the default is, and the median of all of them."""
    rows, shares = [], []
    for measured in all_measured:
        difference, half = measured.beside_the_best()
        found = ", ".join(f"{name} {measured.error(name):.3g}" for name in measured.errors)
        name = f"{measured.case.name}: how much worse than the best of the others ({measured.best})"
        rows.append(Row(name, difference, measured.case.unit, at_most(half), note=f"{found}; {measured.note(DEFAULT)}"))
        shares.append(difference / max(measured.error(measured.best), 1e-9))
    return [
        *rows,
        Row("small tables: median of these, as a share of the best", statistics.median(shares), "", at_most(0)),
    ]


def small_cases(rows: int) -> list[Case]:
    """Return scikit-learn's own tables, and Friedman's function; in small form with that many rows at most."""
    loaders = {
        "wine": (datasets.load_wine, False),
        "breast cancer": (datasets.load_breast_cancer, False),
        "iris": (datasets.load_iris, False),
        "diabetes": (datasets.load_diabetes, True),
        "digits as a table": (datasets.load_digits, False),
    }
    others = ("linear", "forest", "boosting")
    cases = [Case(name, partial(_loaded, load, rows), is_number, others) for name, (load, is_number) in loaders.items()]
    return [*cases, Case("Friedman's function, 5,000 rows", partial(_friedman, min(rows, 5000)), True, others)]


def _loaded(load: Callable[[], Any], rows: int, seed: int) -> pl.DataFrame:
    found = load()
    columns = {f"x{place}": values for place, values in enumerate(found.data.T)}
    is_class = found.target.dtype.kind == "i"
    target = [f"c{each}" for each in found.target] if is_class else found.target
    return pl.DataFrame({**columns, "target": target}).sample(fraction=1, shuffle=True, seed=seed).head(rows)


def _friedman(rows: int, seed: int) -> pl.DataFrame:
    values, target = datasets.make_friedman1(rows, noise=1.0, random_state=seed)
    return pl.DataFrame({**{f"x{place}": column for place, column in enumerate(values.T)}, "target": target})


def run(quick: bool = False) -> list[Row]:
    """Measure the made tables and the small ones; ``quick``: few rows, to see that it runs."""
    rows, seeds = (400, 1) if quick else (20_000, SEEDS)
    absolute = ("linear", "boosting", "boosting, absolute")
    made = [
        Case("20,000 rows", lambda seed: made_table(rows, seed), True, absolute),
        Case("the same, 10% of cells missing", lambda seed: with_gaps(made_table(rows, seed), seed), True, absolute),
        Case("the same, three classes", lambda seed: with_classes(made_table(rows, seed)), False),
    ]
    outliers = Case(
        "4,000 rows, 5% outliers in the target", lambda seed: with_outliers(rows // 5, seed), True, absolute
    )
    found = [row for case in made for row in rows_of(measure(case, seeds))]
    found += rows_of(measure(outliers, seeds), MOST_MAE_WITH_OUTLIERS)
    return found + small_rows([measure(case, seeds) for case in small_cases(100 if quick else 5000)])


def main() -> None:
    """Measure what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--target", default="target")
    parser.add_argument("--task", choices=("regression", "classification"), default="regression")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--kinds", default=DEFAULT)
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    if asked.csv:
        table, is_number = pl.read_csv(asked.csv), asked.task == "regression"
        case = Case(asked.csv.name, lambda _: table, is_number, ("linear", "forest", "boosting"), asked.target)
        found = rows_of(measure(case, asked.seeds, asked.kinds.split(",")))
    else:
        found = run(asked.quick)
    for row in found:
        print(f"{row.benchmark:90} {row.value:8.3f} {row.unit:12} {row.target_text():12} {row.note}")


if __name__ == "__main__":
    main()
