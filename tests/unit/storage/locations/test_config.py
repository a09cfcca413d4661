"""Locations by name: read from a file without secrets, and opened."""

import errno
import os
import socket
from contextlib import closing

import pytest

from assay.errors import SpecError, StorageError, UnreachableError
from assay.storage.files import write_text
from assay.storage.locations.config import Locations, location_errors


def located(tmp_path, text):
    write_text(tmp_path / "locations.yaml", text)
    return Locations(tmp_path / "locations.yaml", tmp_path / "storage")


def test_without_a_file_there_is_the_storage_alone(tmp_path):
    locations = Locations(tmp_path / "locations.yaml", tmp_path / "storage")
    assert locations.names() == ["experiments"]
    assert locations.open("experiments").is_storage


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "team: {url: 's3://b/x', options: {secret: hunter22}}",
            r"team\.options\.secret: holds a secret; write \$\{NAME",
        ),
        ("team: {url: 's3://key:hunter22@b/x'}", r"team\.url: holds a URL with a login"),
        ("team: {urls: 's3://b/x'}", r"team\.url: field required"),
        ("'a b': {url: x}", "a b"),
        ("team", "holds a str"),
        ("team: {url: x, options: {anon: no}}", r"anon is 'no', which is a text; expected true or false"),
        ("[" * 100_000, "inside each other"),
    ],
)
def test_a_wrong_file_is_told_by_key_and_without_the_secret(tmp_path, text, problem):
    with pytest.raises(SpecError, match=problem) as caught:
        located(tmp_path, text).names()
    assert "hunter22" not in str(caught.value)


def test_credentials_come_from_the_environment(tmp_path, monkeypatch):
    text = "mem: {url: 'memory://x', options: {token: '${TEAM_TOKEN}'}}"
    with pytest.raises(SpecError, match=r"mem\.options\.token: the environment variable TEAM_TOKEN is not set"):
        located(tmp_path, text).open("mem")
    monkeypatch.setenv("TEAM_TOKEN", "hunter2222")
    location = located(tmp_path, text).open("mem")
    assert location.tree.fs.storage_options["token"] == "hunter2222"  # noqa: S105
    assert "hunter" not in location.tree.shown


def test_an_unknown_name_lists_the_names(locations):
    with pytest.raises(StorageError, match=r"'archiv' does not exist\. Did you mean 'archive'\?.*archive, attic, exp"):
        locations.open("archiv")


def test_a_folder_that_is_not_mounted_is_not_made(locations, tmp_path):
    (tmp_path / "attic").rmdir()
    with pytest.raises(StorageError, match=r"attic does not exist\. Mount it"):
        locations.open("attic")
    assert not (tmp_path / "attic").exists()


def test_errors_of_a_file_system_are_one_sentence_without_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("TEAM_SECRET", "hunter2222")
    (tmp_path / "hunter2222").write_text("no folder")
    location = located(tmp_path, f"team: {{url: '{tmp_path}'}}").open("team")
    broken = type(location)("team", location.tree.below("hunter2222/x"), is_storage=False)
    with (
        pytest.raises(StorageError, match=r"Location 'team' can't be used: .*\*\*\*") as caught,
        location_errors("team"),
    ):
        broken.tree.folders()
    assert "hunter" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_file_that_is_none_is_one_error(tmp_path):
    os.mkfifo(tmp_path / "locations.yaml")
    with pytest.raises(SpecError, match="is a pipe"):
        Locations(tmp_path / "locations.yaml", tmp_path / "storage").names()


@pytest.mark.parametrize("name", ["locks", "tables", "Pointers", "runs", "experiments_index"])
def test_a_name_that_the_storage_keeps_for_itself_is_no_location(tmp_path, name):
    with pytest.raises(SpecError, match="which the storage keeps for itself"):
        located(tmp_path, f"{name}: {{url: '{tmp_path}'}}").settings  # noqa: B018


def test_a_damaged_entry_of_the_index_hides_no_location(locations, tmp_path):
    (tmp_path / "storage" / "experiments_index" / "bad.json").write_text("{")
    assert locations.names() == ["archive", "attic", "experiments"]


def server_is_away():
    """Return what botocore raises when nobody listens."""
    import botocore.session
    from botocore.config import Config

    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    session = botocore.session.Session()
    session.set_credentials("key", "secret")
    client = session.create_client("s3", "eu-west-1", endpoint_url=url, config=Config(retries={"max_attempts": 0}))
    with pytest.raises(Exception, match="Could not connect") as caught:
        client.head_bucket(Bucket="ours")
    return caught.value


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionResetError("reset by peer"), UnreachableError),
        (TimeoutError("took too long"), UnreachableError),
        (OSError(errno.ESTALE, "Stale file handle"), UnreachableError),
        (server_is_away, UnreachableError),
        (PermissionError("no"), StorageError),
        (FileNotFoundError("not here"), StorageError),
        (ValueError("a mistake"), StorageError),
    ],
)
def test_what_may_pass_by_itself_is_told_from_what_will_not(error, kind):
    raised = error() if callable(error) else error
    with pytest.raises(StorageError, match="Location 'team' can't be used: ") as caught, location_errors("team"):
        raise raised
    assert type(caught.value) is kind
