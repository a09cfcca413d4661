"""The user's folders of masks: what values mean, and what is refused."""

import json

import numpy as np
import polars as pl
import pytest
from PIL import Image

from assay.datasets.index import build_masks
from assay.datasets.schema import mask_root_of, root_of
from assay.errors import DataError
from assay.images.decoding import read_mask
from assay.spec.generated_images import MaskFolderSource


def save(path, image=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    level = sum(map(ord, path.parent.name + path.name)) % 200
    (image or Image.new("RGB", (8, 6), (level, 90, 40))).save(path, **options)


def grey(values, dtype=np.uint8):
    pixels = np.zeros((6, 8), dtype)
    pixels[0, : len(values)] = values
    return Image.fromarray(pixels)


def palette(values):
    image = Image.frombytes("P", (8, 6), grey(values).tobytes())
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [7] * 759)
    return image


def colours(values):
    image = Image.new("RGB", (8, 6))
    for place, value in enumerate(values):
        image.putpixel((place, 0), value)
    return image


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data"


def build(root, tmp_path, **keys):
    folder = tmp_path / "result"
    folder.mkdir()
    report = build_masks(MaskFolderSource(path=str(root), **keys), 0, folder)
    (folder / "report.json").write_text(json.dumps(report))
    tables = [pl.read_parquet(folder / f"{name}.parquet") for name in ("items", "mask_classes")]
    return report, *tables, folder


def refused(root, tmp_path, **keys):
    with pytest.raises(DataError) as caught:
        build(root, tmp_path, **keys)
    assert not list((tmp_path / "result").iterdir()), "nothing may be computed"
    return str(caught.value)


def pair(root, mask, name="a", ending="png"):
    save(root / "images" / f"{name}.jpg")
    save(root / "masks" / f"{name}.{ending}", mask)


@pytest.mark.parametrize("mask", [palette([1, 2, 255]), grey([1, 2, 255])], ids=["palette", "grey"])
def test_every_value_found_is_a_class_of_that_name(root, tmp_path, mask):
    pair(root, mask)
    report, items, classes, folder = build(root, tmp_path)
    assert classes.rows() == [(0, None, "background"), (1, "1", "class"), (2, "2", "class"), (255, None, "ignore")]
    assert items.select("item", "file", "mask", "labelled").rows() == [("a.jpg", "a.jpg", "a.png", True)]
    assert (root_of(folder), mask_root_of(folder)) == (root / "images", root / "masks")
    assert (report["labels"], report["pixel_shares"]["1"]) == ({"1": 1, "2": 1}, round(1 / 48, 6))
    assert (folder / "pictures" / "samples.png").exists()


def test_classes_can_be_named(root, tmp_path):
    pair(root, palette([1, 2]))
    _, _, classes, _ = build(root, tmp_path, classes={"cat": 1, "dog": 2, "cow": 3})
    assert classes.filter(role="class")["label"].to_list() == ["cat", "dog", "cow"]


def test_masks_of_16_bits_keep_their_values(root, tmp_path):
    pair(root, grey([1000, 40000], np.uint16))
    _, _, classes, _ = build(root, tmp_path, classes={"x": 1000, "y": 40000})
    assert classes.filter(role="class")["value"].to_list() == [1000, 40000]


def test_colours_can_be_classes(root, tmp_path):
    pair(root, colours([(255, 128, 0), (0, 0, 255)]))
    report, _, classes, _ = build(root, tmp_path, classes={"road": "#FF8000", "sky": "#0000ff"})
    assert classes.rows() == [(0, None, "background"), (255, "sky", "class"), (0xFF8000, "road", "class")]
    assert report["labels"] == {"road": 1, "sky": 1}


def test_colours_without_names_are_called_as_they_are_written(root, tmp_path):
    pair(root, colours([(255, 128, 0), (0, 0, 255)]))
    _, _, classes, _ = build(root, tmp_path, ignore="#ffffff")
    assert classes.filter(role="class")["label"].to_list() == ["#0000ff", "#ff8000"]
    assert classes.filter(role="ignore")["value"].to_list() == [0xFFFFFF]


