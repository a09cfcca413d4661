"""The user's own images: what is found, what is refused, and that all of it is refused at once."""

import struct
import zlib

import numpy as np
import polars as pl
import pytest
from PIL import Image

from assay.datasets.fingerprints import source_digest
from assay.datasets.image_folder import build_image_folder
from assay.datasets.schema import IMAGE_ITEM_COLUMNS, is_nested
from assay.errors import DataError
from assay.images.decoding import decode
from assay.images.near_duplicates import ImageSignature, signature_of
from assay.spec.generated_images import ImageFolderSource


def save(path, level=0, size=(8, 6), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, level).save(path, **options)
    return path


def source(root, **keys):
    return ImageFolderSource(path=str(root), **keys)


def build(root, tmp_path, **keys):
    folder = tmp_path / "result"
    folder.mkdir()
    report = build_image_folder(source(root, **keys), 0, folder)
    return report, pl.read_parquet(folder / "items.parquet")


@pytest.fixture
def root(tmp_path):
    """Two classes of two images."""
    for index, name in enumerate(["cat/1.png", "cat/2.png", "dog/1.png", "dog/deep/2.jpg"]):
        save(tmp_path / "data" / name, 60 * index)
    return tmp_path / "data"


def refused(root, tmp_path, **keys):
    with pytest.raises(DataError) as caught:
        build(root, tmp_path, **keys)
    assert not list((tmp_path / "result").iterdir()), "nothing may be computed"
    return str(caught.value)


def test_class_folders_become_items_with_labels(root, tmp_path):
    report, items = build(root, tmp_path)
    assert items.schema == pl.Schema(IMAGE_ITEM_COLUMNS)
    assert items["item"].to_list() == ["cat/1.png", "cat/2.png", "dog/1.png", "dog/deep/2.jpg"]
    assert items["label"].to_list() == ["cat", "cat", "dog", "dog"]
    assert items["given_subset"].null_count() == 4
    assert items["width_px"].to_list() == [8] * 4
    assert report["labels"] == {"cat": 2, "dog": 2}
    assert report["root"] == str(root)
    assert (tmp_path / "result" / "pictures" / "samples.png").stat().st_size < 100_000


