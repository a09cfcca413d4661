"""Profiles: settings that ship with the package, written with care; what settings say about a database."""

import os
import tomllib
from fnmatch import fnmatch

import pytest

from assay.errors import SpecError, StorageError, UnreachableError
from assay.experiments.profiles import (
    DATABASE_VARIABLE,
    LAUNCHER_NEEDS,
    PROFILES,
    RAY_VARIABLE,
    database_url,
    keeps_records_elsewhere,
    missing_for_launcher,
    open_database,
    profile_text,
    ray_address,
    require_services,
    settings_of,
    without_login,
    write_profile,
)
from assay.spec.yaml_text import read_mapping
from tests.helpers.imports import ROOT

URL = "postgresql+psycopg2://mia:pa55word@db:5432/runs"


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """A home with the profile shared, whose database nobody answers for."""
    monkeypatch.setenv(DATABASE_VARIABLE, "postgresql+psycopg2://mia:pa55word@127.0.0.1:1/runs")
    write_profile(tmp_path, "shared")
    return tmp_path


LAUNCHERS = {
    "local": "ProcessRunLauncher",
    "shared": "ProcessRunLauncher",
    "ray": "RayLauncher",
    "kubernetes": "KubernetesLauncher",
}


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_has_launcher_limits_retries_and_monitoring(name):
    settings = read_mapping(profile_text(name), name)
    assert settings["run_launcher"]["class"] == LAUNCHERS[name]
    assert settings["run_retries"] == {"enabled": True, "max_retries": 1, "retry_on_asset_or_op_failure": False}
    assert settings["run_monitoring"]["enabled"] is True
    runs, pools = settings["concurrency"]["runs"], settings["concurrency"]["pools"]
    assert pools == {"granularity": "op", "default_limit": runs["max_concurrent_runs"]}
    assert name == "local" or settings["run_monitoring"]["start_timeout_seconds"] >= 600


def test_the_settings_of_this_repository_are_the_profile_local_itself():
    assert (ROOT / "dagster.yaml").resolve() == ROOT / "assay" / "templates" / "profiles" / "local.yaml"


def test_profiles_are_part_of_the_wheel():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["assay"]
    found = {path.name for path in (ROOT / "assay" / "templates" / "profiles").iterdir()}
    assert found == {f"{name}.yaml" for name in PROFILES}
    assert all(any(fnmatch(f"templates/profiles/{name}", each) for each in patterns) for name in found)


@pytest.mark.parametrize("name", ["shared", "ray", "kubernetes"])
def test_no_profile_holds_an_address_or_a_password(name):
    settings = read_mapping(profile_text(name), name)
    for key in ("run_storage", "schedule_storage", "event_log_storage"):
        assert settings[key]["config"] == {"postgres_url": {"env": DATABASE_VARIABLE}}
    assert "storage" not in settings


def test_an_unknown_profile_names_those_that_exist(tmp_path):
    with pytest.raises(
        SpecError,
        match=r"Profile 'share' does not exist\. Did you mean 'shared'\? Choices: kubernetes, local, ray, sha",
    ):
        write_profile(tmp_path / "home", "share")
    assert not (tmp_path / "home").exists()


def test_a_profile_is_written_once_and_other_settings_are_kept_beside(tmp_path):
    assert write_profile(tmp_path, "local") == (tmp_path / "dagster.yaml", None)
    assert write_profile(tmp_path, "local") == (tmp_path / "dagster.yaml", None)
    with pytest.raises(StorageError, match=r"dagster.yaml has other settings than the profile shared\. .* --replace"):
        write_profile(tmp_path, "shared")
    assert (tmp_path / "dagster.yaml").read_text() == profile_text("local")
    for number, name in ((1, "shared"), (2, "local")):
        former = (tmp_path / "dagster.yaml").read_text()
        kept = tmp_path / f"dagster.yaml.former-{number}"
        assert write_profile(tmp_path, name, replace=True) == (tmp_path / "dagster.yaml", kept)
        assert kept.read_text() == former
        assert (tmp_path / "dagster.yaml").read_text() == profile_text(name)


def test_a_pipe_in_place_of_the_settings_lets_nobody_wait(tmp_path):
    os.mkfifo(tmp_path / "dagster.yaml")
    for use in (settings_of, lambda home: write_profile(home, "local", replace=True)):
        with pytest.raises(StorageError, match=r"dagster.yaml: is a pipe \(FIFO\); expected a regular file"):
            use(tmp_path)
    assert not keeps_records_elsewhere(tmp_path)


@pytest.mark.parametrize(
    ("text", "elsewhere"),
    [
        (profile_text("local"), False),
        (profile_text("shared"), True),
        (profile_text("ray"), True),
        (profile_text("kubernetes"), True),
        ("storage:\n  postgres: {postgres_url: x}\n", True),
        ("event_log_storage: {module: a, class: B}\n", False),
        ("# run_storage: none\nlocal_artifact_storage: {module: a}\n", False),
    ],
)
def test_whether_runs_are_recorded_elsewhere_is_in_the_settings(tmp_path, text, elsewhere):
    (tmp_path / "dagster.yaml").write_text(text)
    assert keeps_records_elsewhere(tmp_path) is elsewhere


