import hashlib
import io
import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from PIL import Image

from assay.analysis.base import AnalysisInputs, SimplePredictions
from assay.analysis.build import TASK_ANALYSES, build_analysis, compute_analysis, report_of
from assay.errors import AssayError, DataError
from assay.spec.analysis import TASK_METRICS, AnalysisSection

DIGITS = ("0", "1", "2")
QUICK = {"bootstrap_samples": 200}


def classification_frame(counts, accuracy=0.8, seed=0):
    """Predictions that are right with the given probability, three items per image."""
    rng = np.random.default_rng(seed)
    parts = []
    for subset, count in counts.items():
        target = rng.integers(0, 3, count)
        predicted = np.where(rng.random(count) < accuracy, target, (target + 1) % 3)
        confidence = rng.uniform(0.5, 0.95, count)
        probabilities = np.repeat((1 - confidence)[:, None] / 2, 3, axis=1)
        probabilities[np.arange(count), predicted] = confidence
        columns = {
            "item": [f"{subset}_{index:04d}" for index in range(count)],
            "image": [f"{subset}_{index // 3}" for index in range(count)],
            "subset": [subset] * count,
            "target_class": [DIGITS[index] for index in target],
            "predicted_class": [DIGITS[index] for index in predicted],
            "confidence": confidence,
        }
        columns |= {f"prob_{name}": probabilities[:, index].astype(np.float32) for index, name in enumerate(DIGITS)}
        parts.append(pl.DataFrame(columns))
    return pl.concat(parts)


def regression_frame(counts, noise=0.5):
    rng = np.random.default_rng(0)
    parts = []
    for subset, count in counts.items():
        target = rng.uniform(0, 10, count)
        items = [f"{subset}_{index}" for index in range(count)]
        prediction = target + noise * rng.normal(size=count)
        columns = {"item": items, "subset": [subset] * count, "target": target, "prediction": prediction}
        parts.append(pl.DataFrame(columns))
    return pl.concat(parts)


@pytest.fixture
def ask(tmp_path):
    """Write predictions; returns what is needed to analyse them."""

    def write(frame, classes=DIGITS, crops_folder=None, train_target=None, **analyzer):
        task = "regression" if "target" in frame.columns else "classification"
        predictions = tmp_path / "predictions.parquet"
        frame.write_parquet(predictions)
        default = pl.Series([4.0, 6.0]) if task == "regression" else pl.Series(["0", "1", "1", "2"])
        target = default if train_target is None else train_target
        summary = target.alias("target").to_frame()
        inputs = AnalysisInputs(predictions, summary, task, classes if task == "classification" else (), crops_folder)
        return inputs, AnalysisSection(result_analyzer={**QUICK, **analyzer})

    return write


@pytest.fixture
def build(ask, tmp_path):
    """Write predictions and build the whole result; returns the report and the folder."""

    def run(frame, **keys):
        folder = tmp_path / f"analysis{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        inputs, spec = ask(frame, **keys)
        return build_analysis(inputs, spec, 1, folder), folder

    return run


@pytest.fixture
def analyse(ask):
    """Write predictions and compute the numbers only; returns the report and the tables."""

    def run(frame, seed=1, **keys):
        inputs, spec = ask(frame, **keys)
        analysis = compute_analysis(inputs, spec.result_analyzer, seed)
        return report_of(analysis, TASK_ANALYSES[inputs.task]), analysis.tables

    return run


def row_of(tables, subset, metric, class_name=""):
    wanted = (pl.col("subset") == subset) & (pl.col("metric") == metric) & (pl.col("class") == class_name)
    return tables["analysis"].row(by_predicate=wanted, named=True)


@pytest.mark.system
def test_classification_gives_tables_plots_and_two_sentences(build):
    report, folder = build(classification_frame({"validation": 60, "test": 300}))
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert files == [
        "analysis.parquet",
        "calibration.parquet",
        "confusion_matrix.parquet",
        "pictures/confusion_matrix.png",
        "pictures/metrics.png",
        "pictures/reliability.png",
        "suspicious_labels.parquet",
        "worst_items.parquet",
    ]
    assert report["summary"].startswith("accuracy 0.")
    assert "on test, 300 items; baseline (majority class) 0." in report["summary"]
    assert report["next"].startswith("Most frequent mistake: ")
    assert all(path.stat().st_size <= 100_000 for path in (folder / "pictures").iterdir())
    json.dumps(report, allow_nan=False)


