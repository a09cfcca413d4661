"""Packs: the same bytes for the same files; a stranger's file is unpacked whole, or refused before it does harm."""

import os
import random
import stat
import struct
import zipfile

import pytest

from assay.errors import FileError, StorageError
from assay.storage.packs import MARK, MOST_FILES, MOST_GROWTH, is_pack, unpack, write_pack
from tests.helpers.stored_experiments import contents

FILES = {"manifest.json": b"{}", "models/model.bin": bytes(range(256)) * 40, "a/ä b/☃.txt": b"text"}


@pytest.fixture
def folder(tmp_path):
    """Give a folder with a few files."""
    for name, content in FILES.items():
        path = tmp_path / "REG-1" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "REG-1"


def sizes(folder):
    return {name: len(content) for name, content in contents(folder).items()}


def member(name, content=b"x", mode=0, **changes):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    for key, value in changes.items():
        setattr(info, key, value)
    return info, content


def zipped(path, *members):
    with zipfile.ZipFile(path, "w") as archive:
        for info, content in members:
            archive.writestr(info, content)
    return path


def test_what_was_packed_is_unpacked(folder, tmp_path):
    write_pack(tmp_path / "one.zip", folder, sizes(folder), {})
    assert is_pack(tmp_path / "one.zip")
    unpack(tmp_path / "one.zip", tmp_path / "out")
    assert contents(tmp_path / "out" / "REG-1") == FILES == contents(folder)


def test_equal_files_give_equal_bytes(folder, tmp_path):
    write_pack(tmp_path / "one.zip", folder, sizes(folder), {})
    for path in folder.rglob("*"):
        os.utime(path, (1e9, 1e9))
        path.chmod(0o700)
    write_pack(tmp_path / "two.zip", folder, dict(reversed(sizes(folder).items())), {})
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_a_file_that_is_not_the_listed_one_is_not_packed(folder, tmp_path):
    with pytest.raises(StorageError, match=r"manifest\.json is another file than its manifest says"):
        write_pack(tmp_path / "one.zip", folder, sizes(folder), {"manifest.json": "0" * 64})
    with pytest.raises(StorageError, match=r"manifest\.json has another size than 9 bytes"):
        write_pack(tmp_path / "one.zip", folder, {"manifest.json": 9}, {})
    with pytest.raises(StorageError, match="Use 'assay copy'"):
        write_pack(tmp_path / "one.zip", folder, dict.fromkeys(map(str, range(MOST_FILES + 1)), 1), {})
    assert [path.name for path in tmp_path.iterdir()] == ["REG-1"]


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ([member("../evil")], "is not inside the folder"),
        ([member("x/../../evil")], "is not inside the folder"),
        ([member("/evil")], "is not inside the folder"),
        ([member("x\\..\\evil")], "is not inside the folder"),
        ([member("x//a")], "is not inside the folder"),
        ([member("x/./a")], "is not inside the folder"),
        ([member("x/../a/", b"")], "is not inside the folder"),
        ([member("x/a", mode=stat.S_IFLNK | 0o777)], "is a link; expected plain files only"),
        ([member("x/a", mode=stat.S_IFIFO)], "is a pipe"),
        ([member("x/a", mode=stat.S_IFCHR)], "is a device"),
        ([member("x/a", mode=stat.S_IFBLK)], "is a device"),
        ([member("x/a", mode=stat.S_IFSOCK)], "is a socket"),
        ([member("x/a"), member("x/a")], "holds 'x/a' twice"),
        ([member("x/a"), member("x/a/b")], "holds 'x/a/b' and a file in place of its folder"),
        ([member("x/a/b"), member("x/a")], "holds 'x/a/b' and a file in place of its folder"),
        ([member("x/a"), member("y/a")], "holds 2 folders or files; expected the folder of one experiment"),
        ([member("a")], "expected the folder of one experiment"),
        ([], "holds nothing"),
        ([member("x/a", bytes(10**6), compress_type=zipfile.ZIP_DEFLATED)], f"at most {MOST_GROWTH} times as much"),
        ([member("x/a", compress_type=zipfile.ZIP_LZMA)], "is compressed in an unusual way"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_what_is_no_folder_of_plain_files_is_refused_before_anything_is_written(tmp_path, members, told):
    with pytest.raises(FileError, match=told):
        unpack(zipped(tmp_path / "evil.zip", *members), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["evil.zip"]


def changed(content, at, **fields):
    """Return a ZIP file with other fields in the central directory."""
    places = {"flags": (8, "<H"), "method": (10, "<H"), "crc": (16, "<I"), "size": (24, "<I"), "offset": (42, "<I")}
    written, start = bytearray(content), content.index(b"PK\x01\x02") + at
    for name, value in fields.items():
        place, form = places[name]
        struct.pack_into(form, written, start + place, value)
    return bytes(written)


@pytest.mark.parametrize(
    "fields", [{"flags": 1}, {"method": 99}, {"crc": 7}, {"size": 5}, {"size": 2}, {"offset": 3}], ids=str
)
def test_a_list_of_files_that_says_something_else_is_refused(tmp_path, fields):
    path = zipped(tmp_path / "x.zip", member("x/a", b"abc"))
    path.write_bytes(changed(path.read_bytes(), 0, **fields))
    with pytest.raises((FileError, StorageError), match=r"damaged|encrypted|unusual|size"):
        unpack(path, tmp_path / "out")


def test_files_that_share_their_bytes_are_refused(tmp_path):
    """As in a bomb of overlapping files, which holds the same content many times."""
    names = [f"x/{number:02}" for number in range(60)]
    path = zipped(tmp_path / "x.zip", *(member(name, bytes(100) if name == "x/00" else b"") for name in names))
    content = bytearray(path.read_bytes())
    start = content.index(b"PK\x01\x02")
    for number in range(60):
        struct.pack_into("<III", content, start + number * (46 + 4) + 16, zipfile.crc32(bytes(100)), 100, 100)
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"expected at most|damaged"):
        unpack(path, tmp_path / "out")


def test_a_name_that_hides_another_is_refused(tmp_path):
    path = zipped(tmp_path / "x.zip", member("x/a_b", b"abc"))
    path.write_bytes(path.read_bytes().replace(b"x/a_b", b"x/a\x00b"))
    with pytest.raises(FileError):
        unpack(path, tmp_path / "out")


def test_too_many_files_are_refused(tmp_path):
    path = zipped(tmp_path / "x.zip", *(member(f"x/{number}", b"") for number in range(4)))
    with pytest.raises(FileError, match="holds 4 files; expected at most 3"):
        unpack(path, tmp_path / "out", most_files=3)


def test_a_list_of_files_that_fills_the_memory_is_not_read(tmp_path):
    path = tmp_path / "x.zip"
    length = 2**26
    with path.open("wb") as file:
        file.write(b"PK\x03\x04")
        file.truncate(4 + length)
        file.seek(4 + length)
        file.write(struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 1, 1, length, 4, 0))
    with pytest.raises(FileError, match="its list of files has more than 17 MB"):
        unpack(path, tmp_path / "out")


