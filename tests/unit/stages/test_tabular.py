"""The stage ``tabular``: true area resize, labels, subsets, the user's own rows."""

import numpy as np
import polars as pl
import pytest
from PIL import Image

from assay.datasets.schema import IMAGE_ITEM_COLUMNS, ROW_ITEM_COLUMNS, TableInfo, read_table_info
from assay.errors import DataError
from assay.spec.tabular import TabularSection
from assay.stages.crops import CROP_COLUMNS, numeric_labels
from assay.stages.tabular import build_tabular, grey_pixels
from assay.storage.parquet import read_parquet, write_parquet


def half_and_half(width, height, left=0, right=255):
    pixels = np.full((height, width), left, dtype=np.uint8)
    pixels[:, width // 2 :] = right
    return Image.fromarray(pixels)


@pytest.mark.defect("A3")
@pytest.mark.parametrize("size", [40, 20, 64, 10, 1000])
def test_a_half_black_half_white_pattern_survives_scaling(size):
    rows = grey_pixels(half_and_half(size, size), (10, 10), 0)
    assert rows[:, :5].tolist() == [[0.0] * 5] * 10
    assert rows[:, 5:].tolist() == [[255.0] * 5] * 10


@pytest.mark.defect("A3")
def test_every_pixel_counts_and_not_only_the_first_hundred():
    pixels = np.zeros((40, 40), dtype=np.uint8)
    pixels[30:, 30:] = 255
    rows = grey_pixels(Image.fromarray(pixels), (4, 4), 0)
    assert rows[3, 3] == 255
    assert rows.sum() == 255


@pytest.mark.defect("A3")
def test_a_scaled_picture_gives_the_same_row():
    small = np.random.default_rng(0).integers(0, 256, (10, 10), dtype=np.uint8)
    large = np.kron(small, np.ones((7, 7), dtype=np.uint8))
    rows = grey_pixels(Image.fromarray(large), (10, 10), 0)
    assert rows == pytest.approx(small.astype(np.float32), abs=1e-3)


def test_a_middle_that_is_half_covered_is_grey():
    assert grey_pixels(half_and_half(40, 40), (3, 3), 0)[0] == pytest.approx([0, 127.5, 255])


def test_an_image_of_another_shape_gets_a_border_on_both_sides():
    wide = grey_pixels(Image.new("L", (40, 20), 200), (10, 10), 0)
    assert wide[:, 0].tolist() == pytest.approx([0, 0, *[200] * 5, 0, 0, 0])
    high = grey_pixels(Image.new("L", (10, 40), 200), (8, 8), 99)
    assert high[0].tolist() == pytest.approx([99, 99, 99, 200, 200, 99, 99, 99])


def test_without_border_the_image_is_stretched():
    assert grey_pixels(Image.new("L", (40, 3), 200), (10, 10), None) == pytest.approx(200)


def test_colours_become_grey():
    assert grey_pixels(Image.new("RGB", (4, 4), (0, 255, 0)), (1, 1), 0)[0, 0] == pytest.approx(150)


def write_inputs(root, crops):
    """Write results of ``splits`` and ``crops``: (item, image, subset, label, file) and one grey level each."""
    for name in ("source", "splits", "crops"):
        (root / name).mkdir()
    rows = []
    for level, (item, image, subset, label, file) in enumerate(crops):
        (root / "crops" / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (20, 20), 10 * level).save(root / "crops" / file)
        rows.append({"item": item, "image": image, "subset": subset, "label": label, "file": file})
    frame = pl.DataFrame(rows, schema=CROP_COLUMNS)
    frame = frame.with_columns(number=numeric_labels(frame["label"]))
    write_parquet(frame, root / "crops" / "crops.parquet")
    items = frame.select(item="image", subset="subset", folder=pl.col("image").str.replace(r"/?[^/]*$", "")).unique()
    schema = {**IMAGE_ITEM_COLUMNS, "subset": pl.String}
    write_parquet(pl.DataFrame(items.to_dicts(), schema=schema), root / "splits" / "items.parquet")


@pytest.fixture
def tabulate(tmp_path):
    def tabulate(**keys):
        folder = tmp_path / "result"
        folder.mkdir()
        spec = TabularSection.model_validate(keys)
        report = build_tabular(tmp_path / "source", tmp_path / "splits", tmp_path / "crops", spec, folder)
        return report, read_parquet(folder / "tabular.parquet"), read_table_info(folder)

    return tabulate


NUMBERS = [
    ("b_0", "b", "test", "3", "test/b_0.png"),
    ("a_0", "a", "train", "7", "train/a_0.png"),
    ("a_1", "a", "train", "1", "train/a_1.png"),
]
CLASSES = [
    ("cat/x_1.png", "cat/x_1.png", "train", "cat", "train/cat/x_1.png"),
    ("dog/deep/y_2.png", "dog/deep/y_2.png", "test", "dog", "test/dog/deep/y_2.png"),
]


def test_each_crop_is_a_row_of_grey_pixels(tabulate, tmp_path):
    write_inputs(tmp_path, NUMBERS)
    report, table, info = tabulate(target_image_size={"width": 3, "height": 2})
    pixels = ["px_0_0", "px_0_1", "px_0_2", "px_1_0", "px_1_1", "px_1_2"]
    assert table.columns == ["item", "image", "subset", "label", "target", *pixels]
    assert table["item"].to_list() == ["a_0", "a_1", "b_0"]
    assert table["target"].to_list() == [7.0, 1.0, 3.0]
    assert table["px_0_1"].to_list() == [10.0, 20.0, 0.0]
    assert table.schema["px_0_0"] == pl.Float32
    assert info == TableInfo("target", tuple(pixels))
    assert report["rows_per_subset"] == {"test": 1, "train": 2}
    assert (tmp_path / "result" / "pictures" / "rows.png").exists()


@pytest.mark.defect("A3")
def test_the_rows_of_the_table_are_the_whole_crops_and_not_their_first_pixels(tabulate, tmp_path):
    write_inputs(tmp_path, NUMBERS)
    for *_, file in NUMBERS:
        half_and_half(40, 40).save(tmp_path / "crops" / file)
    _, table, _ = tabulate(target_image_size={"width": 4, "height": 4})
    pixels = table.select(pl.selectors.starts_with("px_")).to_numpy()
    assert pixels == pytest.approx(np.tile([0.0, 0.0, 255.0, 255.0], (len(NUMBERS), 4)))


def test_classes_that_are_no_numbers_have_no_number_as_target(tabulate, tmp_path):
    write_inputs(tmp_path, CLASSES)
    _, table, info = tabulate()
    assert "target" not in table.columns
    assert info.target_column == "label"


def test_the_label_can_come_from_the_file_name(tabulate, tmp_path):
    write_inputs(tmp_path, CLASSES)
    _, table, info = tabulate(name_delimiter="_")
    assert table["target"].to_list() == [1.0, 2.0]
    assert info.target_column == "target"


def test_labels_of_boxes_are_not_replaced_by_parts_of_names(tabulate, tmp_path):
    write_inputs(tmp_path, NUMBERS)
    with pytest.raises(DataError, match=r"tabular.name_delimiter .* labels of their boxes"):
        tabulate(name_delimiter="_")


def test_all_rows_can_be_put_into_train(tabulate, tmp_path):
    write_inputs(tmp_path, NUMBERS)
    assert set(tabulate(use_dirs_as_subsets=False)[1]["subset"]) == {"train"}


def test_crops_below_the_class_folders_can_be_left_out(tabulate, tmp_path):
    write_inputs(tmp_path, CLASSES)
    assert tabulate(recursive=False)[1]["label"].to_list() == ["cat"]


def test_one_folder_of_each_subset_can_be_chosen(tabulate, tmp_path):
    write_inputs(tmp_path, CLASSES)
    assert tabulate(sub_dir="dog")[1]["label"].to_list() == ["dog"]


def test_a_folder_without_crops_is_named_with_the_nearest(tabulate, tmp_path):
    write_inputs(tmp_path, CLASSES)
    with pytest.raises(DataError, match=r"tabular.sub_dir 'cats': no crop .* Did you mean 'cat'\?"):
        tabulate(sub_dir="cats")


def test_equal_input_gives_equal_bytes(tabulate, tmp_path):
    write_inputs(tmp_path, NUMBERS)
    tabulate()
    first = (tmp_path / "result" / "tabular.parquet").read_bytes()
    (tmp_path / "result").rename(tmp_path / "former")
    tabulate()
    assert (tmp_path / "result" / "tabular.parquet").read_bytes() == first


def write_table(root):
    for name in ("source", "splits"):
        (root / name).mkdir()
    rows = pl.DataFrame({"item": ["0", "1", "2"], "size": [1.5, 2.5, 3.5], "price": [10, 20, 30]})
    write_parquet(rows, root / "source" / "rows.parquet")
    TableInfo("price", ("size",)).write(root / "source")
    items = [{"item": str(row), "subset": subset} for row, subset in enumerate(["train", "test", "train"])]
    schema = {**ROW_ITEM_COLUMNS, "subset": pl.String}
    write_parquet(pl.DataFrame(items, schema=schema), root / "splits" / "items.parquet")


def test_a_table_keeps_its_columns_and_gets_its_subsets(tabulate, tmp_path):
    write_table(tmp_path)
    report, table, info = tabulate()
    assert table.columns == ["item", "subset", "size", "price"]
    assert table["subset"].to_list() == ["train", "test", "train"]
    assert table["size"].to_list() == [1.5, 2.5, 3.5]
    assert info == TableInfo("price", ("size",))
    assert report["target_column"] == "price"


def test_images_without_crops_are_refused(tmp_path):
    write_inputs(tmp_path, NUMBERS)
    with pytest.raises(DataError, match="tabular needs crops"):
        build_tabular(tmp_path / "source", tmp_path / "splits", None, TabularSection(), tmp_path)