@pytest.mark.system
def test_regression_gives_tables_plots_and_two_sentences(build):
    report, folder = build(regression_frame({"test": 100}), unit="mm")
    assert {path.name for path in (folder / "pictures").iterdir()} == {
        "metrics.png",
        "predicted_vs_target.png",
        "residuals.png",
    }
    assert "] mm on test, 100 items; baseline (train mean) 2." in report["summary"]
    assert report["next"].startswith("Worst item: test_")
    assert not (folder / "confusion_matrix.parquet").exists()


def test_each_metric_lies_in_its_interval_and_beats_its_baseline(analyse):
    _, tables = analyse(classification_frame({"test": 300}))
    row = row_of(tables, "test", "accuracy")
    assert row["ci_low"] < row["value"] < row["ci_high"]
    assert row["value"] > row["baseline"] > 0.2
    assert row["count"] == 300
    assert row_of(tables, "test", "log_loss")["baseline_name"] == "train frequencies"


def test_classes_have_rows_of_their_own_with_their_own_count(analyse):
    frame = classification_frame({"test": 90})
    _, tables = analyse(frame)
    row = row_of(tables, "test", "recall", "2")
    of_class = frame.filter(pl.col("target_class") == "2")
    assert row["count"] == len(of_class)
    assert row["value"] == pytest.approx((of_class["predicted_class"] == "2").mean())


@pytest.mark.defect("A8")
def test_regression_metrics_are_in_the_targets_own_unit(analyse):
    _, tables = analyse(regression_frame({"test": 50}, noise=2.0), unit="mm")
    mae, mse = row_of(tables, "test", "mae"), row_of(tables, "test", "mse")
    assert (mae["unit"], mse["unit"]) == ("mm", "mm²")
    assert 1.0 < mae["value"] < 3.0
    assert 2.0 < mse["value"] < 8.0
    assert mae["baseline"] == pytest.approx(2.5, abs=0.6)


@pytest.mark.defect("A2")
def test_the_row_count_of_each_subset_is_reported(analyse):
    report, _ = analyse(regression_frame({"train": 137, "validation": 18, "test": 48}))
    assert report["rows"] == {"train": 137, "validation": 18, "test": 48}


@pytest.mark.defect("A2")
def test_two_subsets_of_the_same_items_are_refused(analyse):
    frame = regression_frame({"test": 48})
    twice = pl.concat([frame, frame.with_columns(subset=pl.lit("validation"))])
    with pytest.raises(DataError, match=r"subsets 'validation' and 'test' are the same 48 items"):
        analyse(twice)


def test_an_item_in_two_subsets_or_twice_in_one_is_refused(analyse):
    frame = regression_frame({"validation": 5, "test": 5})
    with pytest.raises(DataError, match=r"1 item is in both 'validation' and 'test', such as 'test_0'"):
        analyse(pl.concat([frame, frame[5:6].with_columns(subset=pl.lit("validation"))]))
    with pytest.raises(DataError, match="1 item occurs more than once in subset 'test'"):
        analyse(pl.concat([frame, frame[5:6]]))


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_missing_prediction_is_refused_rather_than_left_out(analyse, missing):
    frame = regression_frame({"test": 5})
    prediction = pl.Series([missing, 1.0, 2.0, 3.0, missing])
    with pytest.raises(DataError, match="column 'prediction' has 2 missing values"):
        analyse(frame.with_columns(prediction=prediction))


def test_every_problem_is_listed_at_once(analyse):
    frame = classification_frame({"test": 6}).with_columns(confidence=pl.lit(None, pl.Float64))
    frame = frame.with_columns(target_class=pl.lit("cat"))
    with pytest.raises(DataError) as caught:
        analyse(frame, train_target=pl.Series([], dtype=pl.String))
    text = str(caught.value)
    assert "'confidence' has 6 missing" in text
    assert "target_class has 'cat', which is no class of the model (0, 1, 2)" in text
    assert "no training target" in text


def test_a_missing_column_is_refused_and_named(analyse):
    with pytest.raises(DataError, match="lacks columns: prob_2"):
        analyse(classification_frame({"test": 6}).drop("prob_2"))


def test_no_predictions_are_refused(analyse):
    with pytest.raises(DataError, match="there is no prediction"):
        analyse(regression_frame({"test": 2}).head(0))


def digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in files)).hexdigest()


