import numpy as np
import polars as pl
import pytest
from sklearn.metrics import f1_score, precision_recall_fscore_support

from assay.analysis.base import AnalysisInputs
from assay.analysis.build import build_analysis, compute_analysis
from assay.errors import DataError
from assay.metrics.multi_label import threshold_curves
from assay.metrics.samples import MultiLabelSample
from assay.spec.analysis import AnalysisSection

CLASSES = ("even", "prime", "hole")


def names(marked):
    lists = [[name for name, has in zip(CLASSES, row, strict=True) if has] for row in marked]
    return pl.Series(lists, dtype=pl.List(pl.String))


def predictions(count=80, noise=0.3):
    rng = np.random.default_rng(0)
    target = rng.random((count, 3)) < [0.5, 0.3, 0.4]
    probabilities = np.clip(target * 0.6 + 0.2 + rng.normal(0, noise, target.shape), 0, 1)
    items = [f"item_{index:03d}" for index in range(count)]
    columns = {"item": items, "subset": "test", "target_labels": names(target)}
    columns |= {"predicted_labels": names(probabilities >= 0.5)}
    return pl.DataFrame(columns | {f"prob_{name}": probabilities[:, place] for place, name in enumerate(CLASSES)})


@pytest.fixture
def ask(tmp_path):
    """Write predictions; returns what is needed to analyse them."""

    def write(frame, **analyzer):
        frame.write_parquet(tmp_path / "predictions.parquet")
        train = pl.Series("target", [["even"], ["even", "hole"], [], ["even", "prime"]], pl.List(pl.String))
        summary = train.to_frame()
        inputs = AnalysisInputs(tmp_path / "predictions.parquet", summary, "multi_label", CLASSES)
        return inputs, AnalysisSection(result_analyzer={"bootstrap_samples": 50, **analyzer})

    return write


@pytest.fixture
def analyse(ask):
    """Compute the numbers only."""

    def run(frame, **analyzer):
        inputs, spec = ask(frame, **analyzer)
        return compute_analysis(inputs, spec.result_analyzer, 1)

    return run


def value_of(analysis, metric, column="value", class_name=""):
    table = analysis.tables["analysis"]
    return table.row(by_predicate=(pl.col("metric") == metric) & (pl.col("class") == class_name), named=True)[column]


@pytest.mark.system
def test_several_labels_give_tables_plots_and_two_sentences(ask, tmp_path):
    folder = tmp_path / "analysis"
    folder.mkdir()
    inputs, spec = ask(predictions())
    report = build_analysis(inputs, spec, 1, folder)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert files == [
        "analysis.parquet",
        "curves.parquet",
        "pictures/classes.png",
        "pictures/curves.png",
        "pictures/metrics.png",
        "worst_items.parquet",
    ]
    assert report["summary"].startswith("macro F1 0.")
    assert "baseline (guess of every class) 0." in report["summary"]
    assert report["next"].startswith("Worst class: ")


def test_the_numbers_are_those_of_the_labels_in_the_table(analyse):
    frame = predictions()
    target, predicted = (
        np.array([[name in row for name in CLASSES] for row in frame[column]])
        for column in ("target_labels", "predicted_labels")
    )
    analysis = analyse(frame)
    assert value_of(analysis, "macro_f1") == pytest.approx(f1_score(target, predicted, average="macro"))
    recalls = precision_recall_fscore_support(target, predicted)[1]
    assert [value_of(analysis, "recall", class_name=name) for name in CLASSES] == pytest.approx(list(recalls))
    assert value_of(analysis, "recall", "count", "hole") == target[:, 2].sum()


def test_one_baseline_gives_the_classes_of_most_training_items_another_for_f1_gives_all(analyse):
    analysis, share = analyse(predictions()), predictions()["target_labels"].list.contains("prime").mean()
    assert value_of(analysis, "recall", "baseline", "even") == 1.0
    assert value_of(analysis, "recall", "baseline", "prime") == 0.0
    assert value_of(analysis, "f1", "baseline", "prime") == pytest.approx(2 * share / (1 + share))


def test_items_whose_labels_are_unknown_are_left_out(analyse):
    frame = predictions()
    unknown = frame.with_columns(
        pl.when(pl.col("item") < "item_040").then(None).otherwise("target_labels").alias("target_labels")
    )
    assert value_of(analyse(unknown), "exact_match", "count") == 40


def test_the_worst_items_have_the_most_confident_mistake(analyse):
    worst = analyse(predictions(), worst_items=5).tables["worst_items"]
    assert worst["error"].to_list() == sorted(worst["error"], reverse=True)
    for row in worst.iter_rows(named=True):
        assert set(row["missed"]) == set(row["target_labels"]) - set(row["predicted_labels"])
        assert set(row["added"]) == set(row["predicted_labels"]) - set(row["target_labels"])


def test_a_label_that_the_model_does_not_know_is_an_error(analyse):
    frame = predictions().with_columns(pl.col("target_labels").list.concat(pl.lit("odd")))
    with pytest.raises(DataError, match="target_labels has 'odd', which is no class of the model"):
        analyse(frame)


def test_each_point_of_a_curve_is_the_decision_at_its_threshold():
    rng = np.random.default_rng(2)
    target, probabilities = rng.random((30, 2)) < 0.4, np.round(rng.random((30, 2)), 2)
    sample = MultiLabelSample(target, target, probabilities, np.ones((1, 30)))
    curves = threshold_curves(sample, ("a", "b"))
    assert len(curves) == 202
    for row in curves.filter(pl.col("class") == "b").gather_every(17).iter_rows(named=True):
        predicted = probabilities[:, 1] >= row["threshold"]
        assert row["recall"] == pytest.approx((predicted & target[:, 1]).sum() / target[:, 1].sum())
        assert row["f1"] == pytest.approx(f1_score(target[:, 1], predicted, zero_division=0))
    assert curves["precision"][0] == pytest.approx(target[:, 0].mean())
