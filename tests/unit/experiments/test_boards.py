"""The record of a board: read with a check, and what ``champion`` means in a command."""

import json
import os
import shutil

import pytest

from assay.errors import IdError, StorageError
from assay.experiments.boards import Boards, BoardState, experiment_meant
from assay.experiments.garbage import survey
from assay.experiments.specs import SpecFiles
from assay.inference.stored import find_model
from tests.helpers.contestants import Contest

PRINT = "0123456789abcdef01234567"
ONE = {
    "experiment_id": "one",
    "model": PRINT,
    "analysis": PRINT,
    "at": "2026-01-01T00:00:00+00:00",
    "by": "rule",
    "reason": "",
}
SOUND = {"task": "regression", "metric": "mae", "subset": "test", "history": [ONE]}


def board(folder, content=SOUND, name="main"):
    boards = Boards(folder / "storage")
    boards.folder.mkdir(parents=True)
    text = content if isinstance(content, str) else json.dumps(content)
    boards.path(name).write_text(text)
    return boards


def test_a_record_comes_back_as_it_was_stored(tmp_path):
    boards = board(tmp_path)
    state = boards.state("main")
    boards.store("main", state)
    assert boards.state("main") == state == BoardState.model_validate({**SOUND, "history": (ONE,)})
    assert boards.names() == ["main"]


def test_keys_of_a_later_version_are_let_through(tmp_path):
    assert board(tmp_path, {**SOUND, "weight": 3}).state("main").champion.experiment_id == "one"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is no JSON, or cut off"),
        ("[]", "holds a JSON list; expected an object"),
        ("[" * 100_000, "nested brackets"),
        ({**SOUND, "history": None}, "history"),
        ({key: value for key, value in SOUND.items() if key != "metric"}, "'metric': field required"),
        (
            {**SOUND, "history": [{**ONE, "model": "../../secret"}]},
            "'history.0.model': expected 24 hex digits (got '../../secret')",
        ),
        ({**SOUND, "history": [{**ONE, "experiment_id": "../one"}]}, "history.0.experiment_id"),
        ({**SOUND, "history": [{**ONE, "by": "somebody"}]}, "history.0.by"),
        ({**SOUND, "history": [{**ONE, "value": float("nan")}]}, "history.0.value"),
        ({**SOUND, "metric": "mae\x1b[2J"}, "'metric': holds characters that are not printable"),
        ({**SOUND, "passed_over": ["x"]}, "'passed_over.0': expected 24 hex digits"),
    ],
)
def test_a_damaged_record_is_one_sentence_with_file_key_and_next_step(tmp_path, content, problem):
    boards = board(tmp_path, content)
    with pytest.raises(StorageError) as caught:
        boards.champion()
    said = str(caught.value)
    assert problem in said
    assert said.startswith(f"Board 'main': {boards.path('main')}")
    assert said.endswith("Mend that file, or delete it and promote the champion: assay promote ID")
    assert "\n" not in said


def test_a_record_that_is_no_file_is_not_opened(tmp_path):
    boards = board(tmp_path)
    boards.path("main").unlink()
    os.mkfifo(boards.path("main"))
    with pytest.raises(StorageError, match="is a pipe"):
        boards.champion()


def test_other_files_in_the_folder_are_no_boards(tmp_path):
    boards = board(tmp_path)
    for name in (".tmp-1-main.json", "Main.json", "notes.txt", "a b.json"):
        (boards.folder / name).write_text("x")
    assert boards.names() == ["main"]


def test_while_a_record_is_damaged_gc_deletes_no_results(lab):
    lab.spec("one").unlink()
    boards = Boards(lab.root)
    boards.folder.mkdir()
    boards.path("main").write_text("{}")
    garbage, doubts = survey(lab.root, lab.specs)
    assert {item.kind for item in garbage} == {"experiment"}
    assert any("Board 'main'" in doubt for doubt in doubts)


def test_new_experiments_are_not_called_champion(tmp_path):
    specs = SpecFiles(tmp_path / "experiments", tmp_path / "storage")
    with pytest.raises(IdError, match=r"'champion' stands for the champion of a board\. Nearest valid: 'champion-1'"):
        specs.create({"task": "regression"}, "champion")
    assert not specs.folder.exists()
    assert specs.create({"task": "regression"}, "champions") == "champions"


def test_one_that_has_this_name_from_before_keeps_it_until_there_are_boards(tmp_path):
    specs = SpecFiles(tmp_path / "experiments", tmp_path / "storage")
    specs.create({"task": "regression"}, "other")
    specs.path("other").rename(specs.path("champion"))
    assert experiment_meant(specs.root, "champion", specs) == "champion"
    board(tmp_path)
    with pytest.raises(StorageError, match=r"'champion' is an experiment, and also .* Say champion:NAME"):
        experiment_meant(specs.root, "champion", specs)
    assert experiment_meant(specs.root, "other", specs) == "other"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    contest = Contest(tmp_path_factory.mktemp("contest"))
    contest.finish("weak", range(40))
    contest.finish("strong", range(10))
    contest.consider("weak")
    contest.consider("strong")
    return contest


@pytest.fixture
def contest(finished, tmp_path, monkeypatch):
    return finished.copied(tmp_path, monkeypatch)


@pytest.mark.system
def test_champion_means_the_model_that_was_promoted(contest):
    for name in ("champion", "champion:pets"):
        model = find_model(name)
        assert (model.experiment_id, model.name) == ("strong", "Champion 'strong' of board 'pets'")
        assert model.card == find_model("strong").card
        assert experiment_meant(contest.root, name, contest.specs) == "strong"
    with pytest.raises(StorageError, match=r"Board 'pet' does not exist\. Did you mean 'pets'\?"):
        find_model("champion:pet")


@pytest.mark.system
def test_the_promoted_model_stays_champion_when_its_experiment_is_trained_anew(contest):
    promoted = find_model("champion")
    weights = promoted.weights.read_bytes()
    handler = {"prediction_handler": {"copy_columns": ["label"]}}
    contest.finish("strong", range(60), trained_model={"seed": 7}, predictions=handler)
    anew = find_model("strong")
    assert anew.card.seed == 7
    model = find_model("champion")
    assert model.card == promoted.card
    assert model.predictions == promoted.predictions != anew.predictions
    assert model.weights.read_bytes() == weights
    assert model.analysis.name == contest.state().champion.analysis
    with pytest.raises(
        StorageError, match=r"'strong' was trained anew, or removed, since .* Next: assay promote strong"
    ):
        experiment_meant(contest.root, "champion", contest.specs)


@pytest.mark.system
def test_a_champion_whose_results_are_gone_says_what_to_do(contest):
    shutil.rmtree(contest.root / "data" / "trained_model")
    shutil.rmtree(contest.root / "experiments")
    with pytest.raises(
        StorageError, match=r"The results of 'strong'.* are gone \(trained_model\)\. Next: assay promote ID"
    ):
        find_model("champion")


@pytest.mark.system
def test_without_boards_champion_may_be_a_folder(contest):
    shutil.copytree(contest.root / "experiments", contest.folder / "copies")
    (folder,) = (path for path in (contest.folder / "copies").iterdir() if path.name.endswith("strong"))
    shutil.rmtree(contest.boards.folder)
    with pytest.raises(StorageError, match=r"No board has a champion yet\. Next: assay promote ID"):
        find_model("champion")
    folder.rename(contest.folder / "champion")
    assert find_model("champion").card == find_model("strong").card
