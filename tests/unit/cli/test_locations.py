"""Commands on experiments in other places: what they say, and that nothing is written when they refuse."""

from functools import partial

import pytest

from assay.spec.yaml_text import read_mapping
from tests.helpers.commands import run_command
from tests.helpers.stored_experiments import contents, fill


@pytest.fixture
def assay(tmp_path, monkeypatch, capsys):
    """Give ``assay(…)``: the exit code, and what was printed; in a project whose archive has the experiment ab12."""
    for name, folder in (("STORAGE", "storage"), ("EXPERIMENTS", "experiments"), ("LOCATIONS", "locations.yaml")):
        monkeypatch.setenv(f"ASSAY_{name}", str(tmp_path / folder))
    fill(tmp_path / "archive" / "REG-1", analysis__a="one")
    (tmp_path / "attic").mkdir()
    lines = [f"{name}: {{url: {tmp_path / name}}}\n" for name in ("archive", "attic")]
    (tmp_path / "locations.yaml").write_text("".join(lines))

    return partial(run_command, monkeypatch, capsys)


def test_locations_are_listed_with_what_they_have(assay, tmp_path):
    code, text = assay("locations")
    assert code == 0
    assert [line.split() for line in text.splitlines()] == [
        ["archive", "1", "experiments", str(tmp_path / "archive")],
        ["attic", "0", "experiments", str(tmp_path / "attic")],
        ["experiments", "0", "experiments", str(tmp_path / "storage" / "experiments")],
    ]


def test_an_unreachable_location_hides_no_other(assay, tmp_path):
    with (tmp_path / "locations.yaml").open("a") as file:
        file.write(f"broken: {{url: {tmp_path / 'not-there'}}}\n")
    code, text = assay("locations")
    assert code == 1
    assert f"broken                Location 'broken': {tmp_path / 'not-there'} does not exist. Mount it" in text
    assert [line.split()[0] for line in text.splitlines()] == ["archive", "attic", "broken", "experiments"]


def test_a_copy_reports_what_it_copied_and_a_second_one_that_nothing_was_left(assay, tmp_path):
    code, text = assay("copy", "ab12", "--from", "archive", "--to", "attic")
    assert code == 0
    assert "4 files" in text
    assert "4 of them copied, each compared by SHA-256" in text
    assert contents(tmp_path / "attic") == contents(tmp_path / "archive")
    assert "all there already" in assay("copy", "ab12", "--from", "archive", "--to", "attic")[1]


def test_deleting_the_source_asks_first(assay, tmp_path):
    code, text = assay("copy", "ab12", "--from", "archive", "--to", "attic", "--delete-source")
    assert code == 1
    assert "Delete experiment ab12 at archive after the copy was verified?" in text
    assert not any((tmp_path / "attic").iterdir())
    assert assay("copy", "ab12", "--from", "archive", "--to", "attic", "--delete-source", "--yes")[0] == 0
    assert not any((tmp_path / "archive").iterdir())


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("copy", "ab12", "--to", "atic"), "Location 'atic' does not exist. Did you mean 'attic'?"),
        (("copy", "ab13", "--from", "archive", "--to", "attic"), "has no experiment 'ab13'. Did you mean 'ab12'?"),
        (("import", "ab12", "--from", "nowhere"), "Location 'nowhere' does not exist."),
        (("import", "ab12", "--from", "experiments"), "of this storage; its experiments live here already"),
        (("eval", "nobody"), "has no experiment 'nobody'. It has no experiments at all."),
        (("eval", "ab12", "--from", "archive", "--id", "../x"), "Experiment ID '../x' is not valid"),
    ],
)
def test_a_refusal_is_one_sentence(assay, tmp_path, arguments, problem):
    before = contents(tmp_path)
    code, text = assay(*arguments)
    assert code == 1
    assert text.startswith("error: ")
    assert problem in text
    assert contents(tmp_path) == before


def test_the_file_of_an_evaluation_has_only_its_own_keys(assay, tmp_path):
    code, text = assay("eval", "ab12", "--from", "archive", "--id", "judge", "--set", "seed=7")
    assert code == 0
    assert "assay run judge --job job_eval" in text
    values = read_mapping((tmp_path / "experiments" / "judge.yaml").read_text(), "judge")
    assert values == {
        "task": "regression",
        "description": "Evaluation of ab12 at archive.",
        "existing_experiment": {"experiment_id": "ab12", "location": "archive"},
        "seed": 7,
    }


@pytest.mark.system
def test_an_experiment_travels_as_a_file(assay, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert assay("import", "ab12", "--from", "archive")[0] == 0
    code, text = assay("pack", "ab12")
    assert (code, text.split(":")[0]) == (0, "ab12.zip")
    assert text.endswith("Elsewhere: assay import ab12.zip\n")
    for name in ("STORAGE", "EXPERIMENTS"):
        monkeypatch.setenv(f"ASSAY_{name}", str(tmp_path / "elsewhere" / name.lower()))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "elsewhere" / "home"))
    code, text = assay("import", "ab12.zip")
    assert code == 0
    assert "Experiment ab12 lives here now. Next: assay show ab12" in text
    assert assay("report", "ab12", "--out", "page.html") == (0, "page.html\n")
    assert "<h1>ab12</h1>" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("import", "ab12"), "To import an experiment of this ID, say where it is: assay import ab12 --from LOCATION."),
        (("import", "ab12.zi"), "File 'ab12.zi' does not exist. Did you mean 'ab12.zip'?"),
        (("import", "archive"), "archive is a folder. Next, with an ID of an experiment in it: assay import ID --from"),
        (("import", "ab12.zip"), "ab12.zip: is no ZIP file; expected a pack, the file that 'assay pack ID' writes"),
        (("import", "ab12.zip", "--from", "archive"), "ab12.zip is a file, which --from does not go with."),
        (("pack", "ab12"), "Experiment 'ab12' has no folder. Experiment 'ab12' does not exist."),
        (("report", "ab12"), "Experiment 'ab12' has no folder. Experiment 'ab12' does not exist."),
        (("report", "../x"), "Experiment ID '../x' is not valid"),
    ],
)
def test_a_file_or_an_id_that_is_none_is_told_what_was_meant(assay, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ab12.zip").write_text("mine")
    code, text = assay(*arguments)
    assert code == 1
    assert told in text
    assert not (tmp_path / "storage").exists()
    assert (tmp_path / "ab12.zip").read_text() == "mine"