@pytest.mark.system
def test_the_same_predictions_give_the_same_bytes(build):
    frame = classification_frame({"validation": 30, "test": 30})
    (report, first), (again, second) = build(frame), build(frame)
    assert report == again
    assert digest(first) == digest(second)


def test_another_seed_gives_the_same_values_with_other_intervals(analyse):
    frame = regression_frame({"test": 60})
    (_, one), (_, other) = analyse(frame, seed=1), analyse(frame, seed=2)
    assert row_of(one, "test", "mae")["value"] == row_of(other, "test", "mae")["value"]
    assert row_of(one, "test", "mae")["ci_low"] != row_of(other, "test", "mae")["ci_low"]


def test_a_subsets_interval_does_not_depend_on_which_other_subsets_there_are(analyse):
    frame = regression_frame({"validation": 60, "test": 60})
    _, both = analyse(frame)
    _, alone = analyse(frame.filter(pl.col("subset") == "test"))
    assert row_of(both, "test", "mae") == row_of(alone, "test", "mae")


def test_items_of_one_image_are_drawn_together_unless_asked_otherwise(analyse):
    frame = classification_frame({"test": 300})
    together = frame.with_columns(image=pl.col("target_class") + pl.col("predicted_class"))
    (_, by_image), (_, by_item) = analyse(together), analyse(together, bootstrap_unit="item")
    widths = [row["ci_high"] - row["ci_low"] for row in (row_of(f, "test", "accuracy") for f in (by_image, by_item))]
    assert widths[0] > 2 * widths[1]


def test_a_single_item_has_a_value_but_no_interval(analyse):
    report, tables = analyse(regression_frame({"test": 1}))
    assert row_of(tables, "test", "mae")["ci_low"] is None
    assert row_of(tables, "test", "r2")["value"] is None
    assert "(too few items for an interval) on test, 1 item;" in report["summary"]


@pytest.mark.system
def test_intervals_that_nobody_asked_for_are_not_missed(build):
    report, _ = build(regression_frame({"test": 30}), bootstrap_samples=0)
    assert "interval" not in report["summary"]


def test_only_the_metrics_asked_for_are_computed_the_first_is_the_headline(analyse):
    report, tables = analyse(classification_frame({"test": 30}), metrics=["macro_f1", "recall"])
    assert set(tables["analysis"]["metric"]) == {"macro_f1", "recall"}
    assert report["summary"].startswith("macro F1")


@pytest.mark.system
def test_only_metrics_per_class_still_give_a_summary(build):
    report, folder = build(classification_frame({"test": 30}), metrics=["recall"])
    assert report["summary"].startswith("recall of class 0")
    assert not (folder / "pictures" / "metrics.png").exists()


def test_two_classes_have_an_area_under_the_curve(analyse):
    frame = classification_frame({"test": 90}).drop("prob_2").filter(pl.col("target_class") != "2")
    frame = frame.with_columns(predicted_class=pl.lit("1"))
    _, tables = analyse(frame, classes=("0", "1"), train_target=pl.Series(["0", "1"]))
    row = row_of(tables, "test", "roc_auc")
    assert 0 <= row["value"] <= 1
    assert row["baseline"] == 0.5


def test_confusion_counts_add_up_and_hold_pairs_that_never_occur(analyse):
    _, tables = analyse(classification_frame({"validation": 20, "test": 40}))
    confusion = tables["confusion_matrix"]
    assert len(confusion) == 2 * 9
    assert confusion.filter(pl.col("subset") == "test")["count"].sum() == 40


def test_worst_items_are_the_most_confident_mistakes_of_each_subset(analyse):
    frame = classification_frame({"validation": 50, "test": 100})
    _, tables = analyse(frame, worst_items=3)
    worst = tables["worst_items"]
    mistakes = frame.filter((pl.col("subset") == "test") & (pl.col("target_class") != pl.col("predicted_class")))
    assert worst["subset"].value_counts().sort("subset").rows() == [("test", 3), ("validation", 3)]
    of_test = worst.filter(pl.col("subset") == "test")["confidence"].to_list()
    assert of_test == mistakes["confidence"].sort(descending=True).head(3).to_list()


def test_worst_items_of_a_regression_are_the_largest_residuals_with_their_sign(analyse):
    frame = regression_frame({"test": 50})
    _, tables = analyse(frame, worst_items=2)
    worst = tables["worst_items"]
    residual = frame["prediction"] - frame["target"]
    assert worst["residual"].abs().to_list() == residual.abs().sort(descending=True).head(2).to_list()
    assert (worst["prediction"] - worst["target"]).to_list() == worst["residual"].to_list()


