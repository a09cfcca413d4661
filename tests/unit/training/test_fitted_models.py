"""Linear models and gradient boosting as an experiment's model: they learn, are stored, and give the same bytes."""

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from assay.datasets.scaling import CategoricalInfo
from assay.errors import SpecError, TrainingError
from assay.spec.predictions import PlainFunction
from assay.spec.trained_model import TrainedModelSection
from assay.storage.parquet import read_parquet
from assay.training.fitted_models import boosting
from assay.training.inputs import Inputs, load_inputs
from assay.training.model_file import CHOSEN, load_model
from assay.training.tasks.item_level import predict_items, way_to_predict
from assay.training.trained_model import HISTORY, build_trained_model

pytestmark = pytest.mark.system

COUNTS = {"train": 400, "validation": 100, "test": 100}
FEW = {"trees": 40}
TOWNS = CategoricalInfo(name="town", dtype="String", values=tuple("abcdefgh"), unseen_code=8, levels=8)


@pytest.fixture(scope="module")
def rows():
    """600 rows whose target depends on a number and, with another sign per town, on a second one."""
    rng = np.random.default_rng(5)
    count = sum(COUNTS.values())
    age, size, town = rng.normal(size=count), rng.normal(size=count), rng.integers(0, 8, count)
    target = 2 * age + size * np.where(town % 3 == 0, 3.0, -1.0) + town
    thirds = np.digitize(target, np.quantile(target, [0.3, 0.7]))
    return pl.DataFrame(
        {
            "item": [f"{row:04d}" for row in range(count)],
            "subset": [name for name, times in COUNTS.items() for _ in range(times)],
            "label": thirds.astype(str),
            "target": target,
            "age": age,
            "size": size,
            "town": town,
        }
    )


@pytest.fixture
def fit(rows, store_rows, tmp_path):
    """Give ``fit(kind, task, …)``: report and predictions of the test rows, as numbers or probabilities."""

    def run(kind="gradient_boosting", task="regression", name="result", rows=rows, model=(), **keys):
        source = store_rows(rows, infos=(TOWNS,))
        (folder := tmp_path / name).mkdir()
        threads = {} if kind == "auto" else {"threads": 1}
        keys["train_params"] = {**threads, **keys.get("train_params", {})}
        keys["data_description"] = {"input": "normalized", **keys.get("data_description", {})}
        chosen = {"kind": kind, **(FEW if kind == "gradient_boosting" else {}), **dict(model)}
        section = TrainedModelSection.model_validate({"model": chosen, "net_data": {"samples": 3}, **keys})
        report = build_trained_model(section, task, 1, source, folder)
        model = load_model(folder / CHOSEN)
        test = rows.filter(pl.col("subset") == "test")
        values = load_inputs(model.card.inputs, source, test, 1)
        predicted = predict_items(values, 64, None, way_to_predict(model, PlainFunction()), 0)
        return report, model.card.item_target.columns(predicted, test), folder

    return run


def mae(table):
    return (table["prediction"] - table["target"]).abs().mean()


def accuracy(table):
    return (table["predicted_class"] == table["target_class"]).mean()


def test_trees_and_linear_models_learn_numbers(fit):
    report, boosted, _ = fit()
    assert report["model"] == "gradient_boosting"
    assert report["parameters"] > 100
    _, linear, _ = fit("linear", name="linear")
    trivial = (boosted["target"] - boosted["target"].median()).abs().mean()
    assert 0 < mae(boosted) < 0.75 * mae(linear) < 0.75 * 0.75 * trivial


def test_they_learn_classes(fit):
    _, boosted, _ = fit(task="classification")
    _, linear, _ = fit("linear", task="classification", name="linear")
    assert accuracy(boosted) > 0.75
    assert accuracy(linear) > 0.5


