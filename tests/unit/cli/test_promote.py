"""``assay promote``: by hand, by rule, back, and the list of boards; what it refuses, then nothing is written."""

import pytest
from dagster import AssetKey

from resources.instance.home import local_instance
from tests.helpers.commands import run_command
from tests.helpers.contestants import Contest

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    contest = Contest(tmp_path_factory.mktemp("contest"))
    for name, wrong in {"weak": 40, "strong": 10}.items():
        contest.finish(name, range(wrong))
    contest.enter("planned")
    return contest


@pytest.fixture
def contest(finished, tmp_path, monkeypatch):
    return finished.copied(tmp_path, monkeypatch)


@pytest.fixture
def assay(contest, monkeypatch, capsys):
    return lambda *arguments: run_command(monkeypatch, capsys, *arguments)


def test_promoted_by_hand_then_by_rule_and_back(contest, assay):
    code, told = assay("promote", "weak")
    assert code == 0
    assert told.splitlines() == [
        "weak: promoted: by hand; the first one on this board",
        "weak is the champion of board pets: accuracy 0.800 [0.750, 0.850] on test.",
        "Next: assay predict champion:pets PATH",
    ]
    contest.finish("better", range(5))
    code, told = assay("promote", "better", "--if-better")
    assert (code, told.splitlines()[0][:50]) == (0, "better: promoted: surely better: accuracy 0.975 an")
    with local_instance() as instance:
        event = instance.get_latest_materialization_event(AssetKey("champion"))
    assert "better is the champion of board pets" in event.asset_materialization.metadata["summary"].value
    code, told = assay("promote", "--back")
    assert (code, told.splitlines()[0]) == (
        0,
        "weak is the champion of board pets: accuracy 0.800 [0.750, 0.850] on test.",
    )
    code, told = assay("promote")
    assert code == 0
    assert [line.split()[:2] for line in told.splitlines()[2:]] == [["better", "taken"], ["weak", "champion"]]


def test_commands_that_read_results_take_the_champion(contest, assay):
    assay("promote", "strong")
    for arguments in (["show"], ["path"], ["report"], ["pack"]):
        code, told = assay(*arguments, "champion")
        assert (code, "strong" in told) == (0, True), told
    assert "strong" in assay("compare", "champion:pets", "weak")[1]
    assert "strong" in assay("diff", "champion", "weak")[1]
    code, told = assay("show", "champion:cars")
    assert code == 1
    assert "pets" in told


def test_show_tells_of_which_board_it_is_champion(contest, assay):
    contest.consider("weak")
    assert "champion of board pets since 20" in assay("show", "weak")[1]
    assert "champion of" not in assay("show", "strong")[1]
    contest.finish("weak", range(30), trained_model={"seed": 3})
    assert "; it was trained anew since, and stays as it was promoted" in assay("show", "weak")[1]
    contest.boards.path("pets").write_text("{}")
    assert assay("show", "weak")[0] == 0


def test_where_the_champion_stays_the_exit_code_is_3(contest, assay):
    contest.consider("strong")
    before = contest.boards.path("pets").read_bytes()
    code, told = assay("promote", "weak", "--if-better")
    assert code == 3
    assert told.splitlines()[0] == "weak: not promoted: not better: accuracy 0.800 and 0.950 of strong"
    assert contest.boards.path("pets").read_bytes() == before
    assert not (contest.folder.parent / "home").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["planned"], "error: Experiment 'planned' has no results yet. Next: assay run planned"),
        (["weka"], "error: Experiment 'weka' does not exist. Did you mean 'weak'?"),
        (["../weak"], "is not valid: expected 1 to 63 characters"),
        (["weak", "--board", "pet"], "error: Board 'pet' does not exist. Did you mean 'pets'?"),
        (["--back"], "error: No board has a champion yet. Next: assay promote ID"),
        ([], "error: No board has a champion yet. Next: assay promote ID"),
        (["--if-better"], "error: --if-better needs an experiment: assay promote ID --if-better"),
        (["weak", "--back", "--if-better"], "error: --back and --if-better exclude each other"),
    ],
)
def test_what_can_not_be_promoted_is_one_sentence_and_writes_nothing(contest, assay, arguments, message):
    code, told = assay("promote", *arguments)
    assert code == 1
    assert message in told
    assert not contest.boards.folder.exists()


def test_other_commands_take_the_champion(contest, assay):
    for command in (["predict", "champion", "x.png"], ["export", "champion", "--format", "onnx"], ["eval", "champion"]):
        code, told = assay(*command)
        assert (code, told) == (1, "error: No board has a champion yet. Next: assay promote ID\n")
    contest.consider("weak")
    contest.consider("strong")
    code, told = assay("eval", "champion:pets", "--id", "judged")
    assert code == 0, told
    assert "existing_experiment: strong" in contest.specs.path("judged").read_text()
    code, told = assay("eval", "champion:pats")
    assert (code, told) == (1, "error: Board 'pats' does not exist. Did you mean 'pets'? Choices: pets.\n")
    code, told = assay("export", "champion", "--format", "coco", "--to", "out")
    assert (code, "'strong'" in told) == (1, True)
    contest.finish("strong", range(11), trained_model={"seed": 3})
    code, told = assay("eval", "champion")
    assert code == 1
    assert "'strong' was trained anew, or removed, since it became champion of board 'pets'" in told
