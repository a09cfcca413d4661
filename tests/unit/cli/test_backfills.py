"""The commands ``backfill`` and ``backfills`` before a server answers: what they refuse, what they print anyway."""

import sys

import pytest

from assay.cli.backfills import command_line, counted, name_list
from assay.cli.main import main

NOBODY = ("--url", "http://127.0.0.1:9")


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "one.yaml").write_text("task: regression")
    (tmp_path / "experiments" / "half.yaml").write_text("task: [")
    monkeypatch.setenv("ASSAY_STORAGE", str(tmp_path / "storage"))
    monkeypatch.setenv("ASSAY_EXPERIMENTS", str(tmp_path / "experiments"))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["assay", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        return int(caught.value.code or 0), capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["backfill"], "Say which experiments"),
        (["backfill", "--where", "  "], "Say which experiments"),
        (["backfill", "--where", "sede = 1"], "is wrong"),
        (["backfill", "--id", "two"], "Experiment 'two' does not exist"),
        (["backfill", "--where", "true", *NOBODY], "Start it in another terminal with 'make dev'"),
        (["backfills", *NOBODY], "No Dagster web server answers"),
        (["backfills", "--cancel"], "Say which backfill"),
        (["backfills", "abc", "--cancel", "--resume"], "Choose one of"),
    ],
)
def test_every_mistake_is_one_message(call, arguments, message):
    code, printed = call(*arguments)
    assert code == 1
    assert printed.err.count("error: ") == 1
    assert message in printed.err


def test_a_dry_run_shows_the_experiments_even_without_a_server(call):
    code, printed = call("backfill", "--where", "true", "--dry-run", *NOBODY)
    assert code == 1
    assert printed.out == "1 experiment: one\n"
    assert "Left out, not valid: half. See: assay validate" in printed.err


def test_the_description_of_a_backfill_is_a_command_that_starts_it_again():
    assert command_line("job_train", "seed < 3", ["a"]) == "assay backfill --job job_train --where 'seed < 3'"
    assert command_line("job_train", "", ["a", "b"]) == "assay backfill --job job_train --id a --id b"


def test_counts_and_shortened_names():
    assert (counted(1), counted(0)) == ("1 experiment", "0 experiments")
    assert name_list(["a", "b"]) == "a, b"
    assert name_list([f"e{number}" for number in range(25)]).endswith("e19 and 5 more")