def test_the_address_comes_from_the_environment(shared, monkeypatch):
    monkeypatch.setenv(DATABASE_VARIABLE, URL)
    assert database_url(settings_of(shared)) == URL
    monkeypatch.delenv(DATABASE_VARIABLE)
    with pytest.raises(
        StorageError, match=rf"from {DATABASE_VARIABLE}, which is not set\. Next: export ASSAY_DATABASE"
    ):
        require_services(shared)


def test_dagsters_own_ways_to_name_a_database_are_understood(monkeypatch):
    monkeypatch.setenv("PG_PASSWORD", "p@ss")
    parts = {
        "username": "mia",
        "password": {"env": "PG_PASSWORD"},
        "hostname": "db",
        "db_name": "runs",
        "scheme": "postgresql+psycopg2",
    }
    expected = "postgresql+psycopg2://mia:p%40ss@db:5432/runs"
    assert database_url({"storage": {"postgres": {"postgres_db": parts}}}) == expected
    entry = {"module": "dagster_postgres", "class": "PostgresRunStorage", "config": {"postgres_url": URL}}
    assert database_url({"run_storage": entry}) == URL
    assert database_url({"storage": {"sqlite": {"base_dir": "x"}}}) is None
    with pytest.raises(StorageError, match="names several databases"):
        database_url({"run_storage": entry, "storage": {"postgres": {"postgres_db": parts}}})


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("postgresql://mia:pa55word@db/runs", r"begins with 'postgresql'; expected postgresql\+psycopg2://USER"),
        ("mia:pa55word@db/runs", "begins with 'no address'|begins with 'something else'"),
        ("pa55word;://x", "begins with 'something else'"),
        ("postgresql+psycopg2://mia:pa55@word@db/runs", "one in a password is written %40"),
    ],
)
def test_an_address_of_another_form_is_refused_without_its_password(shared, monkeypatch, address, reason):
    monkeypatch.setenv(DATABASE_VARIABLE, address)
    with pytest.raises(StorageError, match=reason) as caught:
        require_services(shared)
    assert "pa55" not in str(caught.value)


def test_the_address_of_the_cluster_comes_from_the_environment(monkeypatch):
    settings = read_mapping(profile_text("ray"), "ray")
    monkeypatch.setenv(RAY_VARIABLE, "http://10.0.0.1:8265")
    assert ray_address(settings) == "http://10.0.0.1:8265"
    for address, told in ((None, "is not set"), ("ray://h:10001", "is no address of it"), ("http:// x", "is no")):
        monkeypatch.setenv(RAY_VARIABLE, address) if address else monkeypatch.delenv(RAY_VARIABLE)
        with pytest.raises(StorageError, match=rf"{RAY_VARIABLE}, {told}.*expected http://HOST:8265.*Next: export"):
            ray_address(settings)
    for name in ("local", "shared", "kubernetes"):
        assert ray_address(read_mapping(profile_text(name), name)) is None


def test_a_launcher_without_its_packages_names_the_command(monkeypatch):
    monkeypatch.setitem(LAUNCHER_NEEDS, "resources.instance.ray_launcher", {"no_such_module": "nothing>=1"})
    settings = read_mapping(profile_text("ray"), "ray")
    assert missing_for_launcher(settings).endswith("lacks packages. Next: pip install 'nothing>=1'")
    assert missing_for_launcher(read_mapping(profile_text("local"), "local")) == ""


def test_the_local_profile_needs_no_database(tmp_path):
    require_services(tmp_path)
    write_profile(tmp_path, "local")
    require_services(tmp_path)
    assert database_url(settings_of(tmp_path)) is None


def test_a_database_that_does_not_answer_is_one_sentence_without_its_password(shared):
    pytest.importorskip("dagster_postgres", reason="the extra scale is not installed")
    with pytest.raises(
        UnreachableError, match=r"^Dagster's database can't be reached: connection to .* refused.*"
    ) as got:
        require_services(shared)
    assert "\n" not in str(got.value)
    assert "pa55word" not in str(got.value)
    with pytest.raises(UnreachableError) as got:
        open_database("postgresql+psycopg2://mia:pa55:word@127.0.0.1:port/runs")
    assert "pa55" not in str(got.value)


def test_no_part_of_a_login_is_repeated():
    text = 'invalid port "55wo@db" of postgresql://mia:pa:55wo@db/runs'
    assert (
        without_login(text, "postgresql+psycopg2://mia:pa:55wo@db/runs")
        == 'invalid port "***@db" of postgresql://***@db/runs'
    )
