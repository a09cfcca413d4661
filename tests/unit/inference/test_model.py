"""A loaded model gives the numbers of its experiment's predictions, and says plainly what it can't predict."""

import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from polars.testing import assert_frame_equal, assert_series_equal

import assay
from assay.cli.results import show
from assay.datasets.scaling import CategoricalInfo, NormalizationInfo
from assay.datasets.schema import root_of
from assay.errors import AssayError, DataError, StorageError
from assay.experiments.contents import stage_results
from assay.images.decoding import decode
from assay.inference.export import check_export
from assay.inference.pictures import files_of, prepare_picture
from assay.inference.scoring import Scoring
from assay.inference.stored import find_model
from assay.inference.tables import table_parts
from tests.helpers.trained import DATES, FAMILIES, TABLES, TrainedProject, write_houses

pytestmark = pytest.mark.system

PICTURES = [name for name in FAMILIES if name not in TABLES]


def own_test_items(project: TrainedProject, name: str, is_table: bool = False) -> tuple[pl.DataFrame, list]:
    """Return the rows of a stage that are the experiment's test items, and the picture files of each."""
    results = stage_results(project.storage, name)
    if is_table or name in TABLES:
        rows = pl.read_parquet(results["tabular"].folder / "tabular.parquet")
        return rows.filter(pl.col("subset") == "test"), []
    whole = name in ("segmentation", "detection")
    folder = results["splits" if whole else "crops"].folder
    rows = pl.read_parquet(folder / ("items.parquet" if whole else "crops.parquet")).filter(pl.col("subset") == "test")
    base = root_of(folder) if whole else folder
    return rows, [base / file for file in rows["file"]]


def stored_predictions(project: TrainedProject, name: str) -> pl.DataFrame:
    """Return the test rows of the experiment's predictions, without what is true."""
    folder = stage_results(project.storage, name)["predictions"].folder
    rows = pl.read_parquet(folder / "predictions.parquet").filter(pl.col("subset") == "test")
    if name == "segmentation":
        rows = rows.group_by("item", "predicted_class", maintain_order=True).agg(pl.col("pixels").sum())
    return rows.select(pl.exclude("subset", "image", "^target.*$")).sort("item", maintain_order=True)


@pytest.mark.parametrize("name", FAMILIES)
def test_own_test_items_get_the_very_numbers_of_the_predictions(families, name):
    rows, files = own_test_items(families, name)
    model = assay.load_model(name)
    found = model.predict(files or rows)
    names = dict(zip(map(str, files), rows["item"], strict=True)) if files else {}
    found = found.with_columns(pl.col("item").replace(names)).sort("item", maintain_order=True)
    order = ["item", "predicted_class"] if name == "segmentation" else ["item"]
    stored = stored_predictions(families, name)
    assert len(stored) > 0
    assert_frame_equal(
        found.sort(order, maintain_order=True), stored.sort(order, maintain_order=True), check_exact=True
    )


def test_masks_are_those_that_were_stored(families):
    rows, files = own_test_items(families, "segmentation")
    folder = stage_results(families.storage, "segmentation")["predictions"].folder / "masks"
    masks = dict(assay.load_model("segmentation").masks(files))
    assert any(mask.any() for mask in masks.values())
    for item, file in zip(rows["item"], files, strict=True):
        with Image.open(folder / f"{item}.png") as stored:
            assert np.array_equal(masks[str(file)], np.asarray(stored))


def test_pictures_come_as_files_folders_images_and_arrays(families, tmp_path):
    _, files = own_test_items(families, "softmax")
    for place, file in enumerate(files):
        shutil.copy(file, tmp_path / f"{place:03}.png")
    images = [decode(file.read_bytes()) for file in files]
    model = assay.load_model("softmax")
    of_files, of_folder, of_images, of_arrays = (
        model.predict(each).drop("item") for each in (files, tmp_path, images, [np.asarray(each) for each in images])
    )
    for other in (of_folder, of_images, of_arrays):
        assert_frame_equal(other, of_files, check_exact=True)
    one = model.predict(np.asarray(images[0]))
    assert one["item"].to_list() == ["000000000"]
    assert one["predicted_class"][0] == of_files["predicted_class"][0]


