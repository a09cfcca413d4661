"""Tables of people's own: the default model, and the other kinds, beside ridge and gradient boosting on the same rows.

``python -m benchmarks.tables`` makes a table of 20,000 rows with categories of 50 levels, skewed numbers and
interactions; the same with 10% of its cells missing; its classes; and a target with 5% outliers. With ``--csv FILE
--target COLUMN`` it measures any table instead, with ``--task classification`` classes. Every contender learns from the
rows of train and is measured on those of test, once per seed.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from benchmarks.rows import Row, at_most
from tests.helpers.trained import TrainedProject

LEVELS, CATEGORIES, SKEWED, PLAIN = 50, 3, 3, 3
KINDS = ("mlp", "linear", "gradient_boosting")


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


def contender(name: str, train: pl.DataFrame, test: pl.DataFrame, target: str, is_number: bool) -> tuple[float, float]:
    """Return the error (MAE, or share of wrong classes) of something simple, and its CPU seconds."""
    texts = [each for each, kind in train.schema.items() if kind == pl.String and each != target]
    numbers = [each for each in train.columns if each not in (*texts, target)]
    started = time.process_time()
    model: Any
    if name.startswith("ridge"):
        coded = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=3)
        parts = [
            ("numbers", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), numbers),
            ("texts", make_pipeline(SimpleImputer(strategy="constant", fill_value=""), coded), texts),
        ]
        last = RidgeCV(alphas=np.logspace(-3, 4, 15)) if is_number else LogisticRegression(max_iter=500)
        model = make_pipeline(ColumnTransformer(parts), last)
    else:
        coder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
        columns = ColumnTransformer([("texts", coder, texts), ("numbers", "passthrough", numbers)])
        codes = list(range(len(texts))) or None
        loss = "absolute_error" if "absolute" in name else "squared_error"
        last = (
            HistGradientBoostingRegressor(loss=loss, categorical_features=codes, random_state=0)
            if is_number
            else HistGradientBoostingClassifier(categorical_features=codes, random_state=0)
        )
        model = make_pipeline(columns, last)
    frames = [each.with_columns(pl.col(texts).fill_null("")) for each in (train, test)]
    answers = [each[target].to_numpy() for each in frames]
    model.fit(frames[0].drop(target), answers[0])
    predicted = model.predict(frames[1].drop(target))
    spent = time.process_time() - started
    wrong = np.abs(predicted - answers[1]) if is_number else predicted != answers[1]
    return float(np.mean(wrong)), spent


def ours(
    folder: Path, kind: str, target: str, is_number: bool, seed: int, keys: dict[str, Any]
) -> tuple[float, float, Any]:
    """Return error and CPU seconds of the whole chain, and its results."""
    project = TrainedProject(folder)
    values = {
        "task": "regression" if is_number else "classification",
        "seed": seed,
        "generated_images": {"source": {"kind": "table", "path": str(folder / "table.csv"), "target_column": target}},
        "analysis": {"result_analyzer": {"bootstrap_samples": 20, "simple_models": False}},
        "trained_model": {} if kind == "mlp" else {"model": {"kind": kind}},
        **keys,
    }
    with pytest.MonkeyPatch.context() as patch:
        project.enter(patch)
        project.write(f"{kind.replace('_', '-')}-{seed}", values)
        started = time.process_time()
        made = project.run(f"{kind.replace('_', '-')}-{seed}", until="predictions")
        spent = time.process_time() - started
    found = pl.read_parquet(made["predictions"].folder / "predictions.parquet").filter(pl.col("subset") == "test")
    error = (
        (pl.col("prediction") - pl.col("target")).abs()
        if is_number
        else pl.col("predicted_class") != pl.col("target_class")
    )
    return float(found.select(error.cast(pl.Float64).mean()).item()), spent, made


def measure_table(
    name: str, tables: Callable[[int], pl.DataFrame], seeds: int, kinds: Sequence[str], target: str, is_number: bool
) -> list[Row]:
    """Return a row per contender, the median error over the seeds; our default shall be level with the best other."""
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as place:
            table = tables(seed)
            table.write_csv(Path(place) / "table.csv")
            for kind in kinds:
                *figures, made = ours(Path(place), kind, target, is_number, seed, {})
                found.setdefault(kind, []).append((figures[0], figures[1]))
            rows = pl.read_parquet(made["tabular"].folder / "tabular.parquet")
            parts = [rows.filter(pl.col("subset") == each).drop("item", "subset") for each in ("train", "test")]
            others = ("ridge", "boosting", "boosting, absolute") if is_number else ("ridge", "boosting")
            for other in others:
                found.setdefault(other, []).append(contender(other, parts[0], parts[1], target, is_number))
    unit = "MAE" if is_number else "share wrong"
    medians = {other: statistics.median(error for error, _ in values) for other, values in found.items()}
    best = min(value for other, value in medians.items() if other not in kinds)
    notes = {other: f"{statistics.median(cpu for _, cpu in values):.1f} CPU seconds" for other, values in found.items()}
    return [
        Row(
            f"{name}: {other}",
            medians[other],
            unit,
            at_most(1.05 * best) if other == kinds[0] else None,
            note=notes[other],
        )
        for other in found
    ]


def run(quick: bool = False, seeds: int = 1, kinds: Sequence[str] = KINDS) -> list[Row]:
    """Measure the made tables; ``quick``: few rows, to see that it runs."""
    rows = 400 if quick else 20_000
    cases: list[tuple[str, Callable[[int], pl.DataFrame], bool]] = [
        ("20,000 rows", lambda seed: made_table(rows, seed), True),
        ("the same, 10% of cells missing", lambda seed: with_gaps(made_table(rows, seed), seed), True),
        ("the same, three classes", lambda seed: with_classes(made_table(rows, seed)), False),
        ("4,000 rows, 5% outliers in the target", lambda seed: with_outliers(rows // 5, seed), True),
    ]
    return [
        row
        for name, tables, is_number in cases
        for row in measure_table(name, tables, seeds, kinds, "target", is_number)
    ]


def main() -> None:
    """Measure what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--target", default="target")
    parser.add_argument("--task", choices=("regression", "classification"), default="regression")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    kinds = asked.kinds.split(",")
    if asked.csv:
        table, is_number = pl.read_csv(asked.csv), asked.task == "regression"
        found = measure_table(asked.csv.name, lambda _: table, asked.seeds, kinds, asked.target, is_number)
    else:
        found = run(asked.quick, asked.seeds, kinds)
    for row in found:
        print(f"{row.benchmark:60} {row.value:8.3f} {row.unit:12} {row.target_text():12} {row.note}")


if __name__ == "__main__":
    main()
