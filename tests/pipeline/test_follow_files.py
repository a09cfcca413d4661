"""The spec file sensor, tick by tick, with the real definitions: it requests what has changed, and only once."""

import dagster as dg
import pytest

from assay.automation.reconcile import Plan
from assay.spec.experiment import SECTION_NAMES
from assets.sensors import MOST_CHECKS, check_requests, log_plan
from partitions.experiments import experiments

pytestmark = pytest.mark.system

ENTRANCE = {"experiment", *(f"spec_{name}" for name in SECTION_NAMES)}
LEARNING = {"trained_model", "training_history", "predictions", "analysis"}


def selected(request):
    return {key.to_user_string() for key in request.asset_selection}


@pytest.mark.parametrize(
    ("keys", "assets"),
    [
        ({"trained_model": {"train_params": {"epochs": 3}}}, LEARNING),
        ({"description": "other words"}, set()),
        ({"exptests": {"tests": [{"kind": "models_saved"}]}}, set()),
    ],
)
def test_a_changed_section_asks_for_what_depends_on_it_and_nothing_else(settled, keys, assets):
    settled.change("one", **keys)
    (request,) = settled.tick().run_requests
    assert selected(request) == ENTRANCE | assets
    result = settled.run(request)
    assert result.success, settled.lab.failure(result)
    assert not settled.tick().run_requests


@pytest.mark.filterwarnings("ignore:Parameter `include_sources`")
def test_results_follow_a_changed_input_exactly_once(settled, monkeypatch):
    monkeypatch.setenv("ASSAY_STORAGE", str(settled.lab.folder / "storage"))
    splits = settled.lab.results("one")["splits"].fingerprint

    def look(cursor=None, version=None):
        if version:
            event = dg.AssetMaterialization("splits", partition="one", tags={"dagster/data_version": version})
            settled.lab.instance.report_runless_asset_event(event)
        result = dg.evaluate_automation_conditions(settled.definitions, settled.lab.instance, cursor=cursor)
        names = {"crops", "tabular", "normalized", *LEARNING} - {"training_history"}
        return result.cursor, {name for name in names if result.get_requested_partitions(dg.AssetKey(name)) == {"one"}}

    cursor, asked = look()
    assert asked == set()
    cursor, asked = look(cursor, version="another")
    assert asked == {"crops", "tabular", "normalized", "trained_model", "predictions", "analysis"}
    cursor, asked = look(cursor)
    assert asked == set()
    cursor, asked = look(cursor, version="another")
    assert asked == set()
    cursor, asked = look(cursor, version=splits)
    assert asked == set()
    cursor, asked = look(cursor, version="another")
    assert len(asked) == 6


@pytest.mark.filterwarnings("ignore:Parameter `include_sources`")
def test_a_run_that_follows_an_input_names_it(settled, monkeypatch):
    monkeypatch.setenv("ASSAY_STORAGE", str(settled.lab.folder / "storage"))
    (sensor,) = [
        each for each in settled.definitions.sensors if isinstance(each, dg.AutomationConditionSensorDefinition)
    ]
    repository, cursor, instance = settled.definitions.get_repository_def(), None, settled.lab.instance
    splits = settled.lab.results("one")["splits"].fingerprint

    def tick():
        nonlocal cursor
        with dg.build_sensor_context(instance=instance, cursor=cursor, repository_def=repository) as context:
            found = sensor.evaluate_tick(context)
        cursor = found.cursor
        return found.run_requests or []

    assert tick() == []
    for version in ("by hand", splits):
        event = dg.AssetMaterialization("splits", partition="one", tags={"dagster/data_version": version})
        instance.report_runless_asset_event(event)
        requests = tick()
        assert [request.tags["assay/reason"] for request in requests] == ["upstream: splits"] * (version == "by hand")


def read(settled, request):
    """Run a request that only reads a file; return whether it succeeded, and what its check says."""
    assert selected(request) == ENTRANCE
    result = settled.run(request)
    (evaluation,) = result.get_asset_check_evaluations()
    assert evaluation.passed is result.success
    made = result.get_asset_materialization_events()
    assert len(made) == len(ENTRANCE) * result.success
    return result.success, evaluation.description


def file_status(settled):
    """Return how Dagster's UI shows the partition of ``one`` of the asset ``experiment``."""
    instance, key = settled.lab.instance, dg.AssetKey("experiment")
    status = instance.get_status_by_partition(key, ["one"], experiments)["one"]
    return status.value


def test_a_broken_file_turns_run_partition_and_check_red_and_a_mended_one_green(settled):
    valid = settled.path("one").read_text()
    assert file_status(settled) == "MATERIALIZED"
    settled.change("one", sede=1)
    (request,) = settled.tick().run_requests
    assert "Did you mean 'seed'?" in request.tags["assay/reason"]
    passed, description = read(settled, request)
    assert not passed
    assert "unknown key" in description
    assert file_status(settled) == "FAILED"
    assert not settled.tick().run_requests
    settled.path("one").write_text(valid)
    settled.age(settled.path("one"), seconds=3)
    (request,) = settled.tick().run_requests
    assert read(settled, request) == (True, "one: the file is valid.")
    assert file_status(settled) == "MATERIALIZED"
    assert not settled.tick().run_requests


def test_a_removed_file_turns_red_without_being_made_anew_and_put_back_it_is_green(settled):
    valid, path = settled.path("one").read_text(), settled.path("one")
    path.unlink()
    assert not settled.tick().run_requests  # it may be about to be replaced
    (request,) = settled.tick().run_requests
    passed, description = read(settled, request)
    assert not passed
    assert "was removed" in description
    assert not path.exists()
    assert not settled.tick().run_requests
    path.write_text(valid)
    settled.age(path, seconds=2)
    (request,) = settled.tick().run_requests
    assert read(settled, request)[0]
    assert file_status(settled) == "MATERIALIZED"


def test_a_file_that_vanishes_before_its_run_is_no_new_experiment(settled):
    settled.path("never").write_text("sede: 1")
    settled.age(settled.path("never"))
    (request,) = settled.tick().run_requests
    settled.path("never").unlink()
    assert not read(settled, request)[0]
    assert not settled.path("never").exists()


def test_of_many_broken_files_those_that_are_not_marked_are_told(settled, capfd):
    names = [f"broken-{number:02}" for number in range(MOST_CHECKS + 3)]
    for name in names:
        settled.path(name).write_text("sede: 1")
        settled.age(settled.path(name))
    plan = Plan(problems=dict.fromkeys(names, "sede: unknown key"))
    with dg.build_sensor_context(instance=settled.lab.instance) as context:
        log_plan(context, plan)
    told = capfd.readouterr().err
    assert "3 more files" in told
    assert "assay validate" in told
    assert len(check_requests(plan)) == MOST_CHECKS
    for name in names:
        settled.path(name).unlink()
