import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import f1_score

from assay.errors import DataError
from assay.spec.predictions import PredictionsSection
from assay.storage.parquet import read_parquet
from assay.training.class_targets import ClassTarget, LabelsTarget
from assay.training.metrics import LabelsRunningMetric, best_temperature, best_thresholds
from assay.training.model_file import read_card
from assay.training.predictions import PREDICTIONS, build_predictions
from assay.training.trained_model import CHOSEN, build_trained_model


@pytest.mark.system
def test_no_other_threshold_has_a_better_f1():
    rng = np.random.default_rng(0)
    for _ in range(8):
        probabilities, has = np.round(rng.random(8), 1), rng.random(8) < 0.4
        (threshold,) = best_thresholds(torch.tensor(probabilities)[:, None], torch.tensor(has)[:, None])
        others = [f1_score(has, probabilities >= other, zero_division=0) for other in np.arange(-0.05, 1.1, 0.1)]
        if has.any() and not has.all():
            assert f1_score(has, probabilities >= threshold, zero_division=0) == pytest.approx(max(others))


def test_of_equally_good_thresholds_the_nearest_to_one_half_is_taken():
    probabilities = torch.tensor([[0.9], [0.4], [0.2]])
    assert best_thresholds(probabilities, torch.tensor([[1.0], [0.0], [0.0]])) == (pytest.approx(0.65),)


def test_classes_that_nothing_or_everything_has_keep_one_half():
    probabilities = torch.rand(4, 2, generator=torch.Generator().manual_seed(0))
    assert best_thresholds(probabilities, torch.tensor([[0.0, 1.0]] * 4)) == (0.5, 0.5)


def test_the_running_metric_equals_scikit_learn_over_several_batches():
    rng = np.random.default_rng(1)
    outputs, targets = rng.normal(size=(30, 4)), rng.random((30, 4)) < 0.3
    metric = LabelsRunningMetric(
        LabelsTarget(column="label", classes=("a", "b", "c", "d"), places={}, thresholds=(0.5,) * 4)
    )
    for part in np.split(np.arange(30), [7, 19]):
        metric.add(torch.tensor(outputs[part]), torch.tensor(targets[part]).float())
    values = metric.values()
    assert values["macro_f1"] == pytest.approx(f1_score(targets, outputs >= 0, average="macro"))
    assert values["exact_match"] == pytest.approx((targets == (outputs >= 0)).all(axis=1).mean())


@pytest.mark.parametrize(("rarer", "predicted"), [("yes", ["no", "yes", "yes"]), ("no", ["no", "no", "yes"])])
def test_of_two_classes_the_rarer_one_is_predicted_from_its_threshold(rarer, predicted):
    target = ClassTarget(column="label", classes=("no", "yes"), rarer=rarer, threshold=0.25)
    decided = target.predicted_columns(torch.tensor([[0.9, 0.1], [0.75, 0.25], [0.2, 0.8]]))
    assert decided[0].to_list() == predicted
    of_predicted = [0.9, 0.25 if rarer == "yes" else 0.75, 0.8]
    assert decided[1].to_list() == pytest.approx(of_predicted)


def test_a_target_without_a_threshold_is_stored_as_before():
    assert set(ClassTarget(column="label", classes=("a", "b")).model_dump()) == {"kind", "column", "classes", "mapping"}


@pytest.fixture
def train(pixel_rows, store_rows, tiny_spec, tmp_path):
    """A function that trains on other labels of four pictures without noise, and returns source and model folder."""
    pixels = {f"px_{y}_{x}": 0.15 + 0.6 * (pl.col("target") == y).cast(pl.Float32) for y in range(4) for x in range(4)}

    def run(labels, decision, **keys):
        rows = pixel_rows.with_columns(label=labels, **pixels)
        source, folder = store_rows(rows, decision), tmp_path / decision
        folder.mkdir()
        params = {"epochs": 60, "decision": decision}
        spec = tiny_spec(data_description={"input": "normalized"}, train_params=params, **keys)
        build_trained_model(spec, "classification", 1, source, folder)
        return source, folder

    return run


def test_a_threshold_between_more_than_two_classes_is_refused(train):
    with pytest.raises(DataError, match=r"decision is 'tuned', which weighs two classes .* are 4 \(0, 1, 2, 3\)"):
        train(pl.col("label"), "tuned")


