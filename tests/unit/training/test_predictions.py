import dataclasses
import shutil
from functools import cache
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from safetensors.torch import load_file

from assay.datasets.scaling import ScalarInfo
from assay.errors import AssayError, DataError, StorageError
from assay.spec.predictions import PredictionsSection
from assay.storage.parquet import read_parquet
from assay.training.model_file import read_card, save_model
from assay.training.predictions import PREDICTIONS, build_predictions, require_same_data
from assay.training.trained_model import CHOSEN, LAST, build_trained_model
from tests.unit.training.conftest import turned_around, write_rows


@pytest.fixture(scope="module")
def trained(pixel_rows, tiny_spec, tmp_path_factory):
    """A function that trains on the pixel rows, once for all who ask for the same, and returns source and model."""

    @cache
    def run(task="regression", epochs=3, misleading=False):
        place = tmp_path_factory.mktemp("trained")
        source, folder = write_rows(place, turned_around(pixel_rows) if misleading else pixel_rows), place / "model"
        folder.mkdir()
        spec = tiny_spec(data_description={"input": "normalized"}, train_params={"epochs": epochs})
        build_trained_model(spec, task, 1, source, folder)
        return source, folder

    return run


@pytest.fixture
def predict(tmp_path):
    """A function that predicts into a new folder and returns table and report."""

    def run(source, model, task="regression", **keys):
        folder = tmp_path / f"predictions-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        report = build_predictions(PredictionsSection(**keys), task, 1, source, model, folder)
        return read_parquet(folder / PREDICTIONS), report

    return run


def test_precision_is_part_of_a_predictions_fingerprint_only_where_it_is_said():
    assert "precision" not in PredictionsSection().content()
    assert PredictionsSection(precision="fp32").content()["precision"] == "fp32"


@pytest.mark.system
def test_a_model_trained_in_bfloat16_predicts_in_float32_where_the_spec_says_so(trained, predict, tmp_path_factory):
    source, folder = trained()
    plain, _ = predict(source, folder)
    card, copy = read_card(folder / CHOSEN), tmp_path_factory.mktemp("bf16")
    params = card.section.train_params.model_copy(update={"precision": "bf16"})
    section = card.section.model_copy(update={"train_params": params})
    (copy / CHOSEN).parent.mkdir()
    save_model(copy / CHOSEN, load_file(folder / CHOSEN), card.model_copy(update={"section": section}))
    as_trained, _ = predict(source, copy)
    assert as_trained["prediction"].to_list() != plain["prediction"].to_list()
    assert as_trained["prediction"].to_numpy() == pytest.approx(plain["prediction"].to_numpy(), abs=2.0)
    assert_frame_equal(predict(source, copy, precision="fp32")[0], plain, check_exact=True)


@pytest.mark.defect("A2")
@pytest.mark.system
def test_every_subset_is_predicted_from_its_own_rows(trained, predict, pixel_rows):
    table, report = predict(*trained(), datasets=("train", "validation", "test"))
    assert report["rows"] == report["predicted"] == {"train": 64, "validation": 16, "test": 20}
    assert table["item"].to_list() == pixel_rows["item"].to_list()
    assert table["subset"].to_list() == pixel_rows["subset"].to_list()


@pytest.mark.system
def test_numbers_are_predicted_in_the_labels_unit(trained, predict, pixel_rows):
    table, _ = predict(*trained(epochs=20))
    expected = pixel_rows.filter(pl.col("subset") != "train")["target"]
    assert table.columns == ["item", "image", "subset", "target", "prediction"]
    assert table["target"].to_list() == expected.to_list()
    assert (table["target"] - table["prediction"]).abs().mean() < 1.0


@pytest.mark.defect("A8")
@pytest.mark.system
def test_a_target_that_was_scaled_is_predicted_in_its_own_unit(pixel_rows, store_rows, tiny_spec, predict, tmp_path):
    scaling = ScalarInfo(name="target", dtype="Float64", offset=100.0, divisor=40.0)
    folder = tmp_path / "model"
    folder.mkdir()
    source = store_rows(pixel_rows, infos=(scaling,))
    report = build_trained_model(tiny_spec(train_params={"epochs": 20}), "regression", 1, source, folder)
    table, _ = predict(source, folder, datasets=("validation",))
    targets = pixel_rows.filter(pl.col("subset") == "validation")["target"]
    assert table["target"].to_list() == [100 + 40 * value for value in targets]
    mae = (table["target"] - table["prediction"]).abs().mean()
    assert mae == pytest.approx(report["validation_mae"], rel=1e-5)
    assert 1 < mae < 40


