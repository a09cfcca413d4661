"""Evaluations wait for the model that they evaluate, and are requested once it is there."""

from assay.experiments.folders import ExperimentFolder, ExperimentFolders
from tests.helpers.stored_experiments import fill


def test_an_evaluation_waits_for_its_model_and_is_requested_once(project):
    project.settle("one")
    project.save("judge", existing_experiment="one")
    plan = project.reconcile()
    assert plan.requests == []
    assert plan.problems == {}
    assert plan.notes == ["Experiment 'one' was never run; judge waits for its model."]
    trained = fill(project.specs.root / "experiments" / "REG-1", "one", model__text="x")
    manifest = (trained / "manifest.json").read_text()
    (trained / "manifest.json").write_text(manifest.replace('"analysis": "', '"trained_model": "'))
    ExperimentFolders(project.specs.root).register(ExperimentFolder("one", "REG-1", trained))
    (request,) = project.reconcile().requests
    assert request.experiment_id == "judge"
    assert request.spec.found.experiment_id == "one"
    project.finish(request)
    assert project.reconcile().requests == []


def test_an_evaluation_of_a_missing_experiment_is_reported(project):
    project.save("judge", existing_experiment="nobody")
    assert "has no experiment 'nobody'" in project.reconcile().problems["judge"]
