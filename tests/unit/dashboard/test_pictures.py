"""Pictures: the outcome first, in natural order, whatever a run does meanwhile."""

import shutil
from pathlib import Path

import pytest

from assay.dashboard.details import net_data_of, plots_of
from tests.helpers.dashboard_storage import draw, folder_of, make_storage, result_folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_storage(tmp_path_factory.mktemp("storage")).root


@pytest.fixture
def root(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "storage", symlinks=True))


@pytest.mark.system
def test_plots_of_results_come_first_and_those_of_data_last(root):
    samples = draw(result_folder(root, "ran", "generated_images") / "pictures" / "samples.png")
    folder = folder_of(root, "ran")
    for name in ("pictures/curves", "analysis/pictures/worst_10", "analysis/pictures/worst_9", "analysis/masks/0"):
        draw(folder / f"{name}.png")
    found = plots_of(root, "ran")
    titles = {heading: [picture.title for picture in pictures] for heading, pictures in found.items()}
    assert list(titles.items()) == [
        ("Analysis", ["Worst 9", "Worst 10"]),
        ("Training", ["Curves"]),
        ("Data", ["Samples"]),
    ]
    assert found["Data"][0].read() == samples


def test_net_data_are_found_by_epoch(root):
    folder = folder_of(root, "ran") / "net_data"
    for name in ("epoch_0002.png", "epoch_0010.png", "epoch_x.png", "other.png"):
        draw(folder / name)
    (folder / "epoch_0011.parquet").touch()
    found = {epoch: path.name for epoch, path in net_data_of(root, "ran").items()}
    assert found == {2: "epoch_0002.png", 10: "epoch_0010.png", 11: "epoch_0011.parquet"}


def test_an_experiment_without_plots_has_none(root):
    assert plots_of(root, "started") == {}
    assert (net_data_of(root, "started"), net_data_of(root, "nobody")) == ({}, {})
    assert plots_of(root, "nobody") == {}


def test_a_plot_that_a_run_removes_reads_as_none(root):
    draw(folder_of(root, "ran") / "pictures" / "curves.png")
    (picture,) = plots_of(root, "ran")["Training"]
    picture.path.unlink()
    assert picture.read() is None


def test_results_that_were_deleted_do_not_hide_the_others(root):
    draw(folder_of(root, "ran") / "pictures" / "curves.png")
    (result_folder(root, "ran", "generated_images") / "manifest.json").unlink()
    assert list(plots_of(root, "ran")) == ["Training"]
