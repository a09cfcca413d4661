"""Evaluations wait for the model that they evaluate, and are asked for when it is there."""

from assay.experiments.folders import ExperimentFolder, ExperimentFolders
from tests.helpers.stored_experiments import fill


def test_an_evaluation_waits_for_its_model_and_is_asked_for_once(desk):
    desk.settle("one")
    desk.save("judge", existing_experiment="one")
    plan = desk.look()
    assert plan.requests == []
    assert plan.problems == {}
    assert plan.notes == ["Experiment 'one' was never run; judge waits for its model."]
    trained = fill(desk.specs.root / "experiments" / "REG-1", "one", model__text="x")
    manifest = (trained / "manifest.json").read_text()
    (trained / "manifest.json").write_text(manifest.replace('"analysis": "', '"trained_model": "'))
    ExperimentFolders(desk.specs.root).enter(ExperimentFolder("one", "REG-1", trained))
    (request,) = desk.look().requests
    assert request.experiment_id == "judge"
    assert request.spec.found.experiment_id == "one"
    desk.finish(request)
    assert desk.look().requests == []


def test_an_evaluation_of_nothing_is_told(desk):
    desk.save("judge", existing_experiment="nobody")
    assert "has no experiment 'nobody'" in desk.look().problems["judge"]