@pytest.mark.system
def test_crops_of_the_worst_items_are_shown_where_there_are_crops(build, tmp_path):
    frame = classification_frame({"test": 60}, accuracy=0.5)
    crops = tmp_path / "crops"
    crops.mkdir()
    for item in frame["item"]:
        Image.new("L", (20, 12), 80).save(crops / f"{item}.png")
    table = frame.select("item", file=pl.col("item") + ".png")
    table.write_parquet(crops / "crops.parquet")
    _, folder = build(frame, crops_folder=crops)
    content = (folder / "pictures" / "worst_items.png").read_bytes()
    assert len(content) <= 100_000
    assert Image.open(io.BytesIO(content)).width > 400


@pytest.mark.parametrize(
    ("count", "advice"),
    [
        (30, "There is no mistake on test, but 30 items are few: make sure that split_leakage passed, then test more"),
        (40, "There is no mistake on test: make sure that split_leakage passed, then try harder data."),
    ],
)
def test_without_a_mistake_the_advice_is_to_check_the_split_and_to_test_more_than_a_few(analyse, count, advice):
    report, tables = analyse(classification_frame({"test": count}, accuracy=1.0))
    assert report["next"].startswith(advice)
    assert tables["worst_items"].is_empty()


def test_a_model_that_does_not_beat_the_baseline_gets_a_warning(analyse):
    frame = regression_frame({"test": 30}).with_columns(prediction=pl.lit(100.0))
    report, _ = analyse(frame)
    assert "no better than the train mean" in report["next"]


def test_an_interval_that_reaches_the_baseline_asks_for_more_items(analyse):
    target = ["1"] * 6 + ["0"] * 6
    predicted = ["1"] * 11 + ["0"]
    frame = classification_frame({"test": 12}).drop("image")
    report, _ = analyse(frame.with_columns(target_class=pl.Series(target), predicted_class=pl.Series(predicted)))
    assert "interval reaches the majority class" in report["next"]
    assert report["metrics"]["test"]["accuracy"]["baseline_name"] == "majority class"


def test_a_simple_model_stands_beside_the_network_and_is_recommended_where_it_is_better(ask):
    frame = regression_frame({"validation": 60, "test": 60})
    for error, advised in ((0.0, True), (5.0, False)):
        simple = SimplePredictions("linear model", frame.with_columns(prediction=pl.col("target") + error))
        inputs, spec = ask(frame)
        analysis = compute_analysis(replace(inputs, simple=simple), spec.result_analyzer, 1)
        row = row_of(analysis.tables, "test", "mae")
        assert (row["simple_model"], row["simple_value"]) == ("linear model", pytest.approx(error))
        report = report_of(analysis, TASK_ANALYSES["regression"])
        assert f", linear model {error:.3f}." in report["summary"]
        assert ("A simple model on the same training data is better" in report["next"]) is advised
        assert ("trained_model.model: {kind: linear}" in report["next"]) is advised


def test_a_simple_model_within_the_interval_or_beside_too_few_items_is_not_recommended(ask):
    for count in (60, 20):
        frame = regression_frame({"test": count})
        inputs, spec = ask(frame)
        mae = row_of(compute_analysis(inputs, spec.result_analyzer, 1).tables, "test", "mae")["value"]
        simple = SimplePredictions("linear model", frame.with_columns(prediction=pl.col("target") + mae * 0.98))
        report = report_of(
            compute_analysis(replace(inputs, simple=simple), spec.result_analyzer, 1), TASK_ANALYSES["regression"]
        )
        assert "A simple model" not in report["next"]


def test_only_the_items_that_the_network_predicted_count_for_the_simple_model(ask):
    frame = regression_frame({"test": 60})
    wrong = pl.when(pl.int_range(pl.len()) >= 50).then(1000.0).otherwise(0.0)
    simple = SimplePredictions("linear model", frame.with_columns(prediction=pl.col("target") + wrong))
    inputs, spec = ask(frame.head(50))
    analysis = compute_analysis(replace(inputs, simple=simple), spec.result_analyzer, 1)
    assert row_of(analysis.tables, "test", "mae")["simple_value"] == pytest.approx(0.0)


