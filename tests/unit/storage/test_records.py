"""Records that somebody else may have written: every key of its type, names inside the folder, or one sentence."""

import json

import pytest

from assay.errors import StorageError
from assay.storage.records import (
    FolderManifest,
    IndexEntry,
    PendingChange,
    Pointer,
    ResultManifest,
    StageReport,
    parse_stored,
    read_stored,
)

GOOD = "0123456789abcdef01234567"
MANIFEST = {
    "stage": "crops",
    "fingerprint": GOOD,
    "code_version": "1",
    "inputs": {"splits": GOOD},
    "section": {"margin": 0.5},
    "task": None,
    "ancestors": {"splits": GOOD},
    "files": {"report.json": {"size_bytes": 1, "sha256": "a" * 64}},
}


def parsed(value, shape):
    return parse_stored(json.dumps(value).encode(), "there.json", shape)


@pytest.mark.parametrize("name", ["a", "a/b", ".hidden", "..a/b", "...", "a b", "ä", "a\nb", "a.b/c.d"])
def test_a_name_inside_the_folder_is_taken(name):
    assert parsed({"move": [name], "remove": []}, PendingChange)["move"] == [name]


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../a", "a/..", "a/../b", "/a", "a/", "a//b", "./a", "a/.", "a\\b", "a\0b", "\ud800", 7, None],
)
def test_any_other_name_is_refused(name):
    with pytest.raises(StorageError, match=r"^there\.json: 'move\.0': "):
        parsed({"move": [name], "remove": []}, PendingChange)


def test_keys_of_a_later_version_are_kept():
    assert parsed({**MANIFEST, "colour": "red"}, ResultManifest) == {**MANIFEST, "colour": "red"}


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"fingerprint": "../x"}, "'fingerprint': expected 24 hex digits (got '../x')"),
        ({"stage": "../x"}, "'stage': expected the name of a stage (got '../x')"),
        ({"ancestors": {"splits": "*"}}, "'ancestors.splits': expected 24 hex digits (got '*')"),
        ({"files": {"a": {"size_bytes": -1, "sha256": "a" * 64}}}, "'files.a.size_bytes': "),
        ({"files": {"a": {"size_bytes": 1.5, "sha256": "a" * 64}}}, "'files.a.size_bytes': "),
        ({"files": {"a": {"size_bytes": 1, "sha256": "A" * 64}}}, "'files.a.sha256': expected 64 hex digits"),
        ({"files": {"../a": {"size_bytes": 1, "sha256": "a" * 64}}}, "expected a name inside the folder"),
        ({"files": ["a"]}, "'files': input should be a valid dict"),
        ({"section": {"a": json.loads("[" * 70 + "]" * 70)}}, "'section': is nested deeper than 60 levels"),
        ({"code_version": 1}, "'code_version': input should be a valid string (got 1)"),
    ],
)
def test_the_message_names_the_key_and_what_was_expected(keys, problem):
    with pytest.raises(StorageError) as caught:
        parsed({**MANIFEST, **keys}, ResultManifest)
    assert problem in str(caught.value)


@pytest.mark.parametrize("key", MANIFEST)
def test_no_key_may_be_missing(key):
    with pytest.raises(StorageError, match=f"'{key}': field required"):
        parsed({name: value for name, value in MANIFEST.items() if name != key}, ResultManifest)


@pytest.mark.parametrize("folder", ["tables/main", "Locks/x", "experiments", "experiments/", "a/b/c", "../x", "/x/y"])
def test_the_index_names_a_folder_of_a_location(folder):
    with pytest.raises(StorageError, match="'folder'"):
        parsed({"run_id": "r", "folder": folder}, IndexEntry)


@pytest.mark.parametrize("content", ["", "{", "[]", "7", "NaN", "[" * 100_000, '{"stage": ' + "9" * 5000 + "}"])
@pytest.mark.parametrize("shape", [Pointer, FolderManifest])
def test_what_is_no_record_is_one_error(tmp_path, content, shape):
    (tmp_path / "there.json").write_text(content)
    with pytest.raises(StorageError, match=r"there\.json"):
        read_stored(tmp_path / "there.json", shape)


@pytest.mark.parametrize("content", ['{"a": NaN}', '{"a": [1e999]}', '{"a": {"\\ud800": 1}}'])
def test_a_report_holds_what_can_be_written_again(content):
    with pytest.raises(StorageError):
        parse_stored(content.encode(), "there.json", StageReport)