@pytest.mark.parametrize("kind", ["linear", "gradient_boosting"])
def test_two_classes_and_several_labels(fit, rows, kind):
    two = rows.with_columns(label=pl.when(pl.col("target") > 3).then(pl.lit("high")).otherwise(pl.lit("low")))
    _, predicted, _ = fit(kind, "classification", "two", two)
    assert accuracy(predicted) > 0.8
    labels = two.with_columns(
        label=pl.col("label") + pl.when(pl.col("age") > 0).then(pl.lit(",old")).otherwise(pl.lit(""))
    )
    labels = labels.with_columns(label=pl.col("label") + ",all")
    described = {"multi_label": True, "label_separator": ","}
    _, predicted, _ = fit(kind, "multi_label", "labels", labels, data_description=described)
    assert (predicted["predicted_labels"].list.sort() == predicted["target_labels"].list.sort()).mean() > 0.6
    assert predicted["prob_all"].min() > 0.99


@threadpool_limits.wrap(1)  # OpenMP's threads spin, which on a busy machine takes a hundred times as long
def test_the_stored_trees_are_those_of_scikit_learn(fit, rows):
    train, test = (rows.filter(pl.col("subset") == name) for name in ("train", "test"))
    columns = ["age", "size", "town"]
    inputs = [each.select(columns).cast(pl.Float32).to_numpy().astype(float) for each in (train, test)]
    keys = {"max_iter": 40, "early_stopping": False, "random_state": 1, "categorical_features": [2]}
    _, predicted, _ = fit(train_params={"choose_epoch": "last"})
    mean, std = train["target"].mean(), train["target"].std(ddof=0)
    model = HistGradientBoostingRegressor(loss="absolute_error", **keys)
    model.fit(inputs[0], ((train["target"] - mean) / std).cast(pl.Float32).to_numpy())
    assert predicted["prediction"].to_numpy() == pytest.approx(model.predict(inputs[1]) * std + mean, abs=1e-4 * std)
    _, predicted, _ = fit(
        task="classification",
        name="classes",
        train_params={"choose_epoch": "last"},
    )
    model = HistGradientBoostingClassifier(**keys).fit(inputs[0], train["label"].cast(int).to_numpy())
    assert predicted.select("^prob_.*$").to_numpy() == pytest.approx(model.predict_proba(inputs[1]), abs=1e-5)


def test_equal_specs_give_equal_bytes_and_the_history_is_that_of_the_choice(fit):
    one, two = (fit(name=name)[2] for name in ("one", "two"))
    files = [path.relative_to(one) for path in one.rglob("*") if path.is_file()]
    assert {str(name) for name in files} >= {CHOSEN, HISTORY, "train_logs.csv", "model.json"}
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in files)
    history = read_parquet(one / HISTORY)
    losses = history.filter((pl.col("subset") == "validation") & (pl.col("metric") == "loss"))["value"]
    assert len(losses) > 5
    assert load_model(one / CHOSEN).card.epoch == losses.arg_min() + 1


def test_an_unknown_category_goes_with_those_that_were_missing(fit, rows):
    unknown = rows.with_columns(town=pl.when(pl.col("subset") == "test").then(8).otherwise("town"))
    for kind in ("linear", "gradient_boosting"):
        _, predicted, _ = fit(kind, name=kind, rows=unknown)
        assert predicted["prediction"].is_finite().all()


def test_without_validation_data_the_last_is_kept(fit):
    keys = {"data_validation": None, "train_params": {"choose_epoch": "last"}}
    report, predicted, _ = fit("linear", **keys)
    assert (report["epochs"], report["chosen_by"]) == (1, "last epoch")
    assert mae(predicted) < 3


