import hashlib
import json
import subprocess
import sys

import polars as pl
import pytest
import torch

from assay.errors import DataError, SpecError, TrainingError
from assay.storage.parquet import read_parquet
from assay.training.model_file import load_model
from assay.training.trained_model import CARD, CHOSEN, HISTORY, LAST, LOGS, build_trained_model


@pytest.fixture
def train(tmp_path):
    """A function that trains into a new folder and returns it with the report."""

    def run(source, spec, task="regression", seed=1, name="model", **keys):
        folder = tmp_path / name
        folder.mkdir()
        return folder, build_trained_model(spec, task, seed, source, folder, **keys)

    return run


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.system
def test_a_small_regression_learns_and_says_so(pixel_rows, store_rows, tiny_spec, train):
    notes = []
    spec = tiny_spec(train_params={"epochs": 20, "threads": 1})
    folder, report = train(
        store_rows(pixel_rows),
        spec,
        progress=lambda done, total, note, values: notes.append((done, total, note, values)),
    )
    history = read_parquet(folder / HISTORY)
    losses = history.filter((pl.col("subset") == "train") & (pl.col("metric") == "loss"))["value"]
    assert losses[-1] < 0.7 * losses[0]
    assert history.schema == {"epoch": pl.Int32, "subset": pl.String, "metric": pl.String, "value": pl.Float64}
    assert set(history["metric"]) == {"loss", "mae", "rmse"}
    assert report["rows"] == {"train": 64, "validation": 16}
    assert report["validation_mae"] < 0.9
    assert [note[:2] for note in notes] == [(epoch, 20) for epoch in range(1, 21)]
    assert notes[0][2].startswith("loss ")
    assert set(notes[0][3]) == {
        *("epoch", "loss", "items_per_s", "seconds_left", "validation_loss", "validation_mae", "validation_rmse")
    }
    header, *lines = (folder / LOGS).read_text().splitlines()
    assert header == "epoch,loss,learning_rate,val_loss,val_mae,val_rmse"
    assert len(lines) == 20
    assert (folder / "pictures" / "curves.png").stat().st_size < 100_000


@pytest.mark.system
def test_pictures_are_classified(store_crops, tiny_spec, train):
    spec = tiny_spec(model={"kind": "cnn", "width": 4}, train_params={"epochs": 8, "threads": 1})
    folder, report = train(store_crops(), spec, "classification")
    assert report["validation_accuracy"] > 0.8
    assert report["target"]["classes"] == ["0", "1", "2", "3"]
    assert json.loads((folder / CARD).read_text())["chosen_by"] == "best loss on validation"


@pytest.mark.system
def test_rows_of_a_table_are_classified(pixel_rows, store_rows, tiny_spec, train):
    spec = tiny_spec(
        data_description={"input": "normalized", "class_mapping": {"0": "up", "1": "up", "2": "down", "3": "down"}}
    )
    _, report = train(store_rows(pixel_rows), spec, "classification")
    assert report["target"]["classes"] == ["down", "up"]


@pytest.mark.defect("A1")
@pytest.mark.system
def test_the_saved_epoch_is_the_best_and_not_the_last(misleading_rows, store_rows, tiny_spec, train):
    spec = tiny_spec(train_params={"epochs": 12, "threads": 1, "metric": "mae"})
    folder, report = train(store_rows(misleading_rows), spec)
    history = read_parquet(folder / HISTORY)
    mae = history.filter((pl.col("subset") == "validation") & (pl.col("metric") == "mae"))["value"]
    assert report["epoch"] == mae.arg_min() + 1 < 12
    assert report["validation_mae"] == mae.min()
    assert report["chosen_by"] == "best mae on validation"
    chosen, last = load_model(folder / CHOSEN), load_model(folder / LAST)
    assert (chosen.card.epoch, last.card.epoch) == (report["epoch"], 12)
    assert digest(folder / CHOSEN) != digest(folder / LAST)


@pytest.mark.system
def test_without_validation_the_last_epoch_is_kept(pixel_rows, store_rows, tiny_spec, train):
    spec = tiny_spec(data_validation=None, train_params={"epochs": 2, "choose_epoch": "last"})
    folder, report = train(store_rows(pixel_rows), spec)
    assert (report["epoch"], report["chosen_by"], report["rows"]) == (2, "last epoch", {"train": 64})
    assert digest(folder / CHOSEN) == digest(folder / LAST)


TRAINING = """
import sys
from pathlib import Path
from assay.training.data import DataSource
from assay.training.trained_model import build_trained_model
from assay.spec.trained_model import TrainedModelSection
spec = TrainedModelSection.model_validate_json(sys.argv[1])
source = DataSource("crops", Path(sys.argv[2]), "cccc")
build_trained_model(spec, "classification", 1, source, Path(sys.argv[3]))
assert "torch._dynamo" not in sys.modules, "training must not pay for importing the compiler"
assert "sklearn" not in sys.modules
"""


@pytest.mark.defect("A15")
@pytest.mark.system
def test_two_processes_train_the_same_bytes(store_crops, tiny_spec, train, tmp_path):
    """One is this process, in which other trainings have been; the other has just started."""
    spec = tiny_spec(model={"kind": "cnn", "width": 4}, train_params={"epochs": 2, "threads": 2})
    source = store_crops({"train": 24, "validation": 8})
    here, _ = train(source, spec, "classification", name="here")
    there = tmp_path / "there"
    there.mkdir()
    arguments = [spec.model_dump_json(), str(source.folder), str(there)]
    subprocess.run([sys.executable, "-c", TRAINING, *arguments], check=True)
    one, two = ({path.name: digest(path) for path in folder.rglob("*.*")} for folder in (here, there))
    assert one == two
    assert {"model.safetensors", "last.safetensors", "training_history.parquet", "curves.png"} <= set(one)