def test_classes_come_with_probabilities_and_confidence(trained, predict):
    table, _ = predict(*trained("classification"), "classification")
    probabilities = table.select(pl.selectors.starts_with("prob_"))
    assert probabilities.columns == ["prob_0", "prob_1", "prob_2", "prob_3"]
    assert set(probabilities.dtypes) == {pl.Float32}
    assert (probabilities.sum_horizontal() - 1).abs().max() < 1e-6
    assert_frame_equal(table.select("confidence"), table.select(probabilities.max_horizontal().alias("confidence")))
    best = [f"prob_{name}" for name in table["predicted_class"]]
    assert [row[name] for row, name in zip(probabilities.to_dicts(), best, strict=True)] == table[
        "confidence"
    ].to_list()


@pytest.mark.defect("A1")
@pytest.mark.system
def test_the_model_is_chosen_by_the_recorded_rule_every_time(trained, predict, tmp_path):
    source, stored = trained(epochs=8, misleading=True)
    model = Path(shutil.copytree(stored, tmp_path / "with-every-epoch"))
    for epoch in range(1, 33):  # whoever chooses among the files takes one of these
        shutil.copy(model / LAST, (model / LAST).with_name(f"epoch{epoch:02}.safetensors"))
    first, report = predict(source, model)
    for _ in range(5):
        assert_frame_equal(predict(source, model)[0], first)
    last, last_report = predict(source, model, model_loader={"kind": "last"})
    assert (report["model"], report["chosen_by"]) == (CHOSEN, "best loss on validation")
    assert (last_report["model"], last_report["epoch"]) == (LAST, 8)
    assert report["epoch"] < 8
    assert not first.equals(last)


@pytest.mark.defect("A12")
@pytest.mark.parametrize(("steps", "expected"), [(1, 6), (2, 12), (3, 16), (9, 16)])
def test_exactly_so_many_batches_are_predicted(trained, predict, steps, expected):
    table, report = predict(*trained(), datasets=("validation",), prediction_steps=steps, batch_size=6)
    assert len(table) == report["predicted"]["validation"] == expected
    assert report["rows"]["validation"] == 16


def test_the_size_of_the_batches_does_not_change_predictions(trained, predict):
    source, model = trained("classification")
    whole, single = (predict(source, model, "classification", batch_size=size)[0] for size in (512, 1))
    assert_frame_equal(whole, single, abs_tol=1e-5)


def test_data_that_changed_since_the_training_are_refused(trained):
    source, model = trained()
    require_same_data(model, source)
    changed = dataclasses.replace(source, fingerprint="bbbb")
    with pytest.raises(DataError, match=r"trained on normalized aaaa, but the data are now normalized bbbb"):
        require_same_data(model, changed)


def test_a_model_of_another_task_is_refused(trained, predict):
    with pytest.raises(DataError, match="trained for regression, but task is classification"):
        predict(*trained(), "classification")


def test_a_class_that_the_model_does_not_know_is_an_error(trained, predict, store_rows, pixel_rows):
    _, model = trained("classification")
    strange = store_rows(pixel_rows.with_columns(pl.lit("9").alias("label")))
    with pytest.raises(DataError, match=r"The model knows 0, 1, 2, 3\.\n  - 9: 16 item"):
        predict(strange, model, "classification")


def test_a_missing_subset_names_those_that_exist(trained, predict):
    with pytest.raises(DataError, match="Choices: test, train, validation"):
        predict(*trained(), datasets=("holdout",))


def test_a_missing_model_says_what_to_do(trained, predict, tmp_path):
    source, _ = trained()
    with pytest.raises(StorageError, match="Materialize trained_model again"):
        predict(source, tmp_path)


def test_changed_copies_are_averaged_and_repeatable(trained, predict):
    source, model = trained("classification")
    plain, _ = predict(source, model, "classification")
    function = {"kind": "augmented", "copies": 4}
    one, two = (predict(source, model, "classification", prediction_function=function)[0] for _ in range(2))
    assert_frame_equal(one, two)
    assert not one.equals(plain)