def test_items_hold_the_signature_of_the_decoded_image(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    save(tmp_path / "data" / "cat" / "1.png", 7, size=(8, 6))
    save(tmp_path / "data" / "cat" / "2.png", 7, size=(6, 8), exif=turned)
    _, items = build(tmp_path / "data", tmp_path)
    for item, pixels, thumbnail in items.select("item", "pixels", "thumbnail").iter_rows():
        assert ImageSignature(pixels, thumbnail) == signature_of(decode((tmp_path / "data" / item).read_bytes()))
    assert items["sha256"].n_unique() == 2
    assert items["pixels"].n_unique() == 1


def test_images_below_the_class_folder_are_nested(root, tmp_path):
    _, items = build(root, tmp_path)
    assert items.filter(is_nested())["item"].to_list() == ["dog/deep/2.jpg"]


@pytest.mark.parametrize("validation", ["validation", "val", "valid", "Val"])
def test_subset_folders_are_recognized_by_their_usual_names(tmp_path, validation):
    for level, subset in enumerate(["train", validation, "test"]):
        save(tmp_path / "data" / subset / "cat" / "1.png", level)
    _, items = build(tmp_path / "data", tmp_path)
    assert sorted(items["given_subset"]) == ["test", "train", "validation"]
    assert set(items["label"]) == {"cat"}
    assert items.filter(is_nested()).is_empty()


def test_folders_named_like_subsets_can_be_classes(tmp_path):
    save(tmp_path / "data" / "train" / "1.png", 1)
    save(tmp_path / "data" / "test" / "1.png", 2)
    _, items = build(tmp_path / "data", tmp_path, subset_folders="never")
    assert set(items["label"]) == {"train", "test"}


def test_a_class_called_train_beside_other_classes_is_a_class(tmp_path):
    for level, name in enumerate(["train", "bus", "car"]):
        save(tmp_path / "data" / name / "1.png", level)
    _, items = build(tmp_path / "data", tmp_path)
    assert set(items["label"]) == {"train", "bus", "car"}


def test_subsets_beside_other_folders_are_not_guessed(tmp_path):
    for level, name in enumerate(["train/a", "test/a", "notes"]):
        save(tmp_path / "data" / name / "1.png", level)
    assert "test, train beside notes: are they subsets or classes?" in refused(tmp_path / "data", tmp_path)


def test_hidden_and_foreign_files_are_left_out_and_counted(root, tmp_path):
    (root / "cat" / "notes.txt").write_text("hello")
    (root / ".DS_Store").write_text("x")
    save(root / "__MACOSX" / "cat" / "1.png", 9)
    report, items = build(root, tmp_path)
    assert (len(items), report["other_files"]) == (4, 1)


def test_all_unusable_files_are_named_together_with_their_reasons(root, tmp_path):
    whole = save(root / "cat" / "cut.png", size=(300, 300)).read_bytes()
    (root / "cat" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (root / "cat" / "empty.png").write_bytes(b"")
    (root / "dog" / "text.jpg").write_text("not an image")
    save(root / "lost.png", 7)
    (root / "bird").mkdir()
    message = refused(root, tmp_path)
    assert "5 problems" in message
    assert "cat/cut.png: is truncated" in message
    assert "cat/empty.png: is empty" in message
    assert "dog/text.jpg: is no image" in message
    assert "lost.png: lies outside a class folder, expected CLASS/lost.png" in message
    assert "bird: class folder without images" in message


def png_that_claims(width, height):
    """Return a small file that would decode to width x height pixels of zeros."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ((8000, 8000), r"64,000,000 pixels, expected at most 50,000,000 (source.max_pixels)"),
        ((60000, 60000), "too large"),
    ],
)
def test_a_bomb_is_refused_before_it_is_decoded(root, tmp_path, size, reason):
    (root / "cat" / "bomb.png").write_bytes(png_that_claims(*size))
    message = refused(root, tmp_path)
    assert "cat/bomb.png" in message
    assert reason in message


def test_a_class_in_test_but_not_in_train_is_named(tmp_path):
    for level, name in enumerate(["train/cat/1.png", "train/dog/1.png", "test/dgo/1.png", "test/cat/1.png"]):
        save(tmp_path / "data" / name, level)
    message = refused(tmp_path / "data", tmp_path)
    assert "class 'dgo' is in test but not in train, so it can't be learned. Did you mean 'dog'?" in message


def test_names_that_differ_in_their_ending_or_case_only_are_refused(root, tmp_path):
    save(root / "cat" / "1.jpg", 1)
    save(root / "cat" / "2.PNG", 2)
    message = refused(root, tmp_path)
    assert "cat/1.png: has the same name as cat/1.jpg" in message
    assert "cat/2.png: has the same name as cat/2.PNG" in message


def test_one_picture_in_two_classes_is_wrongly_labelled(root, tmp_path):
    (root / "dog" / "copy.png").write_bytes((root / "cat" / "1.png").read_bytes())
    assert "dog/copy.png: is the same file as cat/1.png, but of another class" in refused(root, tmp_path)


def test_a_subset_without_images_and_a_subset_given_twice_are_refused(tmp_path):
    for level, name in enumerate(["train/a", "val/a", "validation/a"]):
        save(tmp_path / "data" / name / "1.png", level)
    (tmp_path / "data" / "test").mkdir()
    message = refused(tmp_path / "data", tmp_path)
    assert "test: subset folder without images" in message
    assert "val and validation: both are validation" in message


def test_a_missing_folder_is_named_with_the_nearest_that_exists(root, tmp_path):
    message = refused(tmp_path / "dota" / "x", tmp_path)
    assert "does not exist" in message
    assert f"Did you mean '{root}'?" in message


def test_a_file_in_place_of_a_folder_is_refused(root, tmp_path):
    assert "is a file, expected a folder" in refused(root / "cat" / "1.png", tmp_path)


def test_a_folder_without_images_says_what_was_expected(tmp_path):
    (tmp_path / "data").mkdir()
    assert "holds no image, but 0 other files" in refused(tmp_path / "data", tmp_path)


def test_a_link_that_leads_back_is_followed_once(root, tmp_path):
    (root / "cat" / "again").symlink_to(root / "cat")
    _, items = build(root, tmp_path)
    assert len(items) == 4


def warnings_of(root, tmp_path):
    return build(root, tmp_path)[0].get("warnings", [])


@pytest.mark.parametrize("name", ["a.tif", "a.gif", "a.webp", "a.apng"])
def test_frames_that_are_not_used_are_told(root, tmp_path, name):
    frames = [Image.new("L", (8, 6), 80 * level) for level in range(1, 4)]
    kind = {"format": "PNG"} if name == "a.apng" else {}
    frames[0].save(root / "cat" / name, save_all=True, append_images=frames[1:], **kind)
    (warning,) = warnings_of(root, tmp_path)
    assert warning.startswith("1 image with several frames or pages, of which only the first is used")
    assert warning.endswith(f": 'cat/{name}'")


def deep(level):
    return Image.fromarray(np.full((6, 8), level, np.uint16))


@pytest.mark.parametrize(("level", "is_told"), [(4095, True), (8000, True), (16000, False), (0, False)])
def test_deep_images_of_which_hardly_anything_is_seen_are_told(root, tmp_path, level, is_told):
    deep(level).save(root / "cat" / "3.png")
    assert [
        warning.startswith("1 image with 16 bits of which less than an eighth")
        for warning in warnings_of(root, tmp_path)
    ] == ([True] if is_told else [])


@pytest.mark.parametrize("names", [("images", "masks"), ("Image", "labels"), ("IMG", "ground_truth", "other")])
def test_folders_of_images_and_what_is_marked_in_them_are_told_as_classes(tmp_path, names):
    for level, name in enumerate(names):
        save(tmp_path / "data" / name / "1.png", level)
    (warning,) = warnings_of(tmp_path / "data", tmp_path)
    assert "set source.kind to masks, yolo or coco" in warning


def test_a_storage_within_the_data_is_no_data(root, tmp_path):
    before = source_digest(source(root))
    save(root / "cat" / "storage" / "data" / "x" / "pictures" / "1.png", 77)
    (root / "cat" / "storage" / "experiments_index").mkdir()
    assert build(root, tmp_path)[0]["images"] == 4
    assert source_digest(source(root)) == before
