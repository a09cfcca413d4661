import polars as pl
import pytest

from assay.checks import ExperimentFiles, run_test
from assay.checks.metrics import compares
from assay.spec.exptests import BeatsBaselineTest, MetricTest, SuspiciousLabelsTest

ROWS = [
    # subset, metric, class, value, ci_low, ci_high, baseline
    ("test", "accuracy", "", 0.9, 0.85, 0.95, 0.2),
    ("test", "log_loss", "", 0.4, 0.3, 2.5, 2.3),
    ("test", "recall", "7", 0.5, 0.3, 0.7, 0.0),
    ("test", "precision", "7", None, None, None, None),
    ("validation", "accuracy", "", 0.1, 0.05, 0.3, 0.2),
]


@pytest.fixture
def files(tmp_path):
    columns = ["subset", "metric", "class", "value", "ci_low", "ci_high", "baseline"]
    table = pl.DataFrame(ROWS, schema=columns, orient="row").with_columns(
        baseline_name=pl.lit("majority class"), unit=pl.lit(""), count=pl.lit(10)
    )
    table.write_parquet(tmp_path / "analysis.parquet")
    return ExperimentFiles(analysis=tmp_path / "analysis.parquet")


@pytest.mark.parametrize(
    ("operator", "below", "equal", "above"),
    [
        (">=", False, True, True),
        (">", False, False, True),
        ("<=", True, True, False),
        ("<", True, False, False),
        ("=", False, True, False),
        ("==", False, True, False),
    ],
)
def test_each_operator_compares_as_it_reads(operator, below, equal, above):
    test = MetricTest(metric="mae", operator=operator, value=1.0)
    assert [compares(value, test) for value in (0.999, 1.0, 1.001)] == [below, equal, above]


def test_equal_allows_the_tolerance_and_the_other_operators_do_not():
    assert compares(0.1 + 0.2, MetricTest(metric="mae", operator="=", value=0.3))
    assert compares(0.35, MetricTest(metric="mae", operator="=", value=0.3, tolerance=0.1))
    assert not compares(0.1 + 0.2, MetricTest(metric="mae", operator="<=", value=0.3, tolerance=0.1))


def test_a_metric_that_is_good_enough_passes_with_its_interval_shown(files):
    result = run_test(MetricTest(metric="accuracy", value=0.9), files)
    assert result.passed
    assert result.measured == "0.9 [0.85, 0.95]"


def test_a_metric_that_is_not_good_enough_fails_with_the_severity_of_the_test(files):
    result = run_test(MetricTest(metric="accuracy", value=0.95, severity="warn", blocking=True), files)
    assert (result.passed, result.severity, result.blocking) == (False, "warn", False)
    assert run_test(MetricTest(metric="accuracy", value=0.95, blocking=True), files).blocking


def test_a_metric_of_one_class_is_found(files):
    assert run_test(MetricTest(metric="recall", class_name="7", value=0.5), files).passed


def test_a_metric_that_is_not_defined_fails(files):
    result = run_test(MetricTest(metric="precision", class_name="7", value=0.0), files)
    assert not result.passed
    assert result.measured == "not defined"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"subset": "tset"}, "Subset 'tset' does not exist. Did you mean 'test'"),
        ({"metric": "macro_f1"}, "Metric 'macro_f1' does not exist"),
        ({"metric": "recall", "class_name": "8"}, "Class '8' does not exist. Did you mean"),
    ],
)
def test_a_row_that_is_not_there_fails_with_the_nearest_name(files, keys, said):
    result = run_test(MetricTest(**{"metric": "accuracy", "value": 0.0, **keys}), files)
    assert not result.passed
    assert said.removesuffix(" Did you mean") in result.description


@pytest.mark.parametrize(
    ("subset", "metric", "confident", "passed"),
    [
        ("test", "accuracy", False, True),
        ("test", "accuracy", True, True),
        ("validation", "accuracy", False, False),
        ("test", "log_loss", False, True),
        ("test", "log_loss", True, False),
    ],
)
def test_beats_baseline_knows_which_way_is_better(files, subset, metric, confident, passed):
    result = run_test(BeatsBaselineTest(subset=subset, metric=metric, confident=confident), files)
    assert result.passed is passed
    assert "majority class" in result.description


def test_without_an_analysis_both_say_what_to_materialize():
    for test in (MetricTest(metric="mae", value=1), BeatsBaselineTest(metric="mae")):
        assert "Materialize analysis first" in run_test(test, ExperimentFiles()).description


def test_beats_baseline_without_a_metric_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="tests_for"):
        run_test(BeatsBaselineTest(), ExperimentFiles())


def test_a_simple_model_is_a_harder_baseline_than_a_trivial_one(files):
    table = pl.read_parquet(files.analysis)
    test = BeatsBaselineTest(metric="accuracy", baseline="simple")
    assert "No simple model was learned" in run_test(test, files).description
    for value, passes in ((0.89, True), (0.91, False)):
        named = table.with_columns(simple_value=pl.lit(value), simple_model=pl.lit("linear model"))
        named.write_parquet(files.analysis)
        result = run_test(test, files)
        assert result.passed is passes
        assert "linear model" in result.measured


@pytest.mark.parametrize(("most", "passed"), [(0.1, False), (0.2, True)])
def test_suspicious_labels_are_counted_and_the_command_that_tells_more_is_named(files, tmp_path, most, passed):
    rows = [("test", "a b.png", "cat", "dog"), ("test", "c.png", "dog", "cat"), ("validation", "d.png", "cat", "dog")]
    table = pl.DataFrame(rows, schema=["subset", "item", "target_class", "predicted_class"], orient="row")
    table.write_parquet(tmp_path / "suspicious_labels.parquet")
    result = run_test(SuspiciousLabelsTest(most=most), files)
    assert (result.passed, result.severity, result.measured) == (passed, "warn", "2 of 10 items")
    assert result.description == (
        "2 of 10 items of test have a label that looks wrong: a b.png (cat, looks like dog); "
        "c.png (dog, looks like cat). Where one counts, how to mend it or leave it out: assay impact 'a b.png'"
    )


def test_suspicious_labels_are_those_of_a_predicted_subset_of_a_classification(files, tmp_path):
    assert "Materialize analysis first" in run_test(SuspiciousLabelsTest(), ExperimentFiles()).description
    result = run_test(SuspiciousLabelsTest(), files)
    assert not result.passed
    assert "has no table of suspicious labels; only predicted subsets of a classification" in result.description
    table = pl.DataFrame(schema=["subset", "item", "target_class", "predicted_class"])
    table.cast(pl.String).write_parquet(tmp_path / "suspicious_labels.parquet")
    assert run_test(SuspiciousLabelsTest(), files).passed
    assert "has no items of train" in run_test(SuspiciousLabelsTest(subset="train"), files).description
