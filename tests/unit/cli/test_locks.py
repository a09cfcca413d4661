"""``assay locks``: the table, asking before clearing, refusing, sharing."""

import io
import os
import subprocess
import sys

import pytest

from assay.cli.main import main
from assay.storage.locks.acquire import hold
from assay.storage.locks.holders import heartbeat_of, holders


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_STORAGE", str(tmp_path))
    return tmp_path / "locks"


@pytest.fixture
def assay_locks(monkeypatch, capsys):
    """Give ``assay_locks(*arguments, answer="")``: returns exit code and all that was printed."""

    def call(*arguments, answer=""):
        monkeypatch.setattr(sys, "argv", ["assay", "locks", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
        with pytest.raises(SystemExit) as caught:
            main()
        printed = capsys.readouterr()
        return int(caught.value.code or 0), printed.out + printed.err

    return call


@pytest.fixture
def dead(folder):
    """A lock whose holder died."""
    place = f"pathlib.Path({str(folder)!r}), 'named/labels', 'write', 'editing'"
    code = f"from assay.storage.locks.acquire import hold; import os, pathlib\nwith hold({place}): os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    return folder


def test_the_table_shows_lock_holder_age_state_and_purpose(folder, assay_locks):
    with hold(folder, "named/labels", "write", "editing"), hold(folder, "crops/3f", "read", "reading"):
        code, printed = assay_locks()
    assert code == 0
    header, first, second = printed.splitlines()
    assert header.split() == ["lock", "mode", "process", "host", "since", "(UTC)", "age", "state", "purpose"]
    assert first.split()[:3] == ["crops/3f", "read", str(os.getpid())]
    assert second.split()[0] == "named/labels"
    assert second.split()[-2:] == ["running", "editing"]
    assert " s  running" in second


def test_clearing_asks_first(dead, assay_locks):
    code, printed = assay_locks("--clear", answer="n\n")
    assert code == 1
    assert "named/labels" in printed
    assert "Clear this? [y/N]" in printed
    assert len(holders(dead)) == 1
    code, printed = assay_locks("--clear", answer="y\n")
    assert (code, holders(dead)) == (0, [])
    assert "Cleared 1." in printed
    assert assay_locks("--clear") == (0, "Nothing to clear.\n")


def test_without_a_terminal_nothing_is_cleared_unless_yes_is_given(dead, assay_locks):
    assert assay_locks("--clear")[0] == 1
    assert len(holders(dead)) == 1
    assert assay_locks("--clear", "--yes")[0] == 0
    assert holders(dead) == []


def test_a_living_holder_is_cleared_by_force_only_and_with_a_warning(folder, assay_locks):
    with hold(folder, "named/labels", "write", "editing"):
        code, printed = assay_locks("--clear", "named/*", "--yes")
        assert code == 1
        assert "error: Nothing was cleared, because these may be at work:" in printed
        assert f"  - write lock on named/labels by process {os.getpid()}" in printed
        assert len(holders(folder)) == 1
        code, printed = assay_locks("--clear", "named/labels", "--force", answer="y\n")
        assert (code, holders(folder)) == (0, [])
        assert "Who is at work goes on working" in printed


@pytest.mark.parametrize(
    "arguments", [["named/x"], ["--force"], ["--yes"], ["--clear", "--shared"], ["--clear", "--force"]]
)
def test_options_without_effect_are_refused(folder, assay_locks, arguments):
    code, printed = assay_locks(*arguments)
    assert code == 1
    assert printed.startswith("error: ")


def test_sharing_and_back(folder, assay_locks):
    code, printed = assay_locks("--shared")
    assert (code, heartbeat_of(folder).stale_after_s) == (0, 20)
    assert "for 20 s" in printed
    with hold(folder, "crops/3f", "read"):
        code, printed = assay_locks("--local")
        assert code == 1
        assert "can't be changed while one is held: read lock on crops/3f" in printed
    assert assay_locks("--local")[0] == 0
    assert heartbeat_of(folder) is None
