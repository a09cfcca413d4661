"""The spec file sensor, tick by tick, with the real definitions: it requests what has changed, and only once."""

import dagster as dg
import pytest

from assay.spec.experiment import SECTION_NAMES

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


def checked(settled, request):
    """Run a request for nothing but the check of a file; return what it found."""
    assert selected(request) == set()
    job = settled.definitions.resolve_job_def("job_experiment")
    result = job.get_subset(
        asset_selection=set(), asset_check_selection=set(request.asset_check_keys)
    ).execute_in_process(instance=settled.lab.instance, partition_key=request.partition_key)
    assert not result.get_asset_materialization_events()
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation.passed, evaluation.description


def test_a_broken_file_turns_its_check_red_and_a_mended_one_green(settled):
    valid = settled.path("one").read_text()
    settled.change("one", sede=1)
    (request,) = settled.tick().run_requests
    assert "Did you mean 'seed'?" in request.tags["assay/reason"]
    passed, description = checked(settled, request)
    assert not passed
    assert "unknown key" in description
    assert not settled.tick().run_requests
    settled.path("one").write_text(valid)
    settled.age(settled.path("one"), seconds=3)
    (request,) = settled.tick().run_requests
    assert checked(settled, request) == (True, "The file is valid.")
