"""``assay predict``: every kind of output, complete or absent, and one sentence for what can't be predicted."""

import json
import math
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from faster_coco_eval import COCO
from PIL import Image
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

import assay
from assay.cli.main import app, explained
from assay.experiments.contents import stage_results
from assay.inference.model import PredictedPart
from assay.inference.writing import predictions_file

pytestmark = pytest.mark.system


def predict(*arguments: object) -> tuple[int, str, str]:
    """Return exit code, standard output and standard error (or the message) of the command."""
    done = CliRunner().invoke(app, ["predict", *map(str, arguments)])
    message = "" if done.exception is None or isinstance(done.exception, SystemExit) else explained(done.exception)
    return done.exit_code, done.stdout, done.stderr + message


@pytest.fixture
def photos(families, tmp_path):
    """Give a folder of six whole pictures in an odd layout, beside files that are none."""
    folder = tmp_path / "photos"
    source = stage_results(families.storage, "detection")["generated_images"].folder
    for place, file in enumerate(sorted(source.rglob("*.png"))[:6]):
        target = folder / ("a" if place % 2 else "b/c") / f"{place}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


def pictures_in(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("?.png"))


@pytest.mark.parametrize("name", ["softmax", "multilabel", "regression", "detection", "segmentation"])
def test_tables_of_every_format_hold_the_predictions(photos, name, tmp_path):
    expected = assay.load_model(name).predict(photos)
    for ending in ("csv", "parquet", "json"):
        code, printed, told = predict(name, photos, "--out", tmp_path / f"out.{ending}")
        assert (code, printed) == (0, ""), told
        assert f"6 pictures predicted: {tmp_path / f'out.{ending}'}" in told
    assert_frame_equal(pl.read_parquet(tmp_path / "out.parquet"), expected)
    from_json = pl.read_json(tmp_path / "out.json", schema=expected.schema)
    assert_frame_equal(from_json, expected)
    labels = pl.col(name_ for name_, kind in expected.schema.items() if isinstance(kind, pl.List)).list.join(";")
    flat = expected.with_columns(labels) if name == "multilabel" else expected
    from_csv = pl.read_csv(tmp_path / "out.csv", schema=flat.schema)
    assert_frame_equal(from_csv, flat.with_columns(pl.col(pl.String).replace("", None)))
    assert sorted(set(expected["item"])) == pictures_in(photos) or name == "detection"


def test_without_a_file_the_table_goes_to_the_screen(photos):
    code, printed, _ = predict("softmax", photos / "a")
    assert code == 0
    assert printed.splitlines()[0].startswith("item,predicted_class,confidence,prob_")
    assert len(printed.splitlines()) == 4


@pytest.mark.parametrize("name", ["detection", "segmentation"])
def test_cocos_tools_read_what_is_written(photos, name, tmp_path):
    code, _, told = predict(name, photos, "--out", tmp_path / "coco.json")
    assert code == 0, told
    content = json.loads((tmp_path / "coco.json").read_text())
    assert [each["file_name"] for each in content["images"]] == pictures_in(photos)
    coco = COCO(tmp_path / "coco.json")
    assert len(coco.getImgIds()) == 6
    model = assay.load_model(name)
    table = model.predict(photos)
    if name == "detection":
        assert [each["score"] for each in content["annotations"]] == [round(each, 6) for each in table["confidence"]]
        first = content["annotations"][0]
        assert first["bbox"] == [round(each, 3) for each in table.row(0)[3:]]
        return
    masks = dict(model.masks(photos))
    for each in coco.loadAnns(coco.getAnnIds()):
        item = coco.loadImgs(each["image_id"])[0]["file_name"]
        assert np.array_equal(coco.annToMask(each), masks[item] == each["category_id"])


