import io
import json

import polars as pl
import pytest
from PIL import Image

from assay.analysis.build import TASK_ANALYSES, build_analysis, compute_analysis, report_of
from assay.checks import ExperimentFiles, run_test
from assay.errors import DataError
from assay.spec.analysis import AnalysisSection
from assay.spec.exptests import BeatsBaselineTest, MetricTest, NoMissingValuesTest
from tests.helpers.image_cases import TEST, write_image_inputs

COLUMNS = {
    "item": pl.String,
    "subset": pl.String,
    "predicted_class": pl.String,
    **dict.fromkeys(("confidence", "x_px", "y_px", "width_px", "height_px"), pl.Float32),
}
RIGHT = [("a", "cat", 0.9, 4, 4, 20, 20), ("a", "dog", 0.8, 40, 40, 20, 20), ("b", "dog", 0.7, 10, 30, 24, 24)]
WRONG = [
    ("a", "cat", 0.9, 4, 4, 20, 20),  # right
    ("a", "cat", 0.8, 6, 4, 20, 20),  # the same cat again
    ("a", "cat", 0.7, 40, 40, 20, 20),  # a dog
    ("b", "dog", 0.6, 24, 30, 24, 24),  # beside the dog
    ("empty", "dog", 0.5, 0, 0, 9, 9),  # nothing there
]


def boxes(*rows):
    return pl.DataFrame([(item, "test", *rest) for item, *rest in rows], COLUMNS, orient="row")


@pytest.fixture
def analyse(tmp_path):
    """Analyse predicted boxes; returns the report and the tables."""

    def run(predictions, images=TEST, unlabelled=(), **keys):
        inputs = write_image_inputs(tmp_path, predictions, "detection", images, unlabelled)
        spec = AnalysisSection(result_analyzer={"bootstrap_samples": 50, **keys})
        analysis = compute_analysis(inputs, spec.result_analyzer, 1)
        return report_of(analysis, TASK_ANALYSES["detection"]), analysis.tables

    return run


def matches(tables):
    return tables["detections"].select("item", "match", "predicted_class", "target_class").rows()


@pytest.mark.defect("A16")
def test_the_analysis_of_boxes_has_average_precision_per_class_that_tests_can_ask_for(analyse, tmp_path):
    report, tables = analyse(boxes(*WRONG))
    assert set(tables["analysis"].filter(pl.col("metric") == "ap50_95")["class"]) == {"cat", "dog"}
    assert report["summary"].startswith("mAP@50:95 0.")
    assert "on test, 3 images; baseline (mean box of each class) 0." in report["summary"]
    json.dumps(report, allow_nan=False)
    files = written(tables, tmp_path)
    missing = run_test(NoMissingValuesTest(), files)
    assert missing.passed, missing.description
    assert run_test(BeatsBaselineTest(metric="map50"), files).passed
    assert run_test(MetricTest(metric="ap50", class_name="cat", value=0.5), files).passed


def written(tables, folder):
    """Write tables as the stage does; returns them as experiment tests see them."""
    for name, table in tables.items():
        table.write_parquet(folder / f"{name}.parquet")
    return ExperimentFiles(
        analysis=folder / "analysis.parquet", tables={name: folder / f"{name}.parquet" for name in tables}
    )


@pytest.mark.defect("A16")
@pytest.mark.system
def test_the_analysis_of_boxes_draws_them_on_the_best_and_worst_images(tmp_path):
    inputs = write_image_inputs(tmp_path, boxes(*WRONG), "detection")
    folder = tmp_path / "analysis"
    folder.mkdir()
    build_analysis(inputs, AnalysisSection(result_analyzer={"bootstrap_samples": 50}), 1, folder)
    pictures = {path.stem: path.read_bytes() for path in (folder / "pictures").iterdir()}
    assert set(pictures) == {"best_items", "classes", "confusion_matrix", "curves", "metrics", "worst_items"}
    assert max(map(len, pictures.values())) <= 150_000
    assert Image.open(io.BytesIO(pictures["worst_items"])).width > 700


def test_perfect_boxes_score_1_and_say_so(analyse):
    report, tables = analyse(boxes(*RIGHT))
    assert set(tables["analysis"]["value"]) == {1.0}
    assert tables["worst_items"].is_empty()
    assert "no mistake on test" in report["next"]
    assert tables["best_items"]["item"].to_list() == ["a", "b"]