def test_a_rare_class_that_is_never_predicted_gets_the_advice_that_helps(analyse):
    frame = classification_frame({"test": 300}, accuracy=1.0).filter(pl.col("target_class") != "2")
    is_rare = pl.int_range(pl.len()) < 5
    frame = frame.with_columns(
        target_class=pl.when(is_rare).then(pl.lit("1")).otherwise(pl.lit("0")), predicted_class=pl.lit("0")
    )
    report, _ = analyse(frame)
    assert report["next"].startswith(
        "Class 1, 5 items of test, is never predicted: it is rare. Set trained_model.train_params.decision: tuned"
    )
    evenly = frame.with_columns(
        target_class=pl.when(pl.int_range(pl.len()) % 2 == 0).then(pl.lit("1")).otherwise(pl.lit("0"))
    )
    assert "is never predicted" not in analyse(evenly)[0]["next"]


@pytest.mark.parametrize("hard", [False, True])
def test_labels_that_the_model_holds_for_wrong_are_listed_and_spoken_of(analyse, hard):
    """A model that also makes mistakes of which it is not sure is not good enough to judge labels."""
    frame = classification_frame({"test": 300}, accuracy=1.0)
    place, sure = pl.int_range(pl.len()), pl.col("confidence").rank(descending=True) <= 20
    other = pl.col("target_class").replace_strict(DIGITS, [*DIGITS[1:], DIGITS[0]])
    frame = frame.with_columns(target_class=pl.when(sure).then(other).otherwise("target_class"))
    doubtful = (place % 10 == 0) & ~sure & (pl.col("confidence") < 0.6) if hard else pl.lit(False)
    frame = frame.with_columns(target_class=pl.when(doubtful).then(other).otherwise("target_class"))
    report, tables = analyse(frame)
    suspicious = tables["suspicious_labels"]
    assert len(suspicious) == 20
    assert suspicious["self_confidence"].is_sorted()
    first = suspicious.row(0, named=True)
    spoken = f"20 labels of test may be wrong (suspicious_labels); the first: {first['item']}, labelled"
    assert report["next"].startswith(spoken) is not hard


def test_every_task_has_an_analysis():
    assert set(TASK_ANALYSES) == set(TASK_METRICS)


ANALYZER = """
from typing import Literal
from assay.spec.analysis import ResultAnalyzer
from assay.spec.extensions import Extension
class Mine(ResultAnalyzer):
    kind: Literal["mine"] = "mine"
    answer: str = "numbers"
KIND = Extension(Mine, "analyzers:analyse")
def analyse(section, analysis, inputs, folder):
    (folder / "mine.txt").write_text(inputs.task)
    if section.answer == "change":
        (folder / "analysis.parquet").write_bytes(b"")
    rows = len(inputs.read_predictions())
    answers = {"numbers": {"rows": rows}, "nothing": {}, "change": {}, "table": {"rows": [rows]}, "none": None}
    return answers[section.answer]
"""


@pytest.fixture
def mine(ask, tmp_path, install_package):
    """Build an analysis with the analyzer of a package; returns the report and the folder."""
    install_package("assay.result_analyzers", "mine", "analyzers:KIND", analyzers=ANALYZER)

    def run(answer):
        folder = tmp_path / "mine"
        folder.mkdir()
        inputs, _ = ask(regression_frame({"test": 20}))
        keys = {"kind": "mine", "answer": answer, **QUICK}
        return build_analysis(inputs, AnalysisSection.model_validate({"result_analyzer": keys}), 1, folder), folder

    return run


@pytest.mark.parametrize(("answer", "added"), [("numbers", {"mine": {"rows": 20}}), ("nothing", {})])
@pytest.mark.system
def test_the_analyzer_of_a_package_adds_files_and_numbers(mine, build, answer, added):
    report, folder = mine(answer)
    plain, _ = build(regression_frame({"test": 20}))
    assert {key: value for key, value in report.items() if key not in plain} == added
    assert {key: report[key] for key in plain} == plain
    assert (folder / "mine.txt").read_text() == "regression"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("change", r"result analyzer 'mine' changed analysis.parquet; expected files of its own"),
        ("table", r"result analyzer 'mine' returned \{'rows': \[20\]\}; expected numbers and texts by name"),
        ("none", r"result analyzer 'mine' returned None; expected numbers and texts by name"),
        ("odd", r"The plug-in 'mine' of the package added 1 \(analyzers:KIND\) failed: KeyError: 'odd'"),
    ],
)
@pytest.mark.system
def test_an_analyzer_that_does_something_else_is_one_error(mine, answer, reason):
    with pytest.raises(AssayError, match=reason):
        mine(answer)
