import socket
from functools import partial

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from assay.datasets.scaling import NormalizationInfo
from assay.datasets.schema import TableInfo
from assay.spec.trained_model import TrainedModelSection
from assay.storage.parquet import write_parquet
from assay.training.data import DataSource

KNOWN = ("item", "image", "subset", "label", "target")
SUBSETS = {"train": 64, "validation": 16, "test": 20}


@pytest.fixture(autouse=True)
def same_first_weights():
    """Let networks begin with the same weights in whatever order tests run; torch draws them from its own generator."""
    torch.manual_seed(0)


def subset_column(counts=SUBSETS):
    return [name for name, count in counts.items() for _ in range(count)]


@pytest.fixture(scope="session")
def pixel_rows():
    """100 rows of 4x4 grey pixels whose target is which row of pixels is bright."""
    rng = np.random.default_rng(0)
    subset = subset_column()
    bright = rng.integers(0, 4, len(subset))
    images = rng.uniform(0, 0.3, (len(subset), 4, 4))
    images[np.arange(len(subset)), bright] += 0.6
    pixels = {f"px_{y}_{x}": images[:, y, x].astype(np.float32) for y in range(4) for x in range(4)}
    items = [f"{index:04d}" for index in range(len(subset))]
    known = {"item": items, "image": items, "subset": subset, "label": [str(value) for value in bright]}
    return pl.DataFrame({**known, "target": bright.astype(float), **pixels})


@pytest.fixture
def misleading_rows(pixel_rows):
    return turned_around(pixel_rows)


def turned_around(pixel_rows):
    """Return the same rows with the validation targets turned around: whoever learns more is worse there."""
    turned = pl.when(pl.col("subset") == "validation").then(3 - pl.col("target")).otherwise("target")
    return pixel_rows.with_columns(turned.alias("target"))


def write_rows(place, rows, fingerprint="aaaa", infos=()):
    """Write a table as the result of the stage normalized."""
    folder = place / f"normalized-{fingerprint}"
    folder.mkdir(exist_ok=True)
    write_parquet(rows, folder / "normalized.parquet")
    TableInfo("target", tuple(name for name in rows.columns if name not in KNOWN)).write(folder)
    NormalizationInfo(fitted_rows=len(rows), norm_infos=infos).write(folder / "scaling.yaml")
    return DataSource("normalized", folder, fingerprint, folder / "scaling.yaml")


@pytest.fixture
def store_rows(tmp_path):
    """``write_rows`` into the test's own folder."""
    return partial(write_rows, tmp_path)


@pytest.fixture
def store_crops(tmp_path):
    """A function that writes pictures, one bright quarter each, as the result of the stage crops."""

    def store(counts=SUBSETS, size=(12, 12), mode="RGB"):
        folder = tmp_path / "crops"
        (folder / "images").mkdir(parents=True)
        rng = np.random.default_rng(1)
        rows = []
        for index, subset in enumerate(subset_column(counts)):
            quarter = int(rng.integers(0, 4))
            pixels = rng.integers(0, 60, (size[1], size[0]), dtype=np.uint8)
            y, x = divmod(quarter, 2)
            pixels[y * size[1] // 2 :, x * size[0] // 2 :][: size[1] // 2, : size[0] // 2] += 150
            name = f"images/{index:04d}.png"
            Image.fromarray(pixels).convert(mode).save(folder / name)
            rows.append((f"{index:04d}", subset, str(quarter), float(quarter), name))
        table = pl.DataFrame(rows, ["item", "subset", "label", "number", "file"], orient="row")
        write_parquet(table, folder / "crops.parquet")
        return DataSource("crops", folder, "cccc")

    return store


@pytest.fixture
def offline(monkeypatch):
    """No network, as on a machine without one; gives the list of what was asked for all the same."""
    asked = []

    def refuse(*arguments, **keys):
        asked.append(arguments)
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    return asked


@pytest.fixture(scope="session")
def tiny_spec():
    """A function that returns a section with a network of some hundred numbers and three epochs."""

    def section(**keys):
        small = {
            "model": {"kind": "mlp", "width": 8, "dropout": 0.0},
            "train_params": {"epochs": 3, "threads": 1},
            "data_train": {"batch_size": 16},
        }
        merged = {key: {**value, **keys.pop(key, {})} for key, value in small.items()}
        return TrainedModelSection.model_validate({**merged, **keys})

    return section
