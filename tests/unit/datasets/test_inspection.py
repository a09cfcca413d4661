"""The user's files: paths that lead nowhere, folders without end, what is no data, what is no regular file."""

import os

import pytest
from PIL import Image

from assay.datasets.fingerprints import source_digest
from assay.datasets.image_folder import build_image_folder
from assay.datasets.inspection import (
    alike_names,
    existing_path,
    folders_in,
    inspect_images,
    subset_of,
    unread_images,
    walk_files,
)
from assay.errors import DataError
from assay.spec.generated_images import ImageFolderSource
from assay.utils.concurrency import silent
from tests.campaigns.class_folders import NO_DATA


def save(path, level=0, kind="PNG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), level).save(path, format=kind)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x" * 5000, "can't be reached: File name too long"),
        ("/".join(["x" * 99] * 50), "can't be reached: File name too long"),
        ("a\0b", "can't be reached: embedded null byte"),
        ("~nobody-of-that-name/x", "does not exist"),
        ("/", "is the whole file system, expected the folder of the data"),
        ("/proc", "is a folder of the operating system"),
        ("/sys/kernel", "is a folder of the operating system"),
        ("/proc/self/root", "is the whole file system"),
        ("/dev/null", "is a device, expected a folder"),
    ],
)
def test_a_path_that_leads_to_no_data_is_one_sentence(text, message):
    with pytest.raises(DataError) as caught:
        existing_path(text, want_folder=True)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)


def test_a_file_within_a_path_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"a\.txt is a file, not a folder"):
        existing_path(str(tmp_path / "a.txt" / "b" / "c"), want_folder=True)


def test_links_in_a_circle_and_pipes_are_told(tmp_path):
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(DataError, match="links lead in a circle"):
        existing_path(str(tmp_path / "one"), want_folder=None)
    with pytest.raises(DataError, match=r"is a pipe \(FIFO\), expected a file"):
        existing_path(str(tmp_path / "pipe.csv"), want_folder=False)


@pytest.mark.parametrize(
    "name", [*NO_DATA, ".Trash-1000", "@Recycle", "LOST.DIR", "RECYCLER", "found.003", "#snapshot", "__pycache__"]
)
def test_bookkeeping_of_disks_and_tools_is_no_data(tmp_path, name):
    save(tmp_path / "cat" / "1.png", 1)
    save(tmp_path / "dog" / "1.png", 2)
    source = ImageFolderSource(path=str(tmp_path))
    before = source_digest(source)
    save(tmp_path / name / "1.png", 3)
    save(tmp_path / "cat" / name / "1.png", 4)
    assert list(walk_files(tmp_path)) == ["cat/1.png", "dog/1.png"]
    assert folders_in(tmp_path) == ["cat", "dog"]
    assert source_digest(source) == before


