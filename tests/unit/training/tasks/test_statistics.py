"""What the reports of training and prediction say about the data of each subset."""

import polars as pl
import pytest

from assay.spec.predictions import PredictionsSection
from assay.training.annotations import Annotations
from assay.training.class_targets import ClassTarget, LabelsTarget
from assay.training.data import DataSource, read_subsets
from assay.training.image_targets import BoxTarget, MaskTarget
from assay.training.predictions import build_predictions
from assay.training.targets import NumberTarget
from assay.training.tasks.statistics import data_statistics
from assay.training.trained_model import build_trained_model
from tests.helpers.image_cases import CLASSES, LABELS, write_splits

ROWS = Annotations(DataSource("normalized", None, "nnnn"))


def rows(**columns):
    return pl.DataFrame({"item": [str(number) for number in range(len(next(iter(columns.values()))))], **columns})


def of_subset(task, target, table):
    return data_statistics(task, ROWS, target, {"train": table})["train"]


@pytest.mark.defect("A2")
@pytest.mark.system
def test_each_subset_is_counted_by_itself(pixel_rows, store_rows, tiny_spec, tmp_path):
    source, model, predictions = store_rows(pixel_rows), tmp_path / "model", tmp_path / "predictions"
    for folder in (model, predictions):
        folder.mkdir()
    trained = build_trained_model(tiny_spec(), "regression", 1, source, model)["data"]
    spec = PredictionsSection(datasets=("train", "validation", "test"), prediction_steps=1, batch_size=18)
    predicted = build_predictions(spec, "regression", 1, source, model, predictions)["data"]
    assert {name: each["items"] for name, each in trained.items()} == {"train": 64, "validation": 16}
    assert {name: each["items"] for name, each in predicted.items()} == {"train": 18, "validation": 16, "test": 18}
    targets = pixel_rows.filter(pl.col("subset") == "validation")["target"]
    assert trained["validation"]["target"] == predicted["validation"]["target"]
    assert trained["validation"]["target"]["mean"] == pytest.approx(targets.mean())
    assert trained["train"]["target"] != predicted["train"]["target"]


def test_numbers_have_a_range_and_unknown_ones_do_not_count():
    target = NumberTarget(column="price", mean=0, std=1)
    statistics = of_subset("regression", target, rows(price=[2.0, None, 4.0, float("nan")]))
    assert statistics == {"items": 4, "labelled": 2, "target": {"min": 2.0, "mean": 3.0, "max": 4.0, "std": 1.0}}
    assert of_subset("regression", target, rows(price=pl.Series([None], dtype=pl.Float64)))["labelled"] == 0


def test_classes_are_counted_those_that_do_not_occur_too():
    target = ClassTarget(column="label", classes=("even", "odd", "none"), mapping={"2": "even", "3": "odd"})
    statistics = of_subset("classification", target, rows(label=["2", "3", "2", None]))
    assert statistics == {
        "items": 4,
        "labelled": 3,
        "classes": {"even": 2, "odd": 1, "none": 0},
        "counted": "items of the class",
    }


def test_items_of_several_classes_count_for_each():
    places = {"cat": (0,), "dog": (1,)}
    target = LabelsTarget(column="label", classes=("cat", "dog"), places=places, separator="|", thresholds=(0.5, 0.5))
    statistics = of_subset("multi_label", target, rows(label=["cat|dog", "dog", "", None]))
    assert (statistics["labelled"], statistics["classes"]) == (3, {"cat": 1, "dog": 2})


@pytest.mark.parametrize(
    ("task", "target", "counted", "test_counts"),
    [
        ("detection", BoxTarget(classes=CLASSES, mapping=LABELS), {"cat": 2, "dog": 1}, {"cat": 1, "dog": 2}),
        ("segmentation", MaskTarget(classes=CLASSES, mapping=LABELS), {"cat": 1, "dog": 1}, {"cat": 1, "dog": 2}),
    ],
)
def test_images_have_sizes_and_their_objects_are_counted(task, target, counted, test_counts, tmp_path):
    write_splits(tmp_path / "splits")
    source = DataSource("splits", tmp_path / "splits", "ssss")
    statistics = data_statistics(task, Annotations(source), target, read_subsets(source, ["train", "test"], "label"))
    assert {name: each["items"] for name, each in statistics.items()} == {"train": 1, "test": 3}
    assert statistics["train"]["classes"] == counted
    assert statistics["test"]["classes"] == test_counts
    assert statistics["test"]["width_px"] == statistics["test"]["height_px"] == {"min": 64, "median": 64.0, "max": 64}


@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_images_without_truth_are_items_but_not_labelled(task, tmp_path):
    write_splits(tmp_path / "splits")
    source = DataSource("splits", tmp_path / "splits", "ssss")
    kind = {"detection": BoxTarget, "segmentation": MaskTarget}[task]
    test = read_subsets(source, ["test"], "label")["test"].with_columns(labelled=pl.col("item") != "a")
    statistics = data_statistics(task, Annotations(source), kind(classes=CLASSES, mapping=LABELS), {"test": test})[
        "test"
    ]
    assert (statistics["items"], statistics["labelled"], statistics["classes"]) == (3, 2, {"cat": 0, "dog": 1})
