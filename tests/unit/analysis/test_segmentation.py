import json

import numpy as np
import polars as pl
import pytest
from PIL import Image

from assay.analysis.build import TASK_ANALYSES, build_analysis, compute_analysis, report_of
from assay.checks import ExperimentFiles, run_test
from assay.errors import DataError
from assay.spec.analysis import AnalysisSection
from assay.spec.exptests import BeatsBaselineTest, MetricTest, NoMissingValuesTest
from tests.helpers.image_cases import SIDE, TEST, write_image_inputs

NAMES = ("background", "cat", "dog")
COLUMNS = {
    "item": pl.String,
    "subset": pl.String,
    "target_class": pl.String,
    "predicted_class": pl.String,
    "pixels": pl.Int64,
}


def true_masks():
    masks = {}
    for item, content in TEST.items():
        masks[item] = np.zeros((SIDE, SIDE), np.uint8)
        for label, left, top, width, height in content:
            masks[item][top : top + height, left : left + width] = NAMES.index(label)
    return masks


def counted(truth, predicted):
    """Confusion counts, as predictions are stored."""
    rows = []
    for item, mask in truth.items():
        pairs, counts = np.unique(np.stack([mask.ravel(), predicted[item].ravel()]), axis=1, return_counts=True)
        rows += [(item, "test", NAMES[t], NAMES[p], int(n)) for (t, p), n in zip(pairs.T, counts, strict=True)]
    return pl.DataFrame(rows, COLUMNS, orient="row")


def flawed_masks():
    """The dog of the first image is taken for a cat, half of that of the second is not seen."""
    masks = true_masks()
    masks["a"][masks["a"] == 2] = 1
    masks["b"][:42] = 0
    return masks


@pytest.fixture
def analyse(tmp_path):
    """Analyse confusion counts; returns the report and the tables."""

    def run(predictions, **keys):
        inputs = write_image_inputs(tmp_path, predictions, "segmentation")
        spec = AnalysisSection(result_analyzer={"bootstrap_samples": 50, **keys})
        analysis = compute_analysis(inputs, spec.result_analyzer, 1)
        return report_of(analysis, TASK_ANALYSES["segmentation"]), analysis.tables

    return run


def value(tables, metric, class_name="", column="value"):
    row = tables["analysis"].row(
        by_predicate=(pl.col("metric") == metric) & (pl.col("class") == class_name), named=True
    )
    return row[column]


@pytest.mark.defect("A16")
def test_the_analysis_of_masks_has_iou_per_class_that_tests_can_ask_for(analyse, tmp_path):
    report, tables = analyse(counted(true_masks(), flawed_masks()))
    assert report["summary"].startswith("mean IoU 0.")
    assert "on test, 3 images; baseline (commonest object class) 0." in report["summary"]
    json.dumps(report, allow_nan=False)
    for name, table in tables.items():
        table.write_parquet(tmp_path / f"{name}.parquet")
    paths = {name: tmp_path / f"{name}.parquet" for name in tables}
    files = ExperimentFiles(analysis=paths["analysis"], tables=paths)
    missing = run_test(NoMissingValuesTest(), files)
    assert missing.passed, missing.description
    assert run_test(BeatsBaselineTest(metric="foreground_iou"), files).passed
    assert run_test(MetricTest(metric="iou", class_name="cat", value=0.5), files).passed


@pytest.mark.defect("A16")
@pytest.mark.system
def test_the_analysis_of_masks_draws_them_beside_the_best_and_worst_images(tmp_path):
    predicted = flawed_masks()
    inputs = write_image_inputs(tmp_path, counted(true_masks(), predicted), "segmentation")
    (tmp_path / "masks").mkdir()
    for item, mask in predicted.items():
        Image.fromarray(mask, "P").save(tmp_path / "masks" / f"{item}.png")
    folder = tmp_path / "analysis"
    folder.mkdir()
    build_analysis(inputs, AnalysisSection(result_analyzer={"bootstrap_samples": 50}), 1, folder)
    pictures = {path.stem: path.read_bytes() for path in (folder / "pictures").iterdir()}
    assert set(pictures) == {"best_items", "classes", "confusion_matrix", "metrics", "worst_items"}
    assert max(map(len, pictures.values())) <= 150_000


def test_metrics_are_those_of_all_pixels_together(analyse):
    _, tables = analyse(counted(true_masks(), flawed_masks()))
    assert value(tables, "iou", "cat") == pytest.approx(400 / 800)
    assert value(tables, "iou", "dog") == pytest.approx(12 * 24 / (400 + 24 * 24))
    assert value(tables, "mean_iou") == pytest.approx((0.5 + 288 / 976) / 2)
    assert value(tables, "foreground_iou") == pytest.approx((800 + 288) / (800 + 576))


def test_baselines_know_the_commonest_classes_of_the_training_masks(analyse):
    _, tables = analyse(counted(true_masks(), flawed_masks()))
    total = 3 * SIDE**2
    assert value(tables, "pixel_accuracy", column="baseline") == pytest.approx((total - 800 - 576) / total)
    assert value(tables, "pixel_accuracy", column="baseline_name") == "majority class"
    assert value(tables, "iou", "cat", "baseline") == pytest.approx(400 / total)
    assert value(tables, "iou", "dog", "baseline") == 0.0


def test_images_without_annotations_are_not_scored(analyse):
    known = counted(true_masks(), flawed_masks())
    unknown = known.filter(pl.col("item") == "a").with_columns(item=pl.lit("new"), target_class=pl.lit(None, pl.String))
    report, tables = analyse(pl.concat([known, unknown]))
    assert report["rows"] == {"test": 3}
    assert "new" not in tables["worst_items"]["item"]


def test_the_worst_images_come_first_with_the_reason(analyse):
    _, tables = analyse(counted(true_masks(), flawed_masks()))
    worst = tables["worst_items"]
    assert worst["item"].to_list() == ["a", "b"]
    assert worst["reason"].to_list() == ["100% of dog taken for cat", "50% of dog taken for background"]
    assert tables["best_items"]["item"].to_list() == ["b", "a"]


def test_the_next_step_names_the_worst_class_and_whether_it_is_missed_or_confused(analyse):
    report, _ = analyse(counted(true_masks(), flawed_masks()))
    assert report["next"].startswith("Worst class: dog, IoU 0.295; of its pixels 30% are taken for background, 41% for")
    assert "confused more than missed" in report["next"]


def test_perfect_masks_have_no_worst_image(analyse):
    report, tables = analyse(counted(true_masks(), true_masks()))
    assert value(tables, "mean_iou") == 1.0
    assert tables["worst_items"].is_empty()
    assert "no mistake on test" in report["next"]


def test_counts_that_can_not_be_scored_are_refused_with_every_problem(analyse):
    rows = [("a", "test", "cow", "cat", 3), ("a", "test", "cat", "cat", None), ("a", "train", "cat", "cat", 1)]
    with pytest.raises(DataError) as caught:
        analyse(pl.DataFrame(rows, COLUMNS, orient="row"))
    assert "target_class has 'cow', which is no class of the model (background, cat, dog)" in str(caught.value)
    assert "column 'pixels' has 1 missing value" in str(caught.value)
    assert "subsets 'train' and 'test' are the same 1 item" in str(caught.value)