def test_a_file_that_is_cut_off_anywhere_is_refused(folder, tmp_path):
    write_pack(tmp_path / "one.zip", folder, sizes(folder), {})
    content = (tmp_path / "one.zip").read_bytes()
    for length in (0, 1, 4, 30, len(content) // 2, len(content) - 40, len(content) - len(MARK) - 1):
        (tmp_path / "cut.zip").write_bytes(content[:length])
        with pytest.raises(FileError):
            unpack(tmp_path / "cut.zip", tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_a_flipped_byte_is_found(folder, tmp_path):
    write_pack(tmp_path / "one.zip", folder, sizes(folder), {})
    content = bytearray((tmp_path / "one.zip").read_bytes())
    content[content.index(bytes(range(200)))] ^= 1
    (tmp_path / "one.zip").write_bytes(content)
    with pytest.raises(FileError, match="is cut off or damaged"):
        unpack(tmp_path / "one.zip", tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("x.tar.gz", b"\x1f\x8b\x08", "is compressed by gzip; .*assay import ID --from FOLDER"),
        ("x.tar", bytes(257) + b"ustar" + bytes(300), "is a tar archive; .*assay import ID --from FOLDER"),
        ("x.parquet", b"PAR1", "is a Parquet file; expected a pack"),
        ("x.html", b"<!DOCTYPE html>", "is a page; expected a pack"),
        ("x.yaml", b"task: regression", r"is no ZIP file; .*saving it as experiments/ID\.yaml"),
        ("x.zip", b"", "is no ZIP file"),
    ],
)
def test_another_kind_of_file_is_told_what_it_is(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=told):
        unpack(tmp_path / name, tmp_path / "out")


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(FileError, match="is a folder"):
        unpack(tmp_path, tmp_path / "out")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="is a pipe"):
        unpack(tmp_path / "pipe", tmp_path / "out")
    with pytest.raises(FileNotFoundError):
        unpack(tmp_path / "nothing", tmp_path / "out")
    (tmp_path / "short").write_bytes(MARK[:3])
    assert not is_pack(tmp_path / "short")


def test_whatever_happens_to_a_pack_it_is_unpacked_as_it_was_or_refused(folder, tmp_path):
    write_pack(tmp_path / "one.zip", folder, sizes(folder), {})
    content = (tmp_path / "one.zip").read_bytes()
    for seed in range(50):
        drawn = random.Random(seed)
        altered = bytearray(content)
        for _ in range(drawn.randint(1, 3)):
            at = drawn.choice([drawn.randrange(len(content)), -drawn.randrange(1, 500)])
            altered[at] = drawn.randrange(256)
        (tmp_path / "changed.zip").write_bytes(altered[: drawn.choice([len(content), drawn.randrange(len(content))])])
        target = tmp_path / f"out{seed}"
        try:
            unpack(tmp_path / "changed.zip", target)
        except (FileError, StorageError):
            continue
        assert sorted(contents(target).values()) == sorted(FILES.values()), seed