def test_a_picture_that_pillow_opened_is_turned_upright_as_its_file_is(families, tmp_path):
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:10, :10] = 255
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    image.save(tmp_path / "turned.png", exif=exif)
    model = assay.load_model("softmax")
    with Image.open(tmp_path / "turned.png") as opened:
        found = model.predict(opened)
    assert_frame_equal(found.drop("item"), model.predict(tmp_path / "turned.png").drop("item"), check_exact=True)
    assert not found.drop("item").equals(model.predict(image).drop("item"))


def test_models_in_threads_compute_one_after_the_other(families):
    before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    entered = [threading.Event(), threading.Event()]
    together = []

    def slow(own: int) -> assay.Model:
        model = assay.load_model("table")
        plain = model._way

        def way(values, generator):
            entered[own].set()
            together.append(entered[1 - own].wait(0.5) and not together)
            return plain(values, generator)

        model._way = way
        return model

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda model: model.predict("houses.csv"), [slow(0), slow(1)])
    assert together == [False, False]
    assert_frame_equal(one, other, check_exact=True)
    assert (torch.get_num_threads(), torch.get_deterministic_debug_mode()) == before


def test_grey_and_transparent_pictures_are_read_as_in_training(families):
    model = assay.load_model("softmax")
    grey = np.full((40, 30), 90, np.uint8)
    colour = np.repeat(grey[..., None], 3, 2)
    opaque = np.dstack([colour, np.full_like(grey, 255)])
    first, *others = (model.predict(each).drop("item") for each in (grey, colour, opaque, Image.fromarray(grey)))
    for other in others:
        assert_frame_equal(other, first, check_exact=True)


@pytest.mark.parametrize("place", ["experiment", "result", "file", "elsewhere"])
@pytest.mark.parametrize("name", ["regression", "table", "detection"])
def test_a_model_is_found_by_its_path(families, name, place, tmp_path, monkeypatch):
    results = stage_results(families.storage, name)
    folder = next(each for each in (families.storage / "experiments").iterdir() if each.name.endswith(f"id_{name}"))
    rows, files = own_test_items(families, name)
    if place == "elsewhere":
        shutil.copytree(folder, tmp_path / "copy")
        monkeypatch.setenv("ASSAY_STORAGE", str(tmp_path / "none"))
    path = {
        "experiment": folder,
        "result": results["trained_model"].folder,
        "file": folder / "models" / "model.safetensors",
        "elsewhere": tmp_path / "copy",
    }[place]
    found = assay.load_model(path).predict(files or rows)
    monkeypatch.undo()
    families.enter(monkeypatch)
    expected = assay.load_model(name).predict(files or rows)
    if place == "result" and name == "detection":  # a training does not say which boxes a prediction keeps
        expected = expected.filter(pl.col("confidence") >= 0.02)
        found = found.filter(pl.col("item").is_in(expected["item"].to_list()))
        assert found["confidence"].max() == expected["confidence"].max()
        return
    assert_frame_equal(found, expected, check_exact=True)


def test_the_card_says_what_the_model_is(families):
    card = assay.load_model("multilabel").card
    assert card.task == "multi_label"
    assert card.classes == (*"0123456789", "even")
    assert card.inputs["view"] == "crops"
    assert set(card.rows) == {"train", "validation"}
    assert {row["metric"] for row in card.metrics} >= {"macro_f1", "exact_match"}
    assert {"assay", "torch", "numpy", "python"} <= set(card.versions)
    assert card.as_dict()["experiment_id"] == "multilabel"