def test_every_pixel_may_belong_to_a_class(root, tmp_path):
    pair(root, grey([1]))
    _, _, classes, _ = build(root, tmp_path, background=None, ignore=None)
    assert classes.rows() == [(0, "0", "class"), (1, "1", "class")]


def test_the_ground_truth_of_an_image_without_a_mask_is_unknown(root, tmp_path):
    pair(root, grey([1]))
    save(root / "images" / "b.jpg")
    report, items, _, _ = build(root, tmp_path)
    assert items.select("mask", "labelled").rows() == [("a.png", True), (None, False)]
    assert report["images_without_truth"] == 1


def test_folders_may_have_other_names(root, tmp_path):
    save(root / "JPEGImages" / "a.jpg")
    save(root / "SegmentationClass" / "a.png", palette([1]))
    _, items, _, _ = build(root, tmp_path, images="JPEGImages", masks="SegmentationClass")
    assert len(items) == 1


@pytest.mark.parametrize("pattern", ["{kind}/{subset}/a", "{subset}/{kind}/a"])
def test_subsets_are_kept_in_both_layouts(root, tmp_path, pattern):
    for subset in ("train", "val"):
        save(root / (pattern.format(kind="images", subset=subset) + ".jpg"))
        save(root / (pattern.format(kind="masks", subset=subset) + ".png"), grey([1]))
    _, items, _, folder = build(root, tmp_path)
    assert items["given_subset"].to_list() == ["train", "validation"]
    for file, mask in items.select("file", "mask").iter_rows():
        assert (root_of(folder) / file).is_file()
        assert (mask_root_of(folder) / mask).is_file()


def test_all_unusable_masks_are_reported_at_once_with_the_reason(root, tmp_path):
    pair(root, grey([1]))
    pair(root, Image.new("L", (5, 5)), "small")
    pair(root, Image.new("L", (8, 6)), "lossy", "jpg")
    pair(root, Image.new("L", (8, 6)), "cut")
    (root / "masks" / "cut.png").write_bytes(b"nothing")
    save(root / "masks" / "lone.png", grey([1]))
    save(root / "images" / "a.bmp")
    message = refused(root, tmp_path)
    assert "small.png: has 5x5 px, its image 8x6 px" in message
    assert "lossy.jpg: is a JPEG, which changes the values of pixels; save masks as PNG" in message
    assert "cut.png: is no image that can be read" in message
    assert "lone.png: there is no image of that name" in message
    assert "a.jpg: has the same name as a.bmp, so that both have one mask" in message
    assert "5 problems" in message


def test_values_without_a_meaning_are_named_beside_those_with_one(root, tmp_path):
    pair(root, grey([1, 9, 9]))
    message = refused(root, tmp_path, classes={"cat": 1})
    assert "a.png: holds 9 (2 px), which mean nothing; known grey levels or indices: 0, 1, 255" in message


def test_colours_and_indices_are_not_mixed(root, tmp_path):
    pair(root, grey([1]))
    pair(root, colours([(1, 2, 3)]), "b")
    assert "b.png: holds colours, but other masks hold grey levels or indices" in refused(root, tmp_path)


def test_smoothed_masks_are_refused(root, tmp_path):
    values = np.arange(48 * 8, dtype=np.uint16).reshape(16, 24)
    save(root / "images" / "a.png", Image.new("RGB", (24, 16)))
    save(root / "masks" / "a.png", Image.fromarray(values))
    assert "382 different values; name the classes" in refused(root, tmp_path)


def test_no_mask_at_all_is_refused(root, tmp_path):
    save(root / "images" / "a.jpg")
    (root / "masks").mkdir()
    assert "none of 1 image has a mask of its name in 'masks'" in refused(root, tmp_path)