@pytest.mark.parametrize("name", ["softmax", "regression", "multilabel", "detection", "segmentation"])
def test_a_folder_of_pictures_has_one_of_each(photos, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, told = predict(name, "photos", "--out", "seen")
    assert code == 0, told
    seen = tmp_path / "seen"
    names = [str(Path(each).relative_to(tmp_path)) for each in pictures_in(photos)]
    assert sorted(str(each.relative_to(seen / "pictures")) for each in (seen / "pictures").rglob("*.png")) == [
        f"{each}.png" for each in names
    ]
    assert (seen / "predictions.csv").read_text().startswith("item,")
    assert (seen / "masks").is_dir() == (name == "segmentation")
    with Image.open(seen / "pictures" / f"{names[0]}.png") as drawn:
        assert drawn.mode == "RGB"


def test_globs_and_files_are_given_together(photos):
    code, printed, _ = predict("softmax", f"{photos}/**/0.png", photos / "a" / "1.png")
    assert code == 0
    assert [line.split(",")[0] for line in printed.splitlines()[1:]] == [
        str(photos / "b/c/0.png"),
        str(photos / "a/1.png"),
    ]


def test_pictures_that_cannot_be_read_are_listed_and_the_exit_code_says_so(photos, tmp_path):
    (photos / "a" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    code, _, told = predict("softmax", photos, "--out", tmp_path / "out.csv")
    assert code == 3
    assert "6 pictures predicted" in told
    assert f"not predicted: {photos}/a/broken.jpg: " in told
    assert len(pl.read_csv(tmp_path / "out.csv")) == 6


def test_nothing_readable_is_an_error_and_leaves_no_file(photos, tmp_path):
    for path in photos.rglob("?.png"):
        path.write_bytes(b"\x89PNG\r\n\x1a\n")
    for out in ("out.csv", "out.parquet", "coco.json", "seen"):
        code, _, told = predict("detection", photos, "--out", tmp_path / out)
        assert code == 1
        assert "None of 6 pictures can be read" in told
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_an_error_on_the_way_leaves_no_file_and_the_former_one_as_it_was(families, tmp_path):
    frame = pl.DataFrame({"size": [80.0] * 69_999 + [math.inf], "rooms": 3, "town": "Ulm", "garden": True})
    frame.write_parquet(tmp_path / "rows.parquet")
    (tmp_path / "out.csv").write_text("former")
    code, _, told = predict("table", tmp_path / "rows.parquet", "--out", tmp_path / "out.csv", "--overwrite")
    assert code == 1
    assert "inf" in told
    assert (tmp_path / "out.csv").read_text() == "former"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_is_replaced_only_when_asked(photos, tmp_path):
    (tmp_path / "out.csv").write_text("mine")
    (tmp_path / "seen").mkdir()
    for out in ("out.csv", "seen"):
        code, _, told = predict("softmax", photos, "--out", tmp_path / out)
        assert code == 1
        assert "exists already" in told
        assert "--overwrite" in told
    assert (tmp_path / "out.csv").read_text() == "mine"
    assert predict("softmax", photos, "--out", tmp_path / "out.csv", "--overwrite")[0] == 0
    assert predict("softmax", photos, "--out", tmp_path / "seen", "--overwrite")[0] == 0
    assert (tmp_path / "out.csv").read_text().startswith("item,")


def test_the_home_folder_is_meant_where_no_shell_says_so(families, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy("houses.csv", tmp_path / "new.csv")
    code, _, told = predict("table", "~/new.csv", "--out", "~/out.csv")
    assert code == 0, told
    assert (tmp_path / "out.csv").read_text().startswith("item,prediction")
    assert not Path("~").exists()


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "coco.json", "drawn"])
def test_what_cannot_be_written_is_one_sentence(photos, name):
    place = photos / "notes.txt" / name
    code, _, told = predict("detection", photos, "--out", place)
    assert code == 1
    assert f"--out {place} can't be written: " in told
    assert "make room, or name another" in told


def test_what_is_predicted_and_folders_of_other_things_are_never_replaced(photos):
    before = sorted(photos.rglob("*"))
    for arguments in (
        (photos, "--out", photos),
        (photos / "a", "--out", photos),
        (photos / "a" / "*.png", "--out", photos / "a"),
        (photos / "a", "--out", photos / "b"),
    ):
        code, _, told = predict("softmax", *arguments, "--overwrite")
        assert code == 1
        assert "would replace" in told or "would be lost" in told
        assert sorted(photos.rglob("*")) == before
    table = photos.parent / "houses.csv"
    shutil.copy("houses.csv", table)
    assert "would replace" in predict("table", table, "--out", table, "--overwrite")[2]


def test_a_folder_of_data_that_looks_like_predictions_is_not_replaced(photos, tmp_path):
    (tmp_path / "data" / "pictures").mkdir(parents=True)
    code, _, told = predict("softmax", photos, "--out", tmp_path / "data", "--overwrite")
    assert code == 1
    assert "holds 'pictures' but no predictions.csv" in told
    assert (tmp_path / "data" / "pictures").is_dir()


def test_nothing_but_former_output_is_an_error_and_leaves_it(photos, monkeypatch):
    monkeypatch.chdir(photos.parent)
    assert predict("softmax", photos, "--out", "seen")[0] == 0
    code, _, told = predict("softmax", "s*/pictures/**/*.png", "--out", "seen", "--overwrite")
    assert (code, "All pictures that are given are former output in --out" in told) == (1, True), told
    assert len(Path("seen/predictions.csv").read_text().splitlines()) == 7


def test_former_output_among_the_pictures_is_not_predicted(photos):
    for overwrite in ([], ["--overwrite"]):
        code, _, told = predict("softmax", photos, "--out", photos / "seen", *overwrite)
        assert code == 0
        assert "6 pictures predicted" in told


def test_pictures_of_one_name_in_and_above_the_folder_are_drawn_each(photos, monkeypatch):
    (photos / "b" / "a").mkdir()
    shutil.copy(photos / "a" / "1.png", photos / "b" / "a" / "1.png")
    monkeypatch.chdir(photos / "b")
    assert predict("softmax", "a/1.png", "../a/1.png", "--out", photos / "seen")[0] == 0
    assert sorted(path.name for path in (photos / "seen" / "pictures" / "a").iterdir()) == ["1.png-2.png", "1.png.png"]


ODD_NAMES = (
    "x\u2028y.png",
    "next\x85.png",
    "tab\t.png",
    'q"c,;\n.png',
    "cr\rx.png",
    "l" * 251 + ".png",
    "-o.png",
    "seen",
    "=1.png",
)


@pytest.fixture
def odd(photos):
    """Give a folder of pictures with names that file systems take, and one that is no text."""
    picture, folder = photos / "b" / "c" / "0.png", photos.parent / "odd"
    (folder / "seen.png").mkdir(parents=True)
    for name in (*ODD_NAMES, "seen.png/z.png"):
        shutil.copy(picture, folder / name)
    shutil.copy(picture, os.fsencode(folder) + b"/bad\xff.png")
    return folder


@pytest.mark.parametrize("name", ["softmax", "segmentation"])
def test_pictures_of_any_name_are_predicted_in_every_format(odd, name, tmp_path):
    expected = sorted(str(odd / each) for each in (*ODD_NAMES, "seen.png/z.png"))
    for ending in ("csv", "parquet", "json"):
        code, _, told = predict(name, odd, "--out", tmp_path / f"out.{ending}")
        assert code == 3, told
        assert "bad\\udcff.png: its name is not UTF-8; rename it" in told
    tables = pl.read_csv(tmp_path / "out.csv"), pl.read_parquet(tmp_path / "out.parquet")
    for items in (
        *(table["item"] for table in tables),
        [row["item"] for row in json.loads((tmp_path / "out.json").read_text())],
    ):
        assert sorted(set(items)) == expected
    assert predict(name, odd, "--out", tmp_path / "drawn")[0] == 3
    assert len([path for path in (tmp_path / "drawn" / "pictures").rglob("*.png") if path.is_file()]) == len(expected)
    if name == "segmentation":
        assert predict(name, odd, "--out", tmp_path / "coco.json")[0] == 3
        images = json.loads((tmp_path / "coco.json").read_text())["images"]
        assert sorted(each["file_name"] for each in images) == expected


def test_labels_that_hold_the_separator_are_separated_by_another(families, photos, tmp_path):
    model = assay.load_model("multilabel")
    target = model.stored.card.target
    names = ("a;b", *target.classes[1:])
    card = model.stored.card.model_copy(update={"target": target.model_copy(update={"classes": names})})
    renamed = type(model)(replace(model.stored, card=card), model.loaded)
    part = PredictedPart(
        pl.DataFrame({"item": ["one"], "predicted_labels": [["a;b", "even"]]}), pl.DataFrame({"item": ["one"]})
    )
    with predictions_file(renamed, tmp_path / "out.csv", sys.stdout) as writer:
        writer.add(part)
    assert (tmp_path / "out.csv").read_text() == "item,predicted_labels\none,a;b|even\n"


def test_a_table_is_predicted_from_csv_and_parquet(families, tmp_path):
    code, printed, told = predict("table", "houses.csv")
    assert code == 0, told
    assert "80 rows predicted" in told
    assert "columns that the model does not read: price" in told
    rows = stage_results(families.storage, "table")["tabular"].folder / "tabular.parquet"
    code, other, _ = predict("table", rows)
    assert code == 0
    assert sorted(printed.splitlines()) == sorted(other.splitlines())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["softmax", "houses.csv"], "pictures, but houses.csv is a table"),
        (["table", "."], "predicts a table with the columns size, rooms, town, garden"),
        (["table", "nothere.csv"], "nothere.csv does not exist"),
        (["table", "houses.csv", "more.csv"], "one table alone"),
        (["softmax", "nowhere"], "does not exist"),
        (["softmax", "no*where"], "matches no file"),
        (["houses.csv", "softmax"], "assay predict ID houses.csv softmax"),
        (["softmx", "."], "Did you mean 'softmax'"),
        (["softmax", ".", "--out", "out.xlsx"], "the ending '.xlsx'"),
        (["softmax", ".", "--out", "coco.json"], "COCO holds boxes or masks"),
        (["table", "houses.csv", "--out", "folder"], "rows, which are no pictures"),
        (["softmax", "experiments"], "holds no pictures"),
    ],
)
def test_what_cannot_be_predicted_is_one_sentence(families, arguments, told):
    before = sorted(path.name for path in families.folder.iterdir())
    code, printed, said = predict(*arguments)
    assert code == 1
    assert told in said
    assert printed == ""
    assert sorted(path.name for path in families.folder.iterdir()) == before


def test_a_model_of_crops_says_that_nothing_is_cut_out(photos):
    assert "each picture is one object" in predict("softmax", photos)[2]
    assert "each picture is one object" not in predict("detection", photos)[2]
