"""What `assay doctor` finds around the storage: settings, database files, packages."""

import os
import sqlite3
from contextlib import closing

import pytest
from packaging.requirements import Requirement

from assay.experiments.deployment import _unfit, _wrong_server, check_home, check_packages
from assay.experiments.health import found_by
from assay.experiments.profiles import DATABASE_VARIABLE, profile_text, write_profile


def look(home):
    """Return the problems and notes of a home."""
    found = list(found_by("home", lambda: check_home(home)))
    return [each.text for each in found if each.level == "problem"], [
        each.text for each in found if each.level == "note"
    ]


def test_a_home_without_settings_names_the_command_that_writes_them(tmp_path):
    problems, (note,) = look(tmp_path / "home")
    assert problems == []
    assert note.endswith("Now, or another: assay init --profile local|shared|ray|kubernetes")
    assert not (tmp_path / "home").exists()


def test_the_profile_local_is_in_order(tmp_path):
    write_profile(tmp_path, "local")
    assert look(tmp_path) == ([], [])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "telemetry: {enabled: false}\n",
            "lacks run_launcher, run_monitoring, run_retries, concurrency: runs die with",
        ),
        (
            profile_text("local") + "storage: {postgres: {postgres_url: x}}\n",
            "has 'storage' beside 'event_log_storage'",
        ),
        (
            profile_text("local") + "run_storage: {module: dagster_postgres, class: A, config: {postgres_url: x}}\n",
            "mixes profiles: only some of run_storage, schedule_storage, event_log_storage are on PostgreSQL",
        ),
        (
            profile_text("local").replace("instance.run_launcher", "instance.ray_launcher"),
            "mixes profiles: runs go to a cluster, and their records are files of this machine. Next: assay init --pro",
        ),
        (
            profile_text("local").replace("resources.instance.run_launcher", "resources.run_launcher"),
            "run_launcher names the module 'resources.run_launcher', which does not exist. Correct it",
        ),
        (profile_text("local").replace("resources.instance.event_log", "../x"), "names the module '../x', which does"),
        ("- a\n", "dagster.yaml"),
        ("a: [\n", "dagster.yaml"),
    ],
)
def test_settings_that_are_wrong_are_told(tmp_path, text, told):
    (tmp_path / "dagster.yaml").write_text(text)
    problems, _ = look(tmp_path)
    assert any(told in each for each in problems), problems


@pytest.mark.parametrize("odd", ["[1]", "7", "x", "{}", "{config: 7}", "{config: {postgres_db: x}}", "{module: [1]}"])
@pytest.mark.parametrize("key", ["storage", "run_storage", "run_monitoring", "run_launcher", "concurrency"])
def test_settings_of_other_types_stop_no_look(tmp_path, key, odd):
    (tmp_path / "dagster.yaml").write_text(f"{key}: {odd}\n")
    problems, _ = look(tmp_path)
    assert problems
    assert all("dagster.yaml" in each or "database" in each for each in problems)


def test_a_pipe_in_place_of_the_settings_is_a_problem(tmp_path):
    os.mkfifo(tmp_path / "dagster.yaml")
    ((problem,), _) = look(tmp_path)
    assert "is a pipe (FIFO)" in problem


def test_a_database_without_an_address_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.delenv(DATABASE_VARIABLE, raising=False)
    write_profile(tmp_path, "shared")
    ((*_, problem), _) = look(tmp_path)
    assert f"takes the database from {DATABASE_VARIABLE}, which is not set" in problem


def records(home, revision):
    (home / "history").mkdir()
    with closing(sqlite3.connect(home / "history" / "runs.db")) as made:
        made.execute("CREATE TABLE alembic_version (version_num TEXT)")
        made.execute("INSERT INTO alembic_version VALUES (?)", [revision])
        made.commit()


@pytest.mark.parametrize(
    ("revision", "told"),
    [
        ("7e2f3204cf8e", "has tables of an older Dagster. Next: dagster instance migrate"),
        (
            "ffffffffffff",
            "has tables of another Dagster (ffffffffffff). Install on all machines the version of the one",
        ),
    ],
)
def test_tables_of_another_dagster_are_told(tmp_path, revision, told):
    write_profile(tmp_path, "local")
    records(tmp_path, revision)
    ((problem,), _) = look(tmp_path)
    assert told in problem


def test_a_file_that_is_no_database_is_told(tmp_path):
    write_profile(tmp_path, "local")
    (tmp_path / "history").mkdir()
    (tmp_path / "history" / "runs.db").write_bytes(b"no database" * 100)
    ((problem,), _) = look(tmp_path)
    assert "runs.db can't be read: file is not a database. Restore it" in problem


def test_what_is_wrong_with_a_server_is_told():
    assert list(_wrong_server("It", 0.1, False, True, [True, True])) == []
    assert list(_wrong_server("It", 0.1, False, True, [False, False])) == []
    told = list(_wrong_server("It", -300.0, True, False, [True, False]))
    assert [each.split(".")[0] for each in told] == [
        "It is a standby that can't be written",
        "It does not let this user make tables",
        "It has only some of Dagster's tables: making them was interrupted",
        "It and this machine differ by 300 s",
    ]


def test_packages_that_do_not_fit_are_told_with_the_command():
    needed = [Requirement(each) for each in ("numpy>=1", "numpy<1", "assay-nothing>=2", 'assay-extra; extra == "x"')]
    old, missing = _unfit(needed, "Assay")
    assert old.endswith("is installed; Assay needs <1. Next: pip install 'numpy<1'")
    assert missing == "assay-nothing is not installed, which Assay needs. Next: pip install 'assay-nothing>=2'"


def test_python_and_packages_of_this_environment_are_named():
    found = list(check_packages())
    assert found[0].area == "platform"
    assert "Python 3." in found[0].text
    assert "problem" not in {each.level for each in found}
