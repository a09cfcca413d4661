"""What the network saw, shown after the training: the very samples, and files that are the same every time."""

from dataclasses import replace
from itertools import pairwise

import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from assay.plots.sheets import MAX_SHEET_BYTES
from assay.training.distributed import WorkerGroup
from assay.training.net_data import first_samples, shown_epochs
from assay.training.sampler import Sampler
from assay.training.trained_model import NET_DATA, build_trained_model
from assay.training.trainer import fit
from assay.utils.concurrency import silent
from tests.helpers.training_tasks import network, training_task


class RecordingDataset:
    """A dataset that records every training batch."""

    def __init__(self, items):
        self.items, self.batches = items, []

    def __len__(self):
        return len(self.items)

    def batch(self, order, generator):
        self.batches.append(self.items.batch(order, generator))
        return self.batches[-1]


def test_first_and_last_epoch_are_shown_and_few_between_them():
    assert shown_epochs(1, 12) == [1]
    assert shown_epochs(3, 12) == [1, 2, 3]
    assert shown_epochs(20, 5) == [1, 6, 10, 15, 20]
    assert shown_epochs(700, 2) == [1, 700]


@given(st.integers(1, 100_000), st.integers(2, 50))
def test_epochs_are_shown_once_each_and_evenly(epochs, most):
    shown = shown_epochs(epochs, most)
    assert len(shown) == min(epochs, most)
    assert (shown[0], shown[-1]) == (1, epochs)
    steps = {after - before for before, after in pairwise(shown)}
    assert not steps or max(steps) - min(steps) <= 1


@pytest.mark.parametrize("epoch", [1, 3])
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.system
def test_the_samples_are_those_that_the_network_was_trained_with(epoch, accumulate):
    task = training_task(learner={"accumulate": accumulate})
    watched = RecordingDataset(task.train)
    fit(network(), replace(task, train=watched), silent)
    steps = Sampler(task).steps
    batch = watched.batches[(epoch - 1) * steps * accumulate :][:accumulate]
    for count in (1, 5, 8, 100):
        samples = first_samples(Sampler(task), epoch, count)
        assert torch.equal(samples.values, torch.cat([values for values, _ in batch])[:count])
        assert torch.equal(torch.stack(samples.targets), torch.cat([targets for _, targets in batch])[:count])


def test_samples_of_several_processes_are_those_of_all_of_them():
    task = training_task()
    samplers = [Sampler(task, WorkerGroup(rank, 2)) for rank in range(2)]
    shares = [next(sampler.parts(4))[0] for sampler in samplers]
    samples = first_samples(Sampler(task, WorkerGroup(size=2)), 2, 100)
    assert torch.equal(samples.values, torch.cat(shares))


@pytest.fixture
def net_data(tmp_path):
    """A function that trains and returns the files of what the network saw, by name."""

    def run(source, spec, task, name="model"):
        folder = tmp_path / name
        folder.mkdir()
        build_trained_model(spec, task, 1, source, folder)
        return {path.name: path for path in sorted((folder / NET_DATA).glob("*"))}

    return run


@pytest.mark.system
def test_pictures_of_objects_become_sheets(store_crops, tiny_spec, net_data):
    spec = tiny_spec(model={"kind": "cnn", "width": 4}, net_data={"samples": 9, "shown_epochs": 2})
    files = net_data(store_crops(), spec, "classification")
    assert list(files) == ["epoch_0001.png", "epoch_0003.png"]
    assert max(path.stat().st_size for path in files.values()) <= MAX_SHEET_BYTES
    first, last = (Image.open(path).convert("RGB") for path in files.values())
    assert first.tobytes() != last.tobytes()


@pytest.mark.system
def test_rows_of_pixels_become_sheets_and_the_same_training_the_same_bytes(pixel_rows, store_rows, tiny_spec, net_data):
    source = store_rows(pixel_rows)
    once, again = (net_data(source, tiny_spec(), "regression", name) for name in ("once", "again"))
    assert list(once) == ["epoch_0001.png", "epoch_0002.png", "epoch_0003.png"]
    assert [path.read_bytes() for path in once.values()] == [path.read_bytes() for path in again.values()]


def test_other_rows_become_tables_with_the_target_in_its_own_unit(pixel_rows, store_rows, tiny_spec, net_data):
    rows = pixel_rows.rename({f"px_{y}_{x}": f"c_{y}_{x}" for y in range(4) for x in range(4)})
    spec = tiny_spec(net_data={"samples": 5}, train_params={"epochs": 1, "threads": 1}, data_train={"shuffle": False})
    files = net_data(store_rows(rows), spec, "regression")
    table = pl.read_parquet(files["epoch_0001.parquet"])
    seen = rows.head(5).select(pl.selectors.starts_with("c_"), "target")
    assert table.columns == seen.columns
    assert table.drop("target").equals(seen.drop("target"))
    assert table["target"].to_list() == pytest.approx(seen["target"].to_list(), abs=1e-6)


def test_classes_of_rows_are_named_in_the_table(pixel_rows, store_rows, tiny_spec, net_data):
    rows = pixel_rows.rename({f"px_{y}_{x}": f"c_{y}_{x}" for y in range(4) for x in range(4)})
    several = rows.with_columns(label=pl.col("label") + "|" + pl.col("label").replace({"3": ""}))
    spec = tiny_spec(
        data_description={"input": "normalized", "multi_label": True, "label_separator": "|"},
        net_data={"samples": 64},
        data_train={"batch_size": 64, "shuffle": False},
    )
    files = net_data(store_rows(several), spec, "multi_label")
    table = pl.read_parquet(files["epoch_0003.parquet"])
    assert table["label"].to_list() == [[label] for label in rows["label"].head(64)]


def test_without_samples_there_are_no_files(pixel_rows, store_rows, tiny_spec, net_data):
    assert net_data(store_rows(pixel_rows), tiny_spec(net_data={"samples": 0}), "regression") == {}
