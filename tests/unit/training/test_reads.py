"""A training and a prediction read every table, image and mask of their data once."""

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from assay.spec.predictions import PredictionsSection
from assay.spec.trained_model import TrainedModelSection
from assay.training import annotations, data, summary
from assay.training.predictions import build_predictions
from assay.training.trained_model import build_trained_model
from tests.helpers.image_cases import SIDE, write_splits

OBJECTS = [("cat", 4, 4, 20, 20), ("dog", 30, 30, 24, 20)]
MODELS = {"segmentation": {"kind": "unet", "width": 2}, "detection": {"kind": "detector", "width": 2}}


@pytest.fixture
def reads(monkeypatch):
    """The number of times that each Parquet file, image and mask was read, by name."""
    counts = Counter()

    def counted(read):
        def call(path, *arguments, **keys):
            if isinstance(path, Path):
                counts[path.name] += 1
            return read(path, *arguments, **keys)

        return call

    for module in (annotations, data, summary):
        monkeypatch.setattr(module, "read_parquet", counted(module.read_parquet))
    monkeypatch.setattr(Path, "read_bytes", counted(Path.read_bytes))
    monkeypatch.setattr(Image, "open", counted(Image.open))
    return counts


def train_and_predict(source, spec, task, reads, place):
    """Return what the training read, and what the prediction of the subset test read."""
    model, predictions = place / "model", place / "predictions"
    model.mkdir()
    predictions.mkdir()
    reads.clear()
    build_trained_model(TrainedModelSection.model_validate(spec), task, 1, source, model)
    by_training = dict(reads)
    reads.clear()
    build_predictions(PredictionsSection(datasets=("test",)), task, 1, source, model, predictions)
    return by_training, dict(reads)


@pytest.mark.parametrize("task", ["segmentation", "detection"])
@pytest.mark.system
def test_whole_images_with_their_tables_and_masks_are_read_once(task, reads, tmp_path):
    write_splits(tmp_path / "splits", {"a": OBJECTS, "b": OBJECTS[::-1]})
    source = data.DataSource("splits", tmp_path / "splits", "ssss")
    spec = {
        "model": MODELS[task],
        "train_params": {"epochs": 1, "threads": 1},
        "data_description": {"window_size": SIDE // 2},
        "data_train": {"subset": "test", "batch_size": 4, "balance": "classes"},
        "data_validation": {"subset": "train"},
        "net_data": {"samples": 0},
    }
    by_training, by_prediction = train_and_predict(source, spec, task, reads, tmp_path)
    masked = task == "segmentation"
    tables = {"items.parquet", "mask_classes.parquet" if masked else "objects.parquet"}
    for names, found in (("tab", by_training), ("ab", by_prediction)):
        files = {f"{name}.png" for name in names} | ({f"{name}_mask.png" for name in names} if masked else set())
        assert found == dict.fromkeys(tables | files, 1)


@pytest.mark.system
def test_rows_are_read_once(reads, pixel_rows, store_rows, tmp_path):
    spec = {"model": {"kind": "mlp", "width": 2}, "train_params": {"epochs": 1, "threads": 1}}
    found = train_and_predict(store_rows(pixel_rows), spec, "regression", reads, tmp_path)
    assert found == ({"normalized.parquet": 1},) * 2


@pytest.mark.system
def test_images_of_objects_are_read_once(reads, store_crops, tmp_path):
    spec = {
        "model": {"kind": "cnn", "width": 2},
        "train_params": {"epochs": 1, "threads": 1},
        "data_description": {"image_size": 12},
        "net_data": {"samples": 0},
    }
    source = store_crops({"train": 4, "validation": 2, "test": 3})
    by_training, by_prediction = train_and_predict(source, spec, "regression", reads, tmp_path)
    for names, found in ((range(6), by_training), (range(6, 9), by_prediction)):
        assert found == dict.fromkeys(["crops.parquet", *(f"{name:04d}.png" for name in names)], 1)