def test_columns_of_the_data_are_copied_on_request(trained, predict):
    source, model = trained()
    table, _ = predict(source, model, prediction_handler={"copy_columns": ["lab*", "px_0_0"]})
    assert table.columns[-2:] == ["label", "px_0_0"]
    with pytest.raises(DataError, match="copy_columns: Column 'colour' does not exist"):
        predict(source, model, prediction_handler={"copy_columns": ["colour"]})
    with pytest.raises(DataError, match="already have columns of these names"):
        predict(source, model, prediction_handler={"copy_columns": ["target"]})


ADDED = """
from typing import Literal
import polars as pl
from assay.spec.extensions import Extension
from assay.spec.predictions import FunctionSection, LoaderSection, PredictionHandler
from assay.training.model_file import load_model
class Handler(PredictionHandler):
    kind: Literal["mine"] = "mine"
    answer: str = "columns"
class Loader(LoaderSection):
    kind: Literal["mine"] = "mine"
    answer: str = "last"
class Function(FunctionSection):
    kind: Literal["mine"] = "mine"
    answer: str = "doubled"
HANDLER, LOADER = Extension(Handler, "added_predictions:handle"), Extension(Loader, "added_predictions:load")
FUNCTION = Extension(Function, "added_predictions:predict")
def handle(section, predictions, items, folder):
    (folder / "mine.txt").write_text(str(len(items)))
    return {
        "columns": predictions.with_columns(twice=2 * pl.col("prediction"), pixel=items["px_0_0"]),
        "fewer": predictions.head(1),
        "changed": predictions.with_columns(prediction=pl.lit(0.0)),
        "lost": predictions.drop("target"),
        "none": None,
    }[section.answer]
def load(section, folder):
    return load_model(folder / "models" / "last.safetensors") if section.answer == "last" else folder
def predict(section, predict, batch, generator):
    return {"doubled": lambda: 2 * predict(batch), "flat": lambda: predict(batch)[:, 0], "none": lambda: None}[
        section.answer
    ]()
"""


@pytest.fixture
def added(install_package):
    for number, name in enumerate(("handler", "loader", "function")):
        group = {"handler": "prediction_handlers", "loader": "model_loaders", "function": "prediction_functions"}[name]
        install_package(
            f"assay.{group}", "mine", f"added_predictions:{name.upper()}", package=f"p{number}", added_predictions=ADDED
        )


@pytest.mark.system
def test_handler_loader_and_function_of_packages_do_what_they_are_for(trained, predict, added):
    source, model = trained(epochs=8, misleading=True)
    table, report = predict(source, model, prediction_handler={"kind": "mine"}, model_loader={"kind": "mine"})
    plain, _ = predict(source, model, model_loader={"kind": "last"})
    assert report["model"] == "mine"
    assert table.drop("twice", "pixel").equals(plain)
    assert table["twice"].to_list() == (2 * plain["prediction"]).to_list()
    doubled, _ = predict(source, model, model_loader={"kind": "last"}, prediction_function={"kind": "mine"})
    target = read_card(model / LAST).item_target
    standardized, twice = ((each["prediction"] - target.mean) / target.std for each in (plain, doubled))
    assert twice.to_list() == pytest.approx((2 * standardized).to_list(), rel=1e-4, abs=1e-4)


WRONG = {
    ("prediction_handler", "fewer"): "prediction handler 'mine' returned another table; expected the rows and columns",
    ("prediction_handler", "changed"): "prediction handler 'mine' returned another table",
    ("prediction_handler", "lost"): "prediction handler 'mine' returned another table",
    ("prediction_handler", "none"): "prediction handler 'mine' returned a NoneType; expected a table",
    (
        "prediction_handler",
        "unknown",
    ): "The plug-in 'mine' of the package p0 1 (added_predictions:HANDLER) failed: KeyE",
    ("model_loader", "folder"): "model loader 'mine' returned a PosixPath; expected a assay.training.model_file.Loaded",
    ("prediction_function", "flat"): "prediction function 'mine' returned (16,); expected a tensor (16, 1)",
    ("prediction_function", "none"): "prediction function 'mine' returned NoneType; expected a tensor (16, 1)",
}


@pytest.mark.parametrize(("key", "answer"), WRONG)
def test_what_a_package_returns_wrongly_is_one_error(trained, predict, added, key, answer):
    with pytest.raises(AssayError) as caught:
        predict(*trained(), datasets=("validation",), **{key: {"kind": "mine", "answer": answer}})
    assert WRONG[key, answer] in str(caught.value)