def test_a_table_is_read_as_the_trainings_was(families):
    frame = assay.load_model("table").predict("houses.csv")
    assert frame.columns == ["item", "prediction"]
    assert len(frame) == 80


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_texts_stay_texts_where_a_few_rows_hold_nothing_but_numbers(families, ending, tmp_path):
    stored, rows = find_model("table"), pl.DataFrame({"size": [80.5], "town": [7], "garden": [True]})
    texts = CategoricalInfo(name="town", dtype="String", values=("7", "B1"))
    source = {
        **stored.source,
        "delimiter": ",",
        "decimal": ".",
        "text_columns": ["town"] if ending == "parquet" else [],
    }
    model = replace(stored, scaling=NormalizationInfo(fitted_rows=9, norm_infos=(texts,)), source=source)
    path = tmp_path / f"new.{ending}"
    rows.write_csv(path) if ending == "csv" else rows.write_parquet(path)
    ((read, _),) = table_parts(model, path)
    assert read["town"].to_list() == ["7"]
    assert read["size"].to_list() == [80.5]


def test_a_column_without_numbers_is_refused_by_the_first_value_that_is_none(families, tmp_path):
    (tmp_path / "new.csv").write_text("size;rooms;town;garden\n80,5;3;Ulm;true\n90.5;3;Ulm;true\n")
    with pytest.raises(DataError, match=r"column 'size': holds String, such as '90\.5'; expected numbers"):
        assay.load_model("table").predict(tmp_path / "new.csv")


def test_what_may_be_meant_otherwise_in_a_table_is_told(families, tmp_path):
    rows = 'size;rooms;town;garden;note\n80,5;3;"Ulm\nBonn";true;a\n80,5;3;Ulm;true;"b\n"\n'
    (tmp_path / "rows.csv").write_text(rows)
    (part,) = assay.load_model("table").parts(tmp_path / "rows.csv")
    assert [note.partition(";")[0] for note in part.notes] == [
        "column 'town': 1 value holds line breaks",
        "column 'note': 1 value holds line breaks",
    ]


def test_names_of_rows_are_texts_or_their_numbers(families):
    model = assay.load_model("table")
    assert model.predict(FRAME.with_columns(item=pl.lit(7)))["item"].to_list() == ["7"]
    for odd in ([1, 2], b"\xff"):
        assert model.predict(FRAME.with_columns(item=pl.Series([odd])))["item"].to_list() == ["000000000"]


def test_rows_without_any_value_are_told(families, tmp_path):
    row = "80,5;3;Ulm;true"
    (tmp_path / "rows.csv").write_text(
        "\n".join(["size;rooms;town;garden;note", f"{row};", "", ";;;;Total", f"{row};"])
    )
    (part,) = assay.load_model("table").parts(tmp_path / "rows.csv")
    assert len(part.table) == 4
    (note,) = part.notes
    assert note.startswith("2 rows have no value in any column that the model reads (the first is row 2 of the table)")
    (part,) = assay.load_model("table").parts(FRAME)
    assert part.notes == ()


def test_a_table_in_another_form_is_told_the_trainings(families, tmp_path):
    (tmp_path / "new.csv").write_text("size,rooms,town,garden\n80.5,3,Ulm,true\n")
    with pytest.raises(DataError, match=r"was: ';' between values, ',' before decimals, UTF-8\.$"):
        assay.load_model("table").predict(tmp_path / "new.csv")


def test_a_parquet_file_without_rows_is_an_empty_table(families, tmp_path):
    FRAME.select(pl.lit(None).alias(name) for name in FRAME.columns).clear().write_parquet(tmp_path / "none.parquet")
    frame = assay.load_model("table").predict(tmp_path / "none.parquet")
    assert frame.schema == {"item": pl.String, "prediction": pl.Float64}
    assert len(frame) == 0


def test_pictures_as_large_as_the_trainings_are_read(families, tmp_path):
    stored = find_model("softmax")
    path = tmp_path / "large.png"
    Image.fromarray(np.zeros((7200, 7200), np.uint8)).save(path)
    assert "expected at most 50,000,000" in prepare_picture(stored, "large", path).problem
    trained = replace(stored, source={**stored.source, "max_pixels": 60_000_000})
    assert not prepare_picture(trained, "large", path).problem


def test_a_file_that_several_paths_mean_is_one_item(tmp_path):
    for name in ("a", "b"):
        Image.new("L", (9, 9)).save(tmp_path / f"{name}.png")
    paths = [tmp_path / "b.png", tmp_path, f"{tmp_path}/*.png", tmp_path / "x" / ".." / "a.png"]
    (tmp_path / "x").mkdir()
    assert [path.name for path in files_of(paths)] == ["b.png", "a.png"]


