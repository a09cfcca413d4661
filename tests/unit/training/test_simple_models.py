"""Simple models: they learn what is there to be learned, from training rows alone."""

import numpy as np
import polars as pl
import pytest

from assay.training.annotations import Annotations
from assay.training.prepare import prepare_training
from assay.training.simple_models import simple_predictions
from assay.training.tasks.base import TrainingRequest

SUBSETS = ["validation", "test"]
MULTI = {"input": "normalized", "multi_label": True}


@pytest.fixture
def predict(tiny_spec):
    """Give ``predict(source, task, **keys)``: name and rows of the best simple model of what a network would learn."""

    def run(source, task="regression", subsets=SUBSETS, seed=0, **keys):
        card = prepare_training(TrainingRequest(tiny_spec(**keys), task, 1, Annotations(source))).card
        return simple_predictions(card, source, subsets, seed)

    return run


@pytest.fixture(scope="module")
def number_rows():
    """300 rows: ``linear`` is a sum of the columns, ``stepped`` depends on one of them in steps."""
    values = np.random.default_rng(3).normal(size=(300, 4))
    subset = ["train"] * 200 + ["validation"] * 50 + ["test"] * 50
    items = [f"{index:04d}" for index in range(300)]
    columns = {f"c{place}": values[:, place] for place in range(4)}
    linear, stepped = values @ [1.0, -2.0, 0.5, 3.0], np.floor(values[:, 0] * 2) % 2
    known = {"item": items, "image": items, "subset": subset, "label": stepped.astype(int).astype(str)}
    return pl.DataFrame({**known, "target": linear, **columns}).with_columns(stepped=pl.Series(stepped))


@pytest.mark.system
def test_the_simple_model_is_the_one_that_is_best_on_the_validation_data(number_rows, store_rows, predict):
    rows = number_rows.drop("stepped")
    name, predicted = predict(store_rows(rows))
    assert name == "linear model"
    assert (predicted["prediction"] - predicted["target"]).abs().max() < 0.05
    stepped = rows.with_columns(target=number_rows["stepped"] * 100)
    name, predicted = predict(store_rows(stepped, "bbbb"))
    assert name == "gradient boosting"
    assert (predicted["prediction"] - predicted["target"]).abs().median() < 10


def test_classes_and_their_probabilities(number_rows, store_rows, predict):
    name, predicted = predict(
        store_rows(number_rows.drop("stepped")), "classification", data_description={"input": "normalized"}
    )
    assert name == "gradient boosting"
    assert (predicted["target_class"] == predicted["predicted_class"]).mean() > 0.8
    assert predicted.columns == [
        "item",
        "image",
        "subset",
        "target_class",
        "predicted_class",
        "confidence",
        "prob_0",
        "prob_1",
    ]


def test_several_labels_have_a_linear_model_each_and_a_class_that_all_have_its_share(pixel_rows, store_rows, predict):
    classes = [
        "0",
        "1",
        {"name": "any", "subclasses": ["0", "1", "2", "3"]},
        {"name": "rest", "subclasses": ["2", "3"]},
    ]
    name, predicted = predict(store_rows(pixel_rows), "multi_label", data_description={**MULTI, "classes": classes})
    assert name == "linear model"
    assert (predicted["target_labels"] == predicted["predicted_labels"]).mean() > 0.9
    assert predicted["prob_any"].min() == 1.0


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.system
def test_pictures_are_described_by_gradients(store_crops, predict, task):
    name, predicted = predict(store_crops(), task, data_description={"input": "crops"}, model={"kind": "cnn"})
    assert name == "HOG and a linear model"
    assert predicted["subset"].unique().sort().to_list() == ["test", "validation"]
    if task == "classification":
        assert (predicted["target_class"] == predicted["predicted_class"]).mean() > 0.8


@pytest.mark.system
def test_the_answer_to_a_test_item_is_not_learned(number_rows, store_rows, predict):
    rows = number_rows.drop("stepped")
    _, before = predict(store_rows(rows))
    other = rows.with_columns(target=pl.when(pl.col("subset") == "test").then(-pl.col("target")).otherwise("target"))
    _, after = predict(store_rows(other, "bbbb"))
    assert before["prediction"].equals(after["prediction"])


def test_the_same_seed_gives_the_same_predictions(number_rows, store_rows, predict):
    source = store_rows(number_rows.drop("stepped").with_columns(target=number_rows["stepped"]))
    assert predict(source, seed=5)[1].equals(predict(source, seed=5)[1])


def test_predictions_of_the_training_items_are_those_of_all_of_them(number_rows, store_rows, predict):
    _, predicted = predict(store_rows(number_rows.drop("stepped")), subsets=["train", "test"])
    assert predicted.group_by("subset").len().sort("subset").rows() == [("test", 50), ("train", 200)]


def test_a_model_that_was_trained_on_other_data_has_none(number_rows, store_rows, tiny_spec):
    rows = number_rows.drop("stepped")
    card = prepare_training(TrainingRequest(tiny_spec(), "regression", 1, Annotations(store_rows(rows)))).card
    assert simple_predictions(card, store_rows(rows, "bbbb"), SUBSETS, 0) is None
