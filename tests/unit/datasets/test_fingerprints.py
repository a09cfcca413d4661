"""The content hash of the user's data."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.datasets.fingerprints import remembered_digest, source_digest, source_files, watched_paths
from assay.errors import DataError
from assay.spec.generated_images import CocoSource, ImageFolderSource, MaskFolderSource, TableSource, YoloSource

LONG_AGO = 1_600_000_000


def folder_of(root: Path, files: dict[str, bytes]) -> ImageFolderSource:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
        os.utime(root / name, (LONG_AGO, LONG_AGO))
    return ImageFolderSource(path=str(root))


def digest_of(root: Path, files: dict[str, bytes]) -> str:
    return source_digest(folder_of(root, files))


@pytest.mark.defect("A14")
def test_equal_files_do_not_cancel_out(tmp_path):
    one = digest_of(tmp_path / "1", {"c/a.png": b"AAA", "c/b.png": b"AAA"})
    two = digest_of(tmp_path / "2", {"c/a.png": b"BBB", "c/b.png": b"BBB"})
    assert one != two


@pytest.mark.defect("A14")
def test_swapping_the_contents_of_two_files_changes_the_hash(tmp_path):
    one = digest_of(tmp_path / "1", {"c/a.png": b"AAA", "d/b.png": b"BBB"})
    two = digest_of(tmp_path / "2", {"c/a.png": b"BBB", "d/b.png": b"AAA"})
    assert one != two


@pytest.mark.defect("A14")
def test_renaming_a_file_changes_the_hash(tmp_path):
    assert digest_of(tmp_path / "1", {"c/a.png": b"A"}) != digest_of(tmp_path / "2", {"c/b.png": b"A"})


def test_the_hash_depends_on_neither_place_time_nor_order(tmp_path):
    files = {"c/a.png": b"1", "b/z.png": b"2", "b/y.png": b"3"}
    one = digest_of(tmp_path / "1", files)
    two = folder_of(tmp_path / "2", dict(reversed(files.items())))
    os.utime(tmp_path / "2" / "c" / "a.png")
    assert source_digest(two) == one


def test_files_that_are_not_images_do_not_count(tmp_path):
    one = digest_of(tmp_path / "1", {"c/a.png": b"1"})
    assert digest_of(tmp_path / "2", {"c/a.png": b"1", "c/notes.txt": b"x", "c/.b.png": b"y"}) == one


@given(st.dictionaries(st.sampled_from("abcdef"), st.binary(max_size=3), max_size=4))
@settings(max_examples=25)
def test_different_folders_have_different_hashes(tmp_path_factory, files):
    root = tmp_path_factory.mktemp("data")
    named = {f"c/{name}.png": content for name, content in files.items()}
    other = {**named, "c/g.png": b""}
    (root / "1").mkdir()
    assert digest_of(root / "1", named) != digest_of(root / "2", other)


def test_unchanged_files_are_not_read_again(tmp_path):
    source, cache = folder_of(tmp_path / "data", {"c/a.png": b"AAA"}), tmp_path / "cache.json"
    first = source_digest(source, cache)
    known = json.loads(cache.read_text())
    path = str(tmp_path / "data" / "c" / "a.png")
    assert known[path][:2] == [3, LONG_AGO * 10**9]
    known[path][2] = "0" * 64
    cache.write_text(json.dumps(known))
    assert source_digest(source, cache) != first, "the remembered hash is used"


def test_a_changed_file_is_read_again(tmp_path):
    source, cache = folder_of(tmp_path / "data", {"c/a.png": b"AAA"}), tmp_path / "cache.json"
    first = source_digest(source, cache)
    (tmp_path / "data" / "c" / "a.png").write_bytes(b"BBB")
    assert source_digest(source, cache) == source_digest(source) != first


def test_a_file_that_was_just_written_is_not_remembered(tmp_path):
    source, cache = folder_of(tmp_path / "data", {"c/a.png": b"AAA"}), tmp_path / "cache.json"
    os.utime(tmp_path / "data" / "c" / "a.png")
    source_digest(source, cache)
    assert not cache.exists()


@pytest.mark.parametrize("damage", ["", "[1]", '{"x": 3}', "\x00"])
def test_a_damaged_cache_is_written_anew(tmp_path, damage):
    source, cache = folder_of(tmp_path / "data", {"c/a.png": b"AAA"}), tmp_path / "cache.json"
    cache.write_text(damage)
    assert source_digest(source, cache) == source_digest(source)
    assert len(json.loads(cache.read_text())) == 1


def test_files_that_are_gone_are_forgotten(tmp_path):
    source, cache = folder_of(tmp_path / "data", {"c/a.png": b"A", "c/b.png": b"B"}), tmp_path / "cache.json"
    source_digest(source, cache)
    (tmp_path / "data" / "c" / "b.png").unlink()
    source_digest(source, cache)
    assert [Path(path).name for path in json.loads(cache.read_text())] == ["a.png"]


def test_a_table_is_hashed_as_one_file(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    source = TableSource(path=str(tmp_path / "x.csv"), target_column="b")
    first = source_digest(source)
    (tmp_path / "x.csv").write_text("a,b\n1,3\n")
    assert source_digest(source) != first


def test_a_missing_table_is_named_with_the_nearest_that_exists(tmp_path):
    (tmp_path / "Prices.csv").write_text("a\n")
    source = TableSource(path=str(tmp_path / "price.csv"), target_column="a")
    with pytest.raises(DataError, match=r"price.csv' does not exist .* Did you mean '.*Prices.csv'"):
        source_digest(source)


def coco_data(root):
    folder_of(root, {"images/a.jpg": b"1", "instances.json": b"{}", "notes.txt": b"x"})
    return CocoSource(path=str(root))


def yolo_data(root):
    files = {"data.yaml": b"names: [a]\ntrain: images", "images/a.jpg": b"1", "labels/a.txt": b"0 1 1 1 1", "x.md": b""}
    folder_of(root, files)
    return YoloSource(path=str(root))


def mask_data(root):
    folder_of(root, {"images/a.jpg": b"1", "masks/a.png": b"2", "masks/notes.md": b"x"})
    return MaskFolderSource(path=str(root))


@pytest.mark.parametrize(
    ("make", "read", "unread"),
    [
        (coco_data, ["images/a.jpg", "instances.json"], "notes.txt"),
        (yolo_data, ["data.yaml", "images/a.jpg", "labels/a.txt"], "x.md"),
        (mask_data, ["images/a.jpg", "masks/a.png"], "masks/notes.md"),
    ],
)
def test_every_file_that_annotated_images_are_read_from_is_hashed(tmp_path, make, read, unread):
    source, cache = make(tmp_path / "1"), tmp_path / "cache.json"
    first = source_digest(source, cache)
    assert first == source_digest(make(tmp_path / "2")) == remembered_digest(source, cache)
    for name in read:
        before = (tmp_path / "1" / name).read_bytes()
        (tmp_path / "1" / name).write_bytes(before + b"\n")
        assert source_digest(source) != first, name
        (tmp_path / "1" / name).write_bytes(before)
    (tmp_path / "1" / unread).write_bytes(b"other")
    assert source_digest(source) == first


def test_a_label_file_that_appears_changes_the_hash(tmp_path):
    source = yolo_data(tmp_path)
    (tmp_path / "labels" / "a.txt").rename(tmp_path / "b.txt")
    first = source_digest(source)
    (tmp_path / "b.txt").rename(tmp_path / "labels" / "a.txt")
    assert source_digest(source) != first


@pytest.mark.parametrize("labels", ["images", "Labels"])
def test_label_files_in_other_places_are_hashed(tmp_path, labels):
    images = "Images" if labels == "Labels" else "images"
    files = {
        "data.yaml": f"names: [a]\ntrain: {images}".encode(),
        f"{images}/a.jpg": b"1",
        f"{labels}/a.txt": b"0 1 1 1 1",
    }
    folder_of(tmp_path, files)
    source = YoloSource(path=str(tmp_path))
    first = source_digest(source)
    (tmp_path / labels / "a.txt").write_bytes(b"")
    assert source_digest(source) != first


def test_data_with_key_points_do_not_have_the_hash_of_what_they_were_once_read_as(tmp_path):
    source = yolo_data(tmp_path)
    (tmp_path / "data.yaml").write_text("names: [a]\ntrain: images\nkpt_shape: [2, 3]\n")
    assert "key points:data.yaml" in source_files(source)
    (tmp_path / "data.yaml").write_text("names: [a]\ntrain: images\n")
    assert sorted(source_files(source)) == ["data.yaml", "images/a.jpg", "labels/a.txt"]


@pytest.mark.parametrize("name", ["images/odd.jpg", "labels/a.txt"])
@pytest.mark.parametrize("target", [None, "gone", "/dev/zero", "odd.jpg"])
def test_files_that_cannot_be_read_have_a_hash_too(tmp_path, name, target):
    """The reader names them; hashing must neither wait for them nor end in another error."""
    source = yolo_data(tmp_path)
    first = source_digest(source)
    path = tmp_path / name
    path.unlink(missing_ok=True)
    if target is None:
        os.mkfifo(path)
    else:
        path.symlink_to(target)
    assert source_digest(source) != first


def test_one_folder_is_watched_and_images_elsewhere_as_well(tmp_path):
    folder_of(tmp_path / "pictures", {"a.jpg": b"1"})
    source = coco_data(tmp_path / "data")
    assert watched_paths(source) == (tmp_path / "data",)
    elsewhere = source.model_copy(update={"images": "../pictures"})
    assert watched_paths(elsewhere) == (tmp_path / "data", tmp_path / "pictures")
    text = f"names: [a]\ntrain: {tmp_path}/pictures\n"
    folder_of(tmp_path / "yolo", {"data.yaml": text.encode()})
    assert watched_paths(YoloSource(path=str(tmp_path / "yolo"))) == (tmp_path / "pictures", tmp_path / "yolo")


def test_missing_or_broken_data_are_watched_where_they_should_be(tmp_path):
    (tmp_path / "data.yaml").write_text("names: 3\n")
    for source in (
        YoloSource(path=str(tmp_path)),
        CocoSource(path=str(tmp_path)),
        MaskFolderSource(path=str(tmp_path)),
    ):
        assert watched_paths(source) == (tmp_path,)