def test_importing_takes_neither_dagster_nor_plots(families):
    code = (
        "import sys, assay; assert 'torch' not in sys.modules; model = assay.load_model('table'); "
        "model.predict('houses.csv'); "
        "print([each for each in ('dagster', 'matplotlib', 'mlflow') if each in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


FRAME = pl.DataFrame({"size": [80.0], "rooms": [3], "town": ["Ulm"], "garden": [True]})


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (FRAME.drop("size"), ["needs 4 columns", "size"]),
        (FRAME.rename({"rooms": "Rooms"}), ["rooms: is it 'Rooms'?"]),
        (FRAME.with_columns(size=pl.lit(float("inf"))), ["column 'size'"]),
        (FRAME.with_columns(size=pl.lit("many")), ["column 'size': holds String", "expected numbers"]),
        (FRAME.with_columns(town=pl.lit(3)), ["column 'town': holds Int32, such as 3; expected texts"]),
        (FRAME.with_columns(garden=pl.lit("yes")), ["column 'garden': holds String", "expected true or false"]),
    ],
)
def test_a_table_that_does_not_fit_is_refused(families, frame, told):
    with pytest.raises(DataError) as error:
        assay.load_model("table").predict(frame)
    assert all(each in str(error.value) for each in told), str(error.value)


@pytest.mark.parametrize("name", ["table", "gaps"])
def test_gaps_of_new_rows_are_filled_as_the_trainings_were(families, name, tmp_path):
    model = assay.load_model(name)
    filling = {info.name: info.value for info in model.stored.scaling.filled}
    usual = FRAME.with_columns(size=pl.lit(filling["size"]), rooms=pl.lit(filling["rooms"]))
    gaps = FRAME.with_columns(size=pl.lit(None), rooms=pl.lit(float("nan")))
    expected, found = model.predict(usual)["prediction"], model.predict(gaps)["prediction"]
    is_same = found[0] == pytest.approx(expected[0], rel=1e-6)
    assert is_same == (name == "table")  # whose train had no gap, so that nothing marks them
    gaps.with_columns(rooms=None).write_csv(path := tmp_path / "rows.csv", separator=";")
    assert_series_equal(model.predict(path)["prediction"], found)
    nothing = model.predict(pl.DataFrame({column: [None, None] for column in FRAME.columns}))["prediction"]
    assert nothing.is_finite().all()
    assert nothing[0] == pytest.approx(nothing[1], rel=1e-6)


def test_a_category_that_the_training_lacked_is_predicted_unless_the_training_refused_such(families):
    model = assay.load_model("table")
    new = FRAME.with_columns(town=pl.lit("Rom"))
    assert model.predict(new)["prediction"].is_finite().all()
    (town,) = [info for info in model.stored.scaling.norm_infos if info.name == "town"]
    strict = NormalizationInfo(fitted_rows=9, norm_infos=(town.model_copy(update={"unseen_code": None}),))
    with pytest.raises(
        DataError, match=r"unseen_categories: code(.|\n)*'Rom' in 1 rows?, .* only 'Bonn', 'Kiel', 'Ulm'"
    ):
        type(model)(replace(model.stored, scaling=strict), model.loaded).predict(new)


def test_columns_that_only_mark_gaps_are_none_of_the_table(families):
    card = assay.load_model("gaps").card
    assert card.inputs["columns"] == FRAME.columns
    with pytest.raises(DataError, match="needs 4 columns, and 1 of them"):
        assay.load_model("gaps").predict(FRAME.drop("size"))