@pytest.mark.parametrize("name", ["Thumbs.db", "desktop.ini", ".DS_Store", "._1.png", "ehthumbs.db"])
def test_files_of_disks_and_tools_are_no_data(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    assert list(walk_files(tmp_path)) == []


@pytest.mark.parametrize("name", ["recycle", "found", "macosx", "icons", "eaDir", "desktop"])
def test_names_that_only_resemble_them_are_data(tmp_path, name):
    save(tmp_path / name / "1.png")
    assert list(walk_files(tmp_path)) == [f"{name}/1.png"]


def test_the_order_of_files_is_that_of_their_names_in_each_folder(tmp_path):
    for name in ("b/2.txt", "b/10.txt", "a.txt", "c/d/e.txt", "c/a.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert list(walk_files(tmp_path)) == ["a.txt", "b/10.txt", "b/2.txt", "c/a.txt", "c/d/e.txt"]


def test_folders_that_link_to_each_other_end(tmp_path):
    names = [f"{number:02}" for number in range(9)]  # entered in every order, these would be 986,409 folders
    for name in names:
        (tmp_path / name).mkdir()
        for other in names:
            (tmp_path / name / f"to{other}").symlink_to(tmp_path / other)
    with pytest.raises(DataError, match="links lead to this folder from more than 100 places"):
        list(walk_files(tmp_path))


@pytest.mark.parametrize("target", ["/", "/proc", "/sys"])
def test_links_to_the_operating_system_are_not_followed(tmp_path, target):
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(DataError, match="remove the link"):
        list(walk_files(tmp_path))


def test_a_walk_has_a_bound(tmp_path):
    for number in range(5):
        (tmp_path / str(number)).write_text("")
    assert len(list(walk_files(tmp_path, most=5))) == 5
    with pytest.raises(DataError, match="more than 4 files"):
        list(walk_files(tmp_path, most=4))


def test_very_deep_folders_end(tmp_path):
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):  # longer than any path may be
        os.mkdir("deep" * 60, dir_fd=here)
        inner = os.open("deep" * 60, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    with pytest.raises(DataError, match="can't be read: File name too long"):
        list(walk_files(tmp_path))


def test_a_folder_that_vanishes_is_one_sentence(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "x").write_text("")
    files = walk_files(tmp_path)
    next(files)
    (tmp_path / "b").rmdir()
    with pytest.raises(DataError, match="b can't be read: No such file or directory"):
        list(files)


@pytest.fixture
def odd_images(tmp_path):
    save(tmp_path / "a" / "good.png", 1)
    save(tmp_path / "b" / "good.png", 2)
    os.mkfifo(tmp_path / "a" / "pipe.png")
    (tmp_path / "a" / "device.png").symlink_to("/dev/zero")
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nothing")
    (tmp_path / "a" / "circle.png").symlink_to(tmp_path / "a" / "circle.png")
    return tmp_path


def test_images_that_are_no_files_are_named_all_together(odd_images, tmp_path_factory):
    source = ImageFolderSource(path=str(odd_images))
    assert source_digest(source) == source_digest(source), "hashing them neither waits nor fails"
    with pytest.raises(DataError) as caught:
        build_image_folder(source, 0, tmp_path_factory.mktemp("result"))
    message = str(caught.value)
    assert "a/pipe.png: is a pipe (FIFO); expected a regular file" in message
    assert "a/device.png: is a device; expected a regular file" in message
    assert "a/gone.png: is gone, or a link to nothing" in message
    assert "a/circle.png: can't be read: Too many levels of symbolic links" in message


def test_an_image_that_vanishes_is_a_problem_of_its_own(tmp_path):
    save(tmp_path / "a.png")
    infos = inspect_images(tmp_path, ["a.png", "b.png"], 100, silent)
    assert [bool(info.problem) for info in infos] == [False, True]


def test_a_script_that_calls_itself_an_image_runs_nowhere(tmp_path):
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    (info,) = inspect_images(tmp_path, ["a.png"], 100, silent)
    assert info.problem == "is no image that can be read, or its start is damaged"


ENDINGS = {".jfif": "JPEG", ".JPE": "JPEG", ".apng": "PNG", ".dib": "DIB", ".ppm": "PPM", ".tga": "TGA", ".pcx": "PCX"}


@pytest.mark.parametrize(("ending", "kind"), list(ENDINGS.items()))
def test_images_of_other_endings_are_read(tmp_path, ending, kind):
    for level, name in enumerate("ab"):
        save(tmp_path / "data" / name / f"1{ending}", 50 * level, kind)
    (tmp_path / "result").mkdir()
    report = build_image_folder(ImageFolderSource(path=str(tmp_path / "data")), 0, tmp_path / "result")
    assert report["labels"] == {"a": 1, "b": 1}
    assert "warnings" not in report


def test_a_list_of_endings_is_taken_word_for_word():
    source = ImageFolderSource(path="x", extensions=[".jpg"])
    assert [name for name in ("a.jpg", "a.jfif", "a.jpeg") if source.is_image(name)] == ["a.jpg"]


@pytest.mark.parametrize("name", ["a.heic", "a.svg", "a.dng", "noending", "a.png.bak", "a.png~"])
def test_what_looks_like_an_image_and_is_not_read_is_told(tmp_path, name):
    save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("hello")
    (warning,) = unread_images(tmp_path, list(walk_files(tmp_path)), ImageFolderSource(path="x"))
    assert warning.startswith("1 file looks like an image but is not read")
    assert name in warning


def test_other_files_are_not_told(tmp_path):
    for name in ("notes.txt", "labels.csv", "model.bin"):
        (tmp_path / name).write_bytes(b"a,b\n")
    os.mkfifo(tmp_path / "pipe")
    assert unread_images(tmp_path, list(walk_files(tmp_path)), ImageFolderSource(path="x")) == []


@pytest.mark.parametrize(
    "name", ["cat", "trained", "contest", "valley", "device", "latest", "test7", "evaluation of cats"]
)
def test_words_that_contain_the_name_of_a_subset_are_none(name):
    assert subset_of(name) is None


@pytest.mark.parametrize(
    "names", [["Cat", "cat"], ["cat", "cat "], ["caf\u00e9", "cafe\u0301"], ["two  words", "Two words"]]
)
def test_classes_that_look_alike_are_told(names):
    (line,) = alike_names(["dog", *names])
    assert f"{names[0]!r} and {names[1]!r}" in line


@pytest.mark.parametrize("names", [["a", "A", "b", "B"], ["cat", "cats"], ["cat", "cat"]])
def test_classes_that_may_be_meant_so_are_not_told(names):
    assert alike_names(names) == []
