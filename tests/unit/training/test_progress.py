import pytest

from assay.training.trainer import fit
from assay.utils.text import duration
from tests.helpers.training_tasks import network, training_task


def test_each_epoch_is_reported_with_numbers_to_plot():
    reports = []
    fit(network(), training_task(), lambda *arguments: reports.append(arguments), report_s=3600.0)
    assert [(done, total) for done, total, _, _ in reports] == [(1, 3), (2, 3), (3, 3)]
    _, _, note, values = reports[-1]
    assert set(values) == {
        *("epoch", "loss", "items_per_s", "seconds_left"),
        *("validation_loss", "validation_mae", "validation_rmse"),
    }
    assert values["seconds_left"] == 0
    assert note.startswith("loss ")
    assert note.endswith("items/s, 0 s left")


def test_long_epochs_report_the_mean_loss_of_their_steps_so_far():
    reports = []
    fit(
        network(), training_task(train_params={"epochs": 1}), lambda *arguments: reports.append(arguments), report_s=0.0
    )
    assert [note.split(",")[0] for _, _, note, _ in reports[:4]] == [f"step {step} of 4" for step in (1, 2, 3, 4)]
    assert reports[3][3]["loss"] == pytest.approx(reports[-1][3]["loss"])
    assert reports[3][0] == 0


@pytest.mark.parametrize(("seconds", "text"), [(45, "45 s"), (720, "12 min"), (12_600, "3.5 h")])
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text