@pytest.mark.system
def test_a_tuned_threshold_finds_a_rare_class_that_is_never_the_likelier_one(train, tmp_path):
    """One of four equal pictures is rare, so that none is likelier to be."""
    every_fourth = pl.int_range(pl.len()).over("subset", "target") % 4 == 0
    labels = pl.when((pl.col("target") == 2) & every_fourth).then(pl.lit("rare")).otherwise(pl.lit("usual"))
    recalls = {}
    for decision in ("fixed", "tuned"):
        source, model = train(labels, decision, model={"kind": "mlp", "width": 16})
        folder = tmp_path / f"predicted-{decision}"
        folder.mkdir()
        section = PredictionsSection(datasets=("train", "validation", "test"))
        build_predictions(section, "classification", 1, source, model, folder)
        table = read_parquet(folder / PREDICTIONS)
        rare = table.filter(pl.col("target_class") == "rare")
        recalls[decision] = (rare["predicted_class"] == "rare").mean()
    target = read_card(model / CHOSEN).target
    assert target.rarer == "rare"
    assert target.threshold < 0.5
    said = pl.when(pl.col("prob_rare") >= target.threshold).then(pl.lit("rare")).otherwise(pl.lit("usual"))
    assert table["predicted_class"].equals(table.select(said.alias("predicted_class")).to_series())
    assert recalls["tuned"] > recalls["fixed"] + 0.5


CLASSES = ClassTarget(column="label", classes=("a", "b", "c"))
LABELS = LabelsTarget(column="label", classes=("a", "b", "c"), places={}, thresholds=(0.5,) * 3)


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("target", [CLASSES, LABELS])
def test_the_temperature_by_which_outputs_are_too_large_is_found(target, true_temperature):
    rng = torch.Generator().manual_seed(0)
    outputs = torch.randn(20_000, 3, generator=rng) * 2
    probabilities = target.predictions(outputs)
    if target is CLASSES:
        true = torch.multinomial(probabilities, 1, generator=rng)[:, 0]
    else:
        true = torch.bernoulli(probabilities, generator=rng).float()
    assert best_temperature(target, outputs * true_temperature, true) == pytest.approx(true_temperature, rel=0.05)


def test_a_few_items_that_are_all_right_do_not_make_a_model_certain():
    outputs = torch.tensor([[3.0, 0.0, 0.0]] * 10)
    assert 0.4 < best_temperature(CLASSES, outputs, torch.zeros(10, dtype=torch.int64)) < 1


def test_a_temperature_moves_probabilities_and_not_the_likeliest_class():
    outputs = torch.tensor([[2.0, 1.0, -1.0]])
    cooler = CLASSES.model_copy(update={"temperature": 2.0})
    assert torch.allclose(cooler.predictions(outputs), (outputs.double() / 2).softmax(1))
    assert cooler.decide(cooler.predictions(outputs)).tolist() == CLASSES.decide(CLASSES.predictions(outputs)).tolist()
    labels = LABELS.model_copy(update={"temperature": 2.0})
    assert torch.allclose(labels.predictions(outputs), (outputs.double() / 2).sigmoid())


@pytest.mark.system
def test_confidences_are_calibrated_on_the_validation_data(pixel_rows, store_rows, tiny_spec, tmp_path):
    """Two classes that are easily told apart, learned with so much smoothing that nothing is ever sure."""
    rows = pixel_rows.with_columns(label=pl.col("target") // 2)
    errors, cards = {}, {}
    for calibration in (None, "temperature"):
        source, folder = store_rows(rows, f"rows-{calibration}"), tmp_path / f"model-{calibration}"
        folder.mkdir()
        params = {"epochs": 40, "choose_epoch": "last", "calibration": calibration}
        keys = {"data_description": {"input": "normalized"}, "model": {"kind": "mlp", "width": 64}}
        spec = tiny_spec(train_params=params, learner={"label_smoothing": 0.5}, **keys)
        build_trained_model(spec, "classification", 1, source, folder)
        predicted = tmp_path / f"predicted-{calibration}"
        predicted.mkdir()
        section = PredictionsSection(datasets=("validation",))
        build_predictions(section, "classification", 1, source, folder, predicted)
        table = read_parquet(predicted / PREDICTIONS)
        right = (table["predicted_class"] == table["target_class"]).mean()
        errors[calibration] = abs(table["confidence"].mean() - right)
        cards[calibration] = read_card(folder / CHOSEN).target
    assert (cards[None].temperature, "temperature" in cards[None].model_dump()) == (1.0, False)
    assert cards["temperature"].temperature != 1.0
    assert errors["temperature"] < errors[None] / 2
