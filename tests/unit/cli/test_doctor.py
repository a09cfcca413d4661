"""``assay init`` and ``assay doctor``: what they print, and the exit code."""

import json
import subprocess
import sys

import pytest

import assay
from tests.helpers.commands import run_command


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Give ``call(*arguments)`` in an empty project: exit code and output."""
    for variable, name in (
        ("ASSAY_STORAGE", "storage"),
        ("ASSAY_EXPERIMENTS", "experiments"),
        ("DAGSTER_HOME", "home"),
    ):
        monkeypatch.setenv(variable, str(tmp_path / name))
    monkeypatch.delenv("ASSAY_DATABASE_URL", raising=False)
    return lambda *arguments: run_command(monkeypatch, capsys, *arguments)


def test_a_new_project_is_written_and_in_order(call, tmp_path):
    code, output = call("init")
    assert code == 0
    assert output.splitlines()[0].startswith(
        f"{tmp_path / 'home' / 'dagster.yaml'} has the settings of the profile local"
    )
    code, output = call("doctor")
    assert code == 0, output
    assert output.endswith("No problems.\n")
    assert not (tmp_path / "storage").exists()


def test_the_profile_shared_says_what_is_next(call):
    code, output = call("init", "--profile", "shared")
    assert code == 0
    assert "export ASSAY_DATABASE_URL=postgresql+psycopg2://USER:PASSWORD@HOST:5432/DATABASE" in output
    code, output = call("doctor")
    assert code == 1
    assert output.splitlines()[-1] == "1 problem."


@pytest.mark.parametrize(
    ("profile", "told"), [("ray", "export ASSAY_RAY_ADDRESS=http://HOST:8265"), ("kubernetes", "export ASSAY_IMAGE=")]
)
def test_the_profile_of_a_cluster_says_what_is_next(call, profile, told):
    code, output = call("init", "--profile", profile)
    assert code == 0
    assert told in output
    assert output.endswith("assay doctor\n")


@pytest.mark.system
def test_neither_command_imports_dagster(call, tmp_path):
    code = "import sys; from assay.cli.main import main; sys.argv = ['assay', sys.argv[1]]\n"
    code += "try: main()\nexcept SystemExit: sys.exit('dagster' in sys.modules)"
    for command in ("init", "doctor"):
        assert subprocess.run([sys.executable, "-c", code, command], check=False).returncode == 0


def test_settings_of_another_profile_are_replaced_only_when_asked(call):
    assert call("init")[0] == 0
    code, output = call("init", "--profile", "shared")
    assert code == 1
    assert "assay init --profile shared --replace" in output
    code, output = call("init", "--profile", "shared", "--replace")
    assert code == 0
    assert output.startswith("The former settings are kept: ")


def test_findings_are_an_object_each_with_json(call):
    code, output = call("doctor", "--json")
    assert code == 0
    found = json.loads(output)
    assert {tuple(each) for each in found} == {("area", "level", "text")}
    assert {"platform", "packages", "home", "disk", "storage"} <= {each["area"] for each in found}


@pytest.mark.parametrize(
    ("name", "python", "told"),
    [
        ("win32", (3, 11), "Assay runs on Linux and macOS, not on Windows. Next: use it in WSL 2"),
        ("linux", (3, 10, 4), "Assay needs Python 3.11 or later; this is 3.10."),
    ],
)
def test_where_assay_does_not_run_it_says_so_at_once(name, python, told):
    with pytest.raises(SystemExit, match=told):
        assay.require_platform(name, python)
    for fine in ("linux", "darwin"):
        assay.require_platform(fine, (3, 13, 1))