def test_dates_are_read_as_the_trainings_were_whatever_their_type(families, tmp_path):
    model = assay.load_model("boosted")
    assert model.card.inputs["columns"] == [*FRAME.columns, "sold"]
    assert {"sold_year", "sold_hour"} <= set(model.stored.card.inputs.columns)
    early, late = (FRAME.with_columns(sold=pl.lit(text)) for text in ("2021-02-03T09:30", "2023-02-03T09:30"))
    prices = [model.predict(each)["prediction"][0] for each in (early, late)]
    assert prices[0] < prices[1]
    as_time = late.with_columns(pl.col("sold").str.to_datetime())
    assert model.predict(as_time)["prediction"][0] == prices[1]
    late.with_columns(size=pl.lit(80)).write_csv(path := tmp_path / "rows.csv", separator=";")
    assert model.predict(path)["prediction"][0] == prices[1]
    assert model.predict(late.with_columns(sold=pl.lit(None)))["prediction"].is_finite().all()
    for wrong, told in (
        ("soon", "value is no date, such as 'soon'; write them as 2024-01-31"),
        (7, "holds Int32; exp"),
        (date(2023, 2, 3), "holds days without times, but the fitted rows differ in their hour"),
    ):
        with pytest.raises(DataError, match=told):
            model.predict(FRAME.with_columns(sold=pl.lit(wrong)))
    (part,) = model.parts(FRAME.with_columns(sold=pl.lit("2023-02-03")))
    assert [note for note in part.notes if "'sold': no value has a time of day" in note]


def test_categories_that_are_rare_in_the_training_or_not_in_it_are_counted(families):
    model, towns = assay.load_model("table"), ["Rom", "Ulm", "Oslo"]
    rows = pl.concat([FRAME.with_columns(town=pl.lit(town)) for town in towns])
    (part,) = model.parts(rows)
    assert part.rare == {"town": 2}
    scoring = Scoring(model, "rows", iter([part, part]))
    list(scoring)
    assert scoring.about_rare.startswith(
        "categories that the training data lack, or hardly have: 'town' in 4 rows; they"
    )
    assert Scoring(model, "rows", iter(())).about_rare == ""


def test_a_table_whose_model_the_data_chose_is_a_model_like_any_other(tmp_path, monkeypatch, capsys):
    write_houses(tmp_path / "dates.csv", 120, dates=True)
    project = TrainedProject(tmp_path)
    project.enter(monkeypatch)
    analyzer = {"bootstrap_samples": 20, "simple_models": False}
    source = {"generated_images": {"source": DATES}, "analysis": {"result_analyzer": analyzer}}
    project.write("houses", {"task": "regression", **source})
    project.run("houses")
    model = assay.load_model("houses")
    assert set(model.card.candidates) == {"linear", "gradient_boosting", "mlp"}
    assert model.card.validation["loss"] == min(model.card.candidates.values())
    rows, _ = own_test_items(project, "houses", is_table=True)
    assert_frame_equal(model.predict(rows), stored_predictions(project, "houses"), check_row_order=False)
    assert check_export(model).passed
    show("houses")
    assert " was chosen: its loss on validation is " in capsys.readouterr().out


def test_other_columns_are_not_looked_at(families):
    model = assay.load_model("table")
    more = FRAME.with_columns(price=pl.lit("unknown"), note=pl.lit(None, pl.String))
    assert_frame_equal(model.predict(more.select(sorted(more.columns))), model.predict(FRAME))


def test_the_other_kind_of_input_is_refused_with_both(families):
    with pytest.raises(
        DataError, match=r"'table' is a regression model that predicts a table .*but what is given is pict"
    ):
        assay.load_model("table").predict(np.zeros((4, 4), np.uint8))
    with pytest.raises(DataError, match=r"'softmax' is a classification model .*pictures, but houses.csv is a table"):
        assay.load_model("softmax").predict("houses.csv")
    with pytest.raises(DataError, match="predicts no masks"):
        next(assay.load_model("softmax").masks([]))


@pytest.mark.parametrize(
    ("picture", "told"),
    [
        (np.zeros((3, 20, 20), np.uint8), "the channels come last"),
        (np.zeros((20, 20, 3)), "expected uint8"),
        (np.zeros((0, 20), np.uint8), "expected uint8"),
        (Image.new("F", (8, 8)), "floating point"),
        (Image.new("RGB", (0, 8)), "has 0x8 pixels"),
        ("nowhere.png", "does not exist"),
    ],
)
def test_a_picture_of_another_mode_is_refused(families, picture, told):
    with pytest.raises(DataError, match=told):
        assay.load_model("softmax").predict([picture])