@pytest.mark.defect("A15")
@pytest.mark.system
def test_another_seed_trains_another_model(pixel_rows, store_rows, tiny_spec, train):
    one, two, same = (
        train(store_rows(pixel_rows), tiny_spec(), seed=seed, name=name)[0]
        for seed, name in ((1, "one"), (2, "two"), (1, "same"))
    )
    first, second = (load_model(folder / LAST).network.state_dict() for folder in (one, two))
    # Not the files' hashes: they hold the seed itself.
    assert not all(torch.equal(value, second[name]) for name, value in first.items())
    assert digest(one / LAST) == digest(same / LAST)


@pytest.mark.defect("A15")
@pytest.mark.system
def test_a_training_leaves_torch_as_it_was(pixel_rows, store_rows, tiny_spec, train):
    def state():
        return torch.get_rng_state().tolist(), torch.get_num_threads(), torch.get_deterministic_debug_mode()

    former_threads, former_mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    with torch.random.fork_rng(devices=[]):
        # Unlike what a training sets, or what one before this test may have left.
        torch.manual_seed(987)
        torch.set_num_threads(3)
        torch.set_deterministic_debug_mode("warn")
        before = state()
        train(store_rows(pixel_rows), tiny_spec())
        after = state()
        torch.set_num_threads(former_threads)
        torch.set_deterministic_debug_mode(former_mode)
    assert before == after


@pytest.mark.defect("C5")
@pytest.mark.system
def test_a_training_does_not_change_its_spec(pixel_rows, store_rows, tiny_spec, train):
    spec = tiny_spec()
    before = spec.model_dump_json()
    folders = [train(store_rows(pixel_rows), spec, name=name)[0] for name in ("one", "two")]
    assert spec.model_dump_json() == before
    assert digest(folders[0] / LAST) == digest(folders[1] / LAST)


@pytest.mark.system
def test_the_card_holds_every_default_as_a_number(pixel_rows, store_rows, tiny_spec, train):
    _, report = train(store_rows(pixel_rows), tiny_spec())
    spec = report["spec"]
    assert spec["learner"]["loss"] == "smooth_l1"
    assert spec["learner"]["learning_rate"] > 0
    assert spec["data_train"]["augmentation"]["noise"] == 0.05


@pytest.mark.system
def test_class_weights_change_what_is_learned(pixel_rows, store_rows, tiny_spec, train):
    source = store_rows(pixel_rows)
    keys = {"data_description": {"input": "normalized"}}
    plain, _ = train(source, tiny_spec(**keys), "classification", name="plain")
    weighted, _ = train(
        source, tiny_spec(**keys, learner={"class_weights": {"3": 5.0}}), "classification", name="weighted"
    )
    assert digest(plain / LAST) != digest(weighted / LAST)


@pytest.mark.system
def test_fewer_items_than_a_batch_are_one_batch(pixel_rows, store_rows, tiny_spec, train):
    few = pl.concat([pixel_rows.filter(pl.col("subset") == name).head(5) for name in ("train", "validation")])
    _, report = train(store_rows(few), tiny_spec())
    assert report["rows"] == {"train": 5, "validation": 5}


def test_one_item_is_too_few(pixel_rows, store_rows, tiny_spec, train):
    few = pl.concat([pixel_rows.filter(pl.col("subset") == name).head(1) for name in ("train", "validation")])
    with pytest.raises(DataError, match="'train' has 1 item; training needs at least 2"):
        train(store_rows(few), tiny_spec())


def test_a_loss_that_explodes_is_an_error_and_leaves_no_model(pixel_rows, store_rows, tiny_spec, train, tmp_path):
    spec = tiny_spec(learner={"learning_rate": 100, "optimizer": "sgd", "clip_norm": None, "loss": "mse"})
    extreme = pixel_rows.with_columns(pl.when(pl.col("item") == "0003").then(1e30).otherwise("target").alias("target"))
    with pytest.raises(TrainingError, match=r"The loss became .* in epoch \d+, step \d+ at learning rate"):
        train(store_rows(extreme.with_columns(pl.col("^px_.*$") * 1e25)), spec)
    assert not list((tmp_path / "model").iterdir())


def test_a_key_without_meaning_for_the_task_is_an_error(pixel_rows, store_rows, tiny_spec, train):
    with pytest.raises(SpecError, match=r"trained_model\.learner\.loss is cross_entropy, but task is regression"):
        train(store_rows(pixel_rows), tiny_spec(learner={"loss": "cross_entropy"}))


def test_validation_classes_that_train_lacks_are_an_error(pixel_rows, store_rows, tiny_spec, train):
    lacking = pixel_rows.filter((pl.col("subset") != "train") | (pl.col("label") != "2"))
    with pytest.raises(DataError, match=r"The model knows 0, 1, 3\.\n  - 2: \d+ item"):
        train(store_rows(lacking), tiny_spec(data_description={"input": "normalized"}), "classification")


@pytest.mark.system
def test_bfloat16_trains_too(pixel_rows, store_rows, tiny_spec, train):
    _, report = train(store_rows(pixel_rows), tiny_spec(train_params={"epochs": 2, "precision": "bf16"}))
    assert report["validation_loss"] > 0


@pytest.mark.defect("C12")
@pytest.mark.system
def test_two_models_are_kept_however_many_epochs_there_are(pixel_rows, store_rows, tiny_spec, train):
    for epochs in (2, 6):
        folder, _ = train(store_rows(pixel_rows), tiny_spec(train_params={"epochs": epochs}), name=f"of-{epochs}")
        kept = {path.relative_to(folder).as_posix() for path in folder.rglob("*.safetensors")}
        assert kept == {CHOSEN, LAST}
