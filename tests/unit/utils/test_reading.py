"""The one reader of files that others wrote: whatever a path leads to, bytes or one sentence within a moment."""

import os
import socket
from pathlib import Path

import pytest

from assay.errors import FileError
from assay.utils.reading import read_bytes, read_json, read_record, read_text


def test_content_comes_back_as_it_is(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes('{"größe": [1, 2.5, null]}'.encode())
    assert read_bytes(path) == path.read_bytes()
    assert read_text(path) == '{"größe": [1, 2.5, null]}'
    assert read_json(path) == read_record(path) == {"größe": [1, 2.5, None]}


def test_links_to_files_are_followed(tmp_path):
    (tmp_path / "a").write_text("here")
    (tmp_path / "b").symlink_to("a")
    assert read_text(tmp_path / "b") == "here"


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "a")


def test_what_is_no_regular_file_is_named(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to("circle")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))
    cases = {
        tmp_path: "a folder",
        tmp_path / "pipe": r"a pipe \(FIFO\)",
        tmp_path / "circle": "symbolic links",
        tmp_path / "socket": "a socket",
        Path("/dev/zero"): "a device",
        Path("a\0b"): "null byte",
        tmp_path / ("x" * 5000): "too long",
    }
    for path, reason in cases.items():
        with pytest.raises(FileError, match=reason):
            read_bytes(path)


def test_a_file_of_too_many_bytes_is_not_read(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x" * 11)
    assert len(read_bytes(path, most_bytes=11)) == 11
    with pytest.raises(FileError, match="holds 11 bytes or more; expected at most 10"):
        read_bytes(path, most_bytes=10)


def test_the_limit_holds_where_the_size_is_not_known():
    path = Path("/proc/self/maps")
    assert path.stat().st_size == 0
    with pytest.raises(FileError, match="expected at most 5"):
        read_bytes(path, most_bytes=5)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is no JSON, or cut off: line 1, column 1"),
        (b'{"a":\n1', "line 2, column 2"),
        (b"\xff\xfe\x00", "is no JSON"),
        (b'"\xff"', "save it as UTF-8"),
        (b"[" * 100_000, "too many nested brackets"),
        (b"[" + b"9" * 5000 + b"]", "thousands of digits"),
    ],
)
def test_what_is_no_json_is_named(tmp_path, content, reason):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(FileError, match=reason):
        read_json(path)


@pytest.mark.parametrize("content", [b"[]", b"3", b"null", b'"text"'])
def test_a_record_is_an_object(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(FileError, match="expected an object with keys"):
        read_record(path)


def test_text_of_another_encoding_is_named(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("größe".encode("latin-1"))
    with pytest.raises(FileError, match=r"is no text in utf-8: invalid start byte at byte 2"):
        read_text(path)
    assert read_text(path, encoding="latin-1") == "größe"


def test_huge_whole_numbers_may_be_infinite_instead(tmp_path):
    path = tmp_path / "numbers.json"
    path.write_text(f"[7, {'9' * 5000}, -{'9' * 5000}, 1e999, {10**400}]")
    infinity = float("inf")
    assert read_json(path, huge_as_infinity=True) == [7, infinity, -infinity, infinity, 10**400]
    with pytest.raises(FileError, match="thousands of digits"):
        read_json(path)