def test_pictures_that_cannot_be_read_are_listed_and_the_others_predicted(families, tmp_path):
    _, files = own_test_items(families, "detection")
    (tmp_path / "broken.png").write_bytes(files[0].read_bytes()[:200])
    (tmp_path / "empty.jpg").write_bytes(b"")
    parts = list(assay.load_model("detection").parts([files[0], tmp_path / "broken.png", tmp_path / "empty.jpg"]))
    assert [item for part in parts for item, _ in part.problems] == [
        str(tmp_path / name) for name in ("broken.png", "empty.jpg")
    ]
    assert parts[0].items["item"].to_list() == [str(files[0])]
    with pytest.raises(DataError, match="2 picture"):
        assay.load_model("detection").predict([files[0], tmp_path / "broken.png", tmp_path / "empty.jpg"])


def test_what_is_no_picture_and_no_path_is_one_sentence(families):
    model = assay.load_model("softmax")
    for given, told in ((None, "A NoneType was given"), (7, "A int was given"), ("", "A path is empty")):
        with pytest.raises(DataError, match=told):
            model.predict(given)
    for path in ("nowhere.csv", "nowhere.parquet"):
        with pytest.raises(DataError, match=f"{path} does not exist"):
            assay.load_model("table").predict(path)


def test_pictures_of_which_something_is_lost_are_told(families, tmp_path):
    first, second = (Image.new("RGB", (40, 30), colour) for colour in ("red", "blue"))
    first.save(tmp_path / "pages.tif", save_all=True, append_images=[second])
    first.save(tmp_path / "one.png")
    (part,) = assay.load_model("softmax").parts(tmp_path)
    (note,) = part.notes
    assert note.startswith("1 picture with several frames or pages, of which only the first is used")
    assert note.endswith(f"such as {tmp_path / 'pages.tif'}")
    assert len(part.table) == 2


def test_nothing_to_predict_is_an_empty_table_with_the_right_columns(families):
    for name in PICTURES:
        model = assay.load_model(name)
        assert_frame_equal(model.predict([]), model.predict([np.zeros((40, 40), np.uint8)]).head(0))
        (part,) = model.parts([np.zeros((3, 3), np.float32)])
        assert len(part.problems) == 1
        assert part.table.columns == model.predict([np.zeros((40, 40), np.uint8)]).columns


def test_an_experiment_that_does_not_exist_or_is_not_trained_says_what_to_do(families):
    with pytest.raises(StorageError, match=r"'softmx' does not exist\. Did you mean 'softmax'"):
        assay.load_model("softmx")
    families.write("fresh", {"task": "regression"})
    with pytest.raises(StorageError, match=r"not trained yet\. Next: assay run fresh"):
        assay.load_model("fresh")
    families.run("fresh", until="generated_images")
    with pytest.raises(StorageError, match=r"not trained yet\. Next: assay run fresh"):
        assay.load_model("fresh")
    with pytest.raises(StorageError, match="no folder of an experiment"):
        assay.load_model(families.folder)
    with pytest.raises(AttributeError):
        _ = assay.load_modle


def test_a_folder_without_what_predicting_needs_is_refused(families, tmp_path):
    folder = next(each for each in (families.storage / "experiments").iterdir() if each.name.endswith("id_table"))
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "normalized" / "normalization_info.yaml").unlink()
    with pytest.raises(StorageError, match="how the columns of the model were scaled is not known"):
        assay.load_model(copy)
    weights = shutil.copy(folder / "models" / "model.safetensors", tmp_path / "alone.safetensors")
    with pytest.raises(StorageError, match="does not say how they were scaled"):
        assay.load_model(weights)
    (copy / "models" / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(StorageError, match="not a readable model file"):
        assay.load_model(copy)
    (copy / "results" / "trained_model" / "manifest.json").write_text("{}")
    with pytest.raises(AssayError, match="Next: assay run"):
        assay.load_model(copy)
