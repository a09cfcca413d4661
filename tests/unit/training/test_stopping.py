import pytest
from pydantic import ValidationError

from assay.spec.trained_model import EarlyStopping, TrainParams
from assay.training.checkpoint import EpochValues
from assay.training.trainer import fit, reason_to_stop
from assay.utils.concurrency import silent
from tests.helpers.training_tasks import network, training_task


def history(*values, metric="loss"):
    return [EpochValues(epoch, {}, {metric: value}) for epoch, value in enumerate(values, start=1)]


@pytest.mark.parametrize(
    ("losses", "stops"),
    [((3, 2, 1), False), ((1, 2), False), ((1, 2, 3), True), ((3, 1, 1, 1), True), ((1, 2, 0.5, 2), False)],
)
def test_it_stops_when_nothing_got_better_for_as_long_as_patience_lasts(losses, stops):
    assert bool(reason_to_stop(EarlyStopping(patience=2), "loss", history(*losses))) == stops


def test_the_reason_names_metric_and_epoch():
    reason = reason_to_stop(EarlyStopping(patience=2), "loss", history(1, 2, 3))
    assert reason == "loss was best in epoch 1 and not better in the 2 epochs after it"


def test_small_improvements_do_not_count():
    rule = EarlyStopping(patience=2, min_delta=0.1)
    assert reason_to_stop(rule, "accuracy", history(0.5, 0.55, 0.59, metric="accuracy"))
    assert not reason_to_stop(rule, "accuracy", history(0.5, 0.55, 0.61, metric="accuracy"))


def test_without_a_rule_it_never_stops():
    assert reason_to_stop(None, "loss", history(*range(100))) == ""


def test_a_training_ends_early_with_its_best_weights():
    params = {"epochs": 50, "early_stopping": {"patience": 2, "min_delta": 0.05}}
    training = fit(network(), training_task(train_params=params), silent)
    losses = [values.validation["loss"] for values in training.history]
    assert len(losses) < 50
    assert training.stopped
    assert training.chosen_epoch == losses.index(min(losses)) + 1


def test_stopping_early_and_keeping_the_last_epoch_contradict_each_other():
    with pytest.raises(ValidationError, match="early_stopping keeps the best epoch"):
        TrainParams(early_stopping={"patience": 2}, choose_epoch="last")