def test_class_weights_count(fit, rows):
    rare = rows.with_columns(label=pl.when(pl.col("target") > 9).then(pl.lit("rare")).otherwise(pl.lit("usual")))
    found = {}
    for name, weights in (("plain", None), ("balanced", "balanced")):
        learner = {"learner": {"class_weights": weights}}
        _, predicted, _ = fit("linear", "classification", name, rare, **learner)
        found[name] = (predicted["predicted_class"] == "rare").sum()
    assert found["balanced"] > found["plain"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"learner": {"learning_rate": 0.5}},
            "learner.learning_rate is set, but model.kind 'linear' is fitted at once",
        ),
        ({"train_params": {"epochs": 7}}, "train_params.epochs is set"),
        ({"train_params": {"early_stopping": {"patience": 3}}}, "train_params.early_stopping is set"),
        ({"train_params": {"processes": 2}}, "train_params.processes is set"),
        ({"data_train": {"batch_size": 7}}, "data_train.batch_size is set"),
        ({"data_train": {"augmentation": {"noise": 0.1}}}, "data_train.augmentation is set"),
        ({"starting_weights": {"path": "a.safetensors"}}, "starting_weights is set"),
    ],
)
def test_keys_of_a_training_in_steps_are_refused(fit, keys, message):
    with pytest.raises(SpecError) as caught:
        fit("linear", **keys)
    assert message in str(caught.value)


def test_images_are_no_rows(tmp_path, store_crops):
    section = TrainedModelSection.model_validate({"model": {"kind": "linear"}})
    with pytest.raises(
        SpecError, match=r"model\.kind 'linear' reads rows of a table, but the inputs are crops; use model"
    ):
        build_trained_model(section, "classification", 1, store_crops(), tmp_path)


def test_rows_in_a_batch_are_those_one_by_one(fit):
    _, _, folder = fit()
    network = load_model(folder / CHOSEN).network
    batch = torch.randn(9, 3, generator=torch.Generator().manual_seed(0)) * 4
    assert torch.equal(network(batch), torch.cat([network(row) for row in batch.split(1)]))
    assert network(torch.full((1, 3), torch.nan)).isnan().all()


def test_auto_is_the_kind_that_is_best_on_the_validation_data(fit, rows, caplog):
    with caplog.at_level("INFO", "assay.training"):
        report, _, folder = fit("auto")
    card = load_model(folder / CHOSEN).card
    assert set(card.candidates) == {"linear", "gradient_boosting", "mlp"}
    best = min(card.candidates, key=card.candidates.get)
    assert (report["model"], card.section.model.kind) == (best, best)
    assert best != "linear"
    assert card.candidates[best] == card.values["loss"] == report["validation_loss"]
    assert report["choice"].startswith(
        f"{best} was chosen: its loss on validation is {card.values['loss']:.4g}, that of "
    )
    assert report["choice"] in caplog.text
    _, _, lone_folder = fit(best, name="alone", model={"width": 128} if best == "mlp" else {"trees": None})
    assert (lone_folder / HISTORY).read_bytes() == (folder / HISTORY).read_bytes()
    straight = rows.with_columns(target=3 * pl.col("age") - pl.col("size"))
    assert fit("auto", rows=straight, name="straight")[0]["model"] == "linear"


def test_auto_compares_by_the_metric_that_chooses_the_epoch(fit):
    report, predicted, folder = fit("auto", "classification", train_params={"metric": "accuracy"})
    card = load_model(folder / CHOSEN).card
    assert report["validation_accuracy"] == max(card.candidates.values())
    assert accuracy(predicted) > 0.7


def test_more_categories_than_trees_can_divide_are_refused_with_the_next_step(rows, store_rows, tmp_path):
    names = tuple(f"town {place:03d}" for place in range(300))
    many = TOWNS.model_copy(update={"values": names, "unseen_code": None, "levels": len(names)})
    source = store_rows(rows.with_columns(town=pl.int_range(len(rows)) % len(names)), infos=(many,))
    chosen = {"model": {"kind": "gradient_boosting", "trees": 5}, "data_description": {"input": "normalized"}}
    told = r"at most 255 categories of a column, but 'town' has 300\. Let .* \(normalized\.unseen_categories: code\)"
    with pytest.raises(TrainingError, match=told):
        build_trained_model(TrainedModelSection.model_validate(chosen), "regression", 1, source, tmp_path)


def test_the_baseline_takes_more_categories_than_trees_can_divide_for_numbers():
    levels = {"town": ("a",) * 256, "color": ("a",) * 255}
    inputs = Inputs(view="columns", columns=("age", "town", "color"), levels=levels)
    assert boosting(True, 1, inputs).categorical_features == [2]
