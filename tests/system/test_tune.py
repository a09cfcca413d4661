"""A search from its command to its page: trained for real, killed in the middle of a trial, gone on with, pruned."""

import re
import signal

import pytest

from tests.helpers.trained import write_houses

pytestmark = pytest.mark.system

BASE = """\
task: regression
generated_images:
  source: {{kind: table, path: {table}, target_column: price, delimiter: ";", decimal: ","}}
trained_model:
  train_params: {{epochs: 9, least_steps: 0, checkpoint_every_s: 0}}
  net_data: {{samples: 0}}
analysis:
  result_analyzer: {{bootstrap_samples: 20, simple_models: false}}
exptests: {{tests: [{{kind: models_saved}}]}}
"""
SPACE = ("--space", "learning_rate=log:1e-4..1e-1", "--space", "model.width=8|64")
SEARCH = ("tune", "base", *SPACE, "--sampler", "random", "--pruner", "halving:3", "--name", "found")


@pytest.fixture(scope="module")
def searched(module_project):
    """Kill a search in its second trial, and start it again; give the output of both."""
    project = module_project
    write_houses(project.folder / "houses.csv")
    project.write("base", BASE.format(table=project.folder / "houses.csv"))
    process = project.start("assay", *SEARCH, "--trials", "4")
    begun = []
    for line in process.stdout:
        begun.append(line)
        if line.startswith("Trial 2 of 4"):
            process.send_signal(signal.SIGKILL)
            break
    process.communicate()
    code, again = project.assay(*SEARCH, "--trials", "4", timeout=600)
    assert code == 0, again
    return "".join(begun), again


def test_a_search_that_was_killed_goes_on_with_the_same_trial(searched):
    begun, again = searched
    assert "the lowest mae on validation; the test data choose nothing. 0 of 4 trials done." in begun
    assert "1 of 4 trials done." in again
    trials = r"^Trial (\d) of 4: (found-0\d) \((.*)\)$"
    assert re.findall(trials, begun, re.MULTILINE)[1] == re.findall(trials, again, re.MULTILINE)[0]
    assert [number for number, *_ in re.findall(trials, again, re.MULTILINE)] == ["2", "3", "4"]


def test_at_the_end_is_a_table_with_the_best_and_what_to_do_next(searched):
    _, again = searched
    assert re.search(r"^Study found: 4 trials, \d complete, \d pruned\.$", again, re.MULTILINE)
    assert re.search(r"^ +experiment +mae \(validation\) +learning_rate +width", again, re.MULTILINE)
    best = re.search(r"^Best: (found-0\d), mae (\S+) on validation, by which it was chosen", again, re.MULTILINE)
    assert f"assay promote {best.group(1)}" in again
    values = [float(value) for value in re.findall(r"^\d  found-0\d +(\S+)  .*\d$", again, re.MULTILINE)]
    assert values == sorted(values)


def test_pruned_trials_are_compared_with_a_note_and_a_run_has_nothing_to_do(searched, module_project):
    _, again = searched
    pruned = re.findall(r"(found-0\d) .* pruned at epoch 3$", again, re.MULTILINE)
    assert pruned
    code, compared = module_project.assay("compare", "--sweep", "found", "--subset", "validation")
    assert code == 0, compared
    assert f"{pruned[0]}: pruned at epoch 3; to train it to its end, take stop_after out of its file" in compared
    assert len(re.findall(r"^\d  found-0\d", compared, re.MULTILINE)) == 4
    assert "no results" not in compared
    assert "note: trained_model: stop_after ends it at epoch 3 of 9" in module_project.assay("show", pruned[0])[1]
    code, output = module_project.assay("run", pruned[0])
    assert code == 0, output
    assert f"{pruned[0]} is finished: everything was found, nothing to do." in output


def test_a_pruned_trial_can_be_trained_to_its_end_where_it_was(searched, module_project):
    _, again = searched
    pruned = re.findall(r"(found-0\d) .* pruned at epoch 3$", again, re.MULTILINE)[0]
    spec = module_project.spec(pruned)
    module_project.write(pruned, re.sub(r"\n +stop_after: 3", "", spec))
    code, output = module_project.assay("run", pruned)
    assert code == 0, output
    code, output = module_project.assay(
        "sql", f"select max(epoch) as last from training_history where experiment_id = '{pruned}'"
    )
    assert re.search(r"│ 9 ", output), output


def test_the_same_command_again_has_nothing_to_do_and_another_space_is_refused(searched, module_project):
    code, output = module_project.assay(*SEARCH, "--trials", "4")
    assert code == 0, output
    assert "4 of 4 trials done." in output
    assert "Trial " not in output
    code, output = module_project.assay(*SEARCH, "--space", "epochs=5..9", "--trials", "5")
    assert code == 1
    assert (
        "study found: was begun with another plan: the space: trained_model.train_params.epochs was nothing" in output
    )
    assert "--name found-2" in output
