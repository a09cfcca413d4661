"""Several processes train one network together: the result of one process, up to rounding."""

import signal
import subprocess
import sys
from contextlib import suppress

import numpy as np
import polars as pl
import psutil
import pytest
import torch
from safetensors.torch import load_file

from assay.datasets.scaling import NormalizationInfo
from assay.datasets.schema import TableInfo
from assay.errors import TrainingError
from assay.spec.trained_model import TrainedModelSection
from assay.storage.parquet import read_parquet, write_parquet
from assay.training.data import DataSource
from assay.training.trained_model import HISTORY, LAST, build_trained_model
from tests.helpers.servers import wait_until

pytestmark = pytest.mark.system


@pytest.fixture
def source(tmp_path):
    """Forty rows of four columns whose sum is the target, as the result of the stage normalized."""
    values = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    columns = {f"c{place}": values[:, place] for place in range(4)}
    rows = {"item": [f"{index:02d}" for index in range(40)], "subset": ["train"] * 32 + ["validation"] * 8}
    folder = tmp_path / "normalized"
    folder.mkdir()
    write_parquet(
        pl.DataFrame({**rows, "target": values.sum(axis=1).astype(float), **columns}), folder / "normalized.parquet"
    )
    TableInfo("target", tuple(columns)).write(folder)
    NormalizationInfo(fitted_rows=32, norm_infos=()).write(folder / "scaling.yaml")
    return DataSource("normalized", folder, "aaaa", folder / "scaling.yaml")


def section(**params):
    learner = params.pop("learner", {})
    keys = {"epochs": 4, "least_steps": 0, "threads": 1, "checkpoint_every_s": 0, **params}
    return TrainedModelSection.model_validate(
        {
            "model": {"kind": "mlp", "width": 8, "dropout": 0.0},
            "data_train": {"batch_size": 16},
            "learner": learner,
            "train_params": keys,
        }
    )


def train(spec, source, folder, scratch=None):
    folder.mkdir()
    build_trained_model(spec, "regression", 1, source, folder, scratch=scratch)
    return load_file(folder / LAST), read_parquet(folder / HISTORY)


SGD = {"optimizer": "sgd", "learning_rate": 0.05}
"""AdamW would divide rounding errors by themselves, where batch normalization makes gradients vanish."""


def is_statistic(name):
    return "running" in name or "batches" in name


def test_two_processes_learn_what_one_learns_from_batches_in_two_parts(source, tmp_path):
    """Batch normalization counts the two parts one after the other or at once, so its running means may differ."""
    together, history = train(section(processes=2, learner=SGD), source, tmp_path / "together")
    alone, _ = train(section(learner={**SGD, "accumulate": 2}), source, tmp_path / "alone")
    for name, value in alone.items():
        assert is_statistic(name) or torch.allclose(together[name], value, atol=1e-5), name
    losses = history.filter(pl.col("subset") == "validation", pl.col("metric") == "loss")["value"]
    assert losses[-1] < losses[0]


def test_three_processes_share_a_batch_that_cannot_be_divided(source, tmp_path):
    together, _ = train(section(processes=3, learner=SGD), source, tmp_path / "together")
    alone, _ = train(section(learner={**SGD, "accumulate": 3}), source, tmp_path / "alone")
    assert all(is_statistic(name) or torch.allclose(together[name], alone[name], atol=1e-5) for name in alone)


KILLED = """
import os, signal, sys
from pathlib import Path
from assay.spec.trained_model import TrainedModelSection
from assay.training.data import DataSource
from assay.training.sampler import Sampler
from assay.training.trained_model import build_trained_model
items = Sampler.items
def killing(self, step):
    if step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return items(self, step)
Sampler.items = killing
spec = TrainedModelSection.model_validate_json(sys.argv[1])
folder, scratch = Path(sys.argv[2]), Path(sys.argv[3])
source = DataSource("normalized", folder, "aaaa", folder / "scaling.yaml")
build_trained_model(spec, "regression", 1, source, Path(sys.argv[4]), scratch=scratch)
"""


MARK = "ASSAY_TEST_OF_PROCESSES"


@pytest.fixture
def helpers_left(monkeypatch, tmp_path):
    """Give ``helpers_left()``: the living helpers of this test, whatever else trains on this machine."""
    monkeypatch.setenv(MARK, str(tmp_path))

    def is_ours(process):
        with suppress(psutil.Error):
            is_helper = "assay.training.worker" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE
            return is_helper and process.environ().get(MARK) == str(tmp_path)
        return False

    return lambda: [process for process in psutil.process_iter() if is_ours(process)]


def test_processes_that_were_killed_go_on_to_the_same_bytes_and_leave_no_helper(source, tmp_path, helpers_left):
    spec, scratch = section(processes=2), tmp_path / "scratch"
    wanted, _ = train(spec, source, tmp_path / "undisturbed")
    (tmp_path / "killed").mkdir()
    arguments = [spec.model_dump_json(), source.folder, scratch, tmp_path / "killed"]
    process = subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)], check=False)
    assert process.returncode == -signal.SIGKILL
    assert (scratch / "checkpoint.safetensors").is_file()
    found, _ = train(spec, source, tmp_path / "resumed", scratch)
    assert all(torch.equal(found[name], value) for name, value in wanted.items())
    wait_until(lambda: not helpers_left(), "the helpers of the killed process end")


def test_a_loss_that_explodes_is_the_same_error_and_leaves_no_helper(source, tmp_path, helpers_left):
    learner = {"learning_rate": 100, "optimizer": "sgd", "clip_norm": None, "loss": "mse"}
    rows = read_parquet(source.table).with_columns(pl.col("^c.$") * 1e30, pl.col("target") * 1e30)
    write_parquet(rows, source.table)
    with pytest.raises(TrainingError, match="The loss became"):
        train(section(processes=2, learner=learner), source, tmp_path / "model")
    assert not helpers_left()