def test_a_mask_of_the_stored_image_is_turned_with_it(root, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(root / "images" / "a.jpg", Image.new("RGB", (8, 6)), exif=exif)
    save(root / "masks" / "a.png", grey([1, 1]))
    pair(root, palette([2]), "b")
    report, items, _, folder = build(root, tmp_path)
    first, second = (read_mask((mask_root_of(folder) / mask).read_bytes()) for mask in items["mask"])
    assert first.shape == (8, 6)
    assert np.argwhere(first).tolist() == [[0, 5], [1, 5]]
    assert second[0, 0] == 2
    assert report["images_turned"] == 1


@pytest.mark.parametrize(("image", "mask"), [("é", "e\u0301"), ("e\u0301", "é")])
def test_masks_are_found_whatever_the_spelling_of_their_names(root, tmp_path, image, mask):
    save(root / "images" / f"{image}.jpg")
    save(root / "masks" / f"{mask}.png", grey([1]))
    _, items, _, _ = build(root, tmp_path)
    assert items["mask"].to_list() == [f"{mask}.png"]


def test_a_mask_in_another_case_is_told(root, tmp_path):
    pair(root, grey([1]))
    save(root / "images" / "b.jpg")
    save(root / "masks" / "B.png", grey([1]))
    assert f"B.png: there is no image of that name in {root / 'images'}, but b.jpg" in refused(root, tmp_path)


@pytest.mark.parametrize("pattern", ["{folder}/{name}", "{name}/{folder}"])
@pytest.mark.parametrize("names", [("Training", "Testing"), ("train", "Testing"), ("seg_train", "seg_test")])
def test_folders_named_like_subsets_in_other_words_are_subsets(root, tmp_path, pattern, names):
    for name in names:
        save(root / pattern.format(folder="images", name=name) / f"{name}.png")
        save(root / pattern.format(folder="masks", name=name) / f"{name}.png", grey([1]))
    items = build(root, tmp_path)[1]
    subsets = {item.rsplit("/", 1)[-1]: subset for item, subset in items.select("item", "given_subset").rows()}
    assert subsets == {f"{names[0]}.png": "train", f"{names[1]}.png": "test"}


def test_masks_of_nothing_but_background_and_255_are_refused_with_the_way_out(root, tmp_path):
    pair(root, grey([255, 255]))
    message = refused(root, tmp_path)
    assert "hold no class" in message
    assert "source.ignore: null and source.classes: {NAME: 255}" in message


def test_the_way_out_for_masks_of_0_and_255_is_one(root, tmp_path):
    pair(root, grey([255, 255]))
    assert build(root, tmp_path, ignore=None, classes={"cell": 255})[0]["labels"] == {"cell": 1}


def save_pairs(root, *folders):
    for folder in folders:
        save(root / folder / "images" / "1.png", Image.new("RGB", (8, 6), (len(folder), 0, 0)))
        save(root / folder / "masks" / "1.png", grey([1]))


@pytest.mark.parametrize("other", ["extra", "part2", "new/"])
@pytest.mark.parametrize("subsets", [("train",), ("Training", "valid")])
def test_a_folder_of_pairs_beside_subsets_is_refused_rather_than_left_out(root, tmp_path, other, subsets):
    save_pairs(root, *subsets, other)
    message = refused(root, tmp_path)
    assert f"{other.strip('/')} holds 'images' beside {', '.join(subsets)}, but is named like no subset" in message


def test_other_folders_beside_subsets_of_pairs_may_hold_anything_else(root, tmp_path):
    save_pairs(root, "train", "val")
    save(root / "preview" / "1.png")
    _, items, _, _ = build(root, tmp_path)
    assert dict(items["item", "given_subset"].rows()) == {
        "train/images/1.png": "train",
        "val/images/1.png": "validation",
    }


@pytest.mark.parametrize("other", ["extra/2", "2"])
def test_an_image_outside_of_the_subsets_is_refused(root, tmp_path, other):
    for name in ("train/1", "val/1", other):
        save(root / "images" / f"{name}.png", Image.new("RGB", (8, 6), (sum(map(ord, name)) % 250, 0, 0)))
        save(root / "masks" / f"{name}.png", grey([1]))
    assert f"{other}.png: lies in no folder called train, val or test, but others do" in refused(root, tmp_path)
    (tmp_path / "result").rmdir()
    _, items, _, _ = build(root, tmp_path, subset_folders="never")
    assert items["given_subset"].to_list() == [None] * 3


def save_masks(root, *masks):
    for number, mask in enumerate(masks):
        save(root / "images" / f"{number}.png", Image.new("RGB", (8, 6), (number, 0, 0)))
        save(root / "masks" / f"{number}.png", mask)


def with_palette(values, *used):
    mask = Image.frombytes("P", (8, 6), grey(values).tobytes())
    mask.putpalette([0, 0, 0, *(part for colour in used for part in colour)])
    return mask


RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def test_one_colour_of_two_indices_is_refused(root, tmp_path):
    save_masks(root, with_palette([1, 2], RED, GREEN), with_palette([1, 2], GREEN, RED))
    message = refused(root, tmp_path)
    assert "1.png: its palette has #00ff00 as 1, but that of 0.png as 2; the index counts" in message


@pytest.mark.parametrize(
    "masks",
    [
        (with_palette([1], RED, GREEN), with_palette([2], RED, GREEN)),
        (with_palette([1], RED, RED), with_palette([2], RED, RED)),
        (with_palette([1], RED), with_palette([2], GREEN, BLUE)),
        (with_palette([1, 2], RED, GREEN), with_palette([1], RED)),
        (with_palette([1, 2], RED, GREEN), grey([1, 2])),
    ],
)
def test_palettes_that_contradict_nothing_are_read(root, tmp_path, masks):
    save_masks(root, *masks)
    report, _, classes, _ = build(root, tmp_path)
    assert sorted(classes.filter(role="class")["label"]) == ["1", "2"]
    assert report["warnings"] == []


def with_alpha(colour, alpha):
    mask = Image.new("RGBA", (8, 6), (*colour, 0))
    mask.putpixel((1, 1), (*colour, alpha))
    return mask


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_shape_in_transparency_alone_is_refused(root, tmp_path, mode):
    save_masks(root, with_alpha((0, 0, 0), 255).convert(mode))
    assert "has one colour, and a shape in its transparency" in refused(root, tmp_path)


def test_masks_of_nothing_are_told(root, tmp_path):
    save_masks(root, grey([]), grey([]))
    assert build(root, tmp_path)[0]["warnings"] == [
        "no mask shows a class: all pixels of 2 masks are background or unknown"
    ]


def test_numbers_of_single_objects_are_told(root, tmp_path):
    save_masks(root, grey([1]), grey([1, 2]), grey([1, 2, 3]), grey([]))
    (warning,) = build(root, tmp_path)[0]["warnings"]
    assert warning.startswith("values up to 3 occur only where all smaller ones do")


@pytest.mark.parametrize(
    "values", [([1, 2, 3], [1, 2]), ([1], [1, 3], [1, 2, 3]), ([1, 2, 3], [1, 2, 3]), ([5], [5, 6], [5, 6, 7])]
)
def test_values_that_may_be_classes_are_not_told(root, tmp_path, values):
    save_masks(root, *map(grey, values))
    assert build(root, tmp_path)[0]["warnings"] == []


@pytest.mark.parametrize("ending", ["_mask", "-GT", "_Segmentation"])
def test_one_ending_of_all_masks_is_told(root, tmp_path, ending):
    for name in ("a", "ab"):
        save(root / "images" / f"{name}.jpg")
        save(root / "masks" / f"{name}{ending}.png", grey([1]))
    assert f"leave {ending!r} out of the names of masks" in refused(root, tmp_path)


def test_different_endings_of_masks_are_no_hint(root, tmp_path):
    for name, ending in (("a", "_mask"), ("b", "_label")):
        save(root / "images" / f"{name}.jpg")
        save(root / "masks" / f"{name}{ending}.png", grey([1]))
    assert "out of the names of masks" not in refused(root, tmp_path)