def test_boxes_below_the_chosen_confidence_have_no_finding(analyse):
    _, tables = analyse(boxes(*WRONG, ("b", "dog", 0.6, 24, 30, 24, 24)))
    confusion = tables["confusion_matrix"].filter(pl.col("count") > 0)
    assert matches(tables) == [("a", "found", "cat", "cat"), ("a", "missed", None, "dog"), ("b", "missed", None, "dog")]
    assert confusion.rows() == [("test", "cat", "cat", 1), ("test", "dog", "background", 2)]


def test_boxes_from_the_confidence_with_the_best_f1_on_are_judged(analyse):
    everything = [(item, name, 0.9, *place) for item, name, _, *place in WRONG]
    _, tables = analyse(boxes(*everything))
    assert sorted(matches(tables)) == [
        ("a", "confused class", "cat", "dog"),
        ("a", "duplicate", "cat", "cat"),
        ("a", "found", "cat", "cat"),
        ("b", "misplaced", "dog", "dog"),
        ("b", "missed", None, "dog"),
        ("empty", "background", "dog", None),
    ]
    reasons = dict(tables["worst_items"].select("item", "reason").iter_rows())
    assert reasons == {
        "a": "1 confused (dog as cat); 1 false (cat)",
        "b": "1 missed (dog); 1 false (dog)",
        "empty": "1 false (dog)",
    }


def test_the_next_step_names_the_weakest_class_and_what_goes_wrong(analyse):
    report, _ = analyse(boxes(*RIGHT[:1], ("b", "cat", 0.9, 10, 30, 24, 24)), bootstrap_samples=0)
    assert report["next"].startswith("Weakest class at confidence 0.90: dog, F1 0.000. Objects: 2")
    assert "missed 1, taken for others 1, mostly cat" in report["next"]


def test_without_a_predicted_box_every_object_is_missed_and_nothing_is_better_than_the_baseline(analyse):
    report, tables = analyse(boxes())
    assert set(tables["analysis"].filter(pl.col("class") == "")["value"]) == {0.0}
    assert [row[1] for row in matches(tables)] == ["missed"] * 3
    assert "no better than the mean box of each class" in report["next"]


def test_images_without_annotations_are_not_scored(analyse):
    report, tables = analyse(boxes(*WRONG), unlabelled=["a"])
    assert report["rows"] == {"test": 2}
    assert "a" not in tables["detections"]["item"]


def test_objects_of_labels_outside_the_classes_do_not_count(analyse):
    _, tables = analyse(boxes(*RIGHT), images={**TEST, "a": [*TEST["a"], ("tree", 0, 50, 9, 9)]})
    assert set(tables["analysis"]["value"]) == {1.0}


def test_subclasses_count_as_their_class(analyse):
    images = {"a": TEST["a"], "b": [("puppy", 10, 30, 24, 24)], "empty": []}
    _, tables = analyse(boxes(*RIGHT), images=images)
    assert set(tables["analysis"]["value"]) == {1.0}


def test_the_curve_of_all_classes_marks_the_confidence_with_the_best_f1(analyse):
    _, tables = analyse(boxes(*RIGHT, ("empty", "dog", 0.2, 0, 0, 9, 9)))
    whole = tables["curves"].filter(pl.col("class") == "")
    assert whole["threshold"].to_list() == pytest.approx([0.9, 0.8, 0.7, 0.2])
    assert whole["recall"].to_list() == pytest.approx([1 / 3, 2 / 3, 1, 1])
    assert whole["precision"].to_list() == [1, 1, 1, 0.75]
    assert whole["best"].to_list() == [False, False, True, False]


def test_boxes_that_can_not_be_scored_are_refused_with_every_problem(analyse):
    rows = boxes(("a", "cow", 0.9, 4, 4, 20, 20), ("a", "cat", None, 4, 4, 20, 20))
    with pytest.raises(DataError) as caught:
        analyse(rows)
    assert "predicted_class has 'cow', which is no class of the model (cat, dog)" in str(caught.value)
    assert "column 'confidence' has 1 missing value" in str(caught.value)


def test_the_baseline_is_the_mean_training_box_of_each_class(analyse):
    images = {"a": [("dog", 40, 4, 12, 12)]}
    _, tables = analyse(boxes(("a", "dog", 0.9, 40, 4, 12, 12)), images=images, metrics=["map50"])
    row = tables["analysis"].row(0, named=True)
    assert (row["baseline"], row["baseline_name"]) == (1.0, "mean box of each class")
