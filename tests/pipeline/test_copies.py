"""An experiment is copied to another storage and works there: tables, model, metrics, Dagster's records."""

import dagster as dg
import pytest

from assay.experiments.contents import stage_results
from assay.experiments.costs import stage_costs
from assay.storage import warehouse
from resources.instance.run_records import InstanceRunRecords
from tests.pipeline.conftest import Lab

pytestmark = pytest.mark.system

BROUGHT = ("tabular", "normalized", "trained_model", "predictions", "analysis")


@pytest.fixture(scope="module")
def journey(tmp_path_factory):
    """A lab in which ``one`` ran, and another one that imported it from an archive which both know."""
    folder = tmp_path_factory.mktemp("journey")
    (folder / "archive").mkdir()
    with dg.DagsterInstance.ephemeral() as here, dg.DagsterInstance.ephemeral() as there:
        home, away = Lab(folder / "home", here), Lab(folder / "away", there)
        for lab in (home, away):
            lab.folder.mkdir()
            lab.locate(archive=folder / "archive")
        home.write("one")
        assert home.run("one").success
        names = {"experiment_id": "one"}
        out = home.operate("job_copy_exp", copy_exp={**names, "output_loc_name": "archive"})
        back = {"input_loc_name": "archive", "output_loc_name": "experiments"}
        into = away.operate("job_copy_exp", copy_exp={**names, **back})
        yield home, away, out, into


def tables(lab):
    query = "select metric, subset, value from analysis order by all"
    return warehouse.query(lab.store.path, query)


def test_the_copy_is_recorded_on_the_experiment(journey):
    home, _, out, _ = journey
    assert out.success
    (observation,) = home.instance.fetch_observations(dg.AssetKey("experiment"), limit=5).records
    assert observation.asset_observation.metadata["copied_to"].value == "archive"


def test_tables_and_results_are_the_same(journey):
    home, away, _, into = journey
    assert into.success, away.failure(into)
    assert tables(away).equals(tables(home))
    ours, theirs = (stage_results(lab.store.path, "one") for lab in (away, home))
    assert {name: ours[name].manifest for name in BROUGHT} == {name: theirs[name].manifest for name in BROUGHT}


def test_what_the_results_cost_comes_along(journey):
    """Also the cost of those that are no part of the folder, such as the images."""
    home, away, _, _ = journey
    ours, theirs = (stage_costs(lab.store.path, "one") for lab in (away, home))
    assert [each.cost for each in ours] == [each.cost for each in theirs]
    assert all(each.cost is not None and each.reused is False for each in ours)
    query = "select * exclude (fingerprint) from costs order by stage"
    there, here = (warehouse.query(lab.store.path, query) for lab in (away, home))
    assert there.equals(here)
    assert len(here) == 8


def test_dagster_records_the_imported_results(journey):
    home, away, _, _ = journey
    ours, theirs = (InstanceRunRecords(lab.instance).recorded(["one"])["one"] for lab in (away, home))
    assert ours == {name: theirs[name] for name in ("experiment", "spec_exptests", *BROUGHT)}
    assert away.instance.get_dynamic_partitions("experiments") == ["one"]


def test_missing_results_are_built_and_nothing_is_trained_again(journey):
    _, away, _, _ = journey
    model = stage_results(away.store.path, "one")["trained_model"].folder
    before = {path: path.stat().st_mtime_ns for path in model.rglob("*")}
    assert away.run("one").success
    assert {path: path.stat().st_mtime_ns for path in model.rglob("*")} == before
    assert away.outdated("one") == ()


def test_a_report_is_made_on_demand_and_makes_nothing_else_outdated(journey):
    _, away, _, _ = journey
    before = away.outdated("one"), InstanceRunRecords(away.instance).recorded(["one"])
    made = away.run("one", "job_report")
    assert made.success, away.failure(made)
    assert [event.asset_key.to_user_string() for event in made.get_asset_materialization_events()] == ["report"]
    (event,) = away.instance.fetch_materializations(dg.AssetKey("report"), limit=5).records
    page = away.store.folders.find("one").path / "report.html"
    metadata = event.asset_materialization.metadata
    assert metadata["report"].value == "[Open the report of one](/assay/reports/one)"
    assert metadata["file"].value == str(page)
    assert "<h1>one</h1>" in page.read_text()
    assert (away.outdated("one"), InstanceRunRecords(away.instance).recorded(["one"])) == before


def test_a_report_of_an_experiment_that_never_ran_fails_with_the_next_step(journey):
    _, away, _, _ = journey
    result = away.run("never", "job_report")
    assert "Experiment 'never' has no folder. Next: assay run never" in away.failure(result)


def test_a_second_import_changes_nothing(journey):
    _, away, _, _ = journey
    config = {"experiment_id": "one", "input_loc_name": "archive", "output_loc_name": "experiments"}
    assert away.operate("job_copy_exp", copy_exp=config).success


def test_an_id_that_is_already_taken_is_refused(journey):
    _, away, _, _ = journey
    away.write("two")
    assert away.run("two").success
    path = away.folder / "experiments" / "two.yaml"
    home, *_ = journey
    home.write("two", seed=7)
    assert home.run("two").success
    assert home.operate("job_copy_exp", copy_exp={"experiment_id": "two", "output_loc_name": "archive"}).success
    before = path.read_bytes()
    config = {"experiment_id": "two", "input_loc_name": "archive", "output_loc_name": "experiments"}
    result = away.operate("job_copy_exp", copy_exp=config)
    assert "is that of another experiment in this storage. Nothing was imported" in away.failure(result)
    assert path.read_bytes() == before


def test_an_experiment_may_be_kept_at_another_location(journey, tmp_path):
    home, *_ = journey
    home.write("kept", exp_out_location="archive")
    assert home.run("kept").success
    folder = home.store.folders.find("kept").path
    copy = home.folder.parent / "archive" / folder.name
    files = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    assert files == {path.relative_to(copy) for path in copy.rglob("*") if path.is_file() and path.name[0] != "."}
    assert (copy / "exp_tests.csv").read_bytes() == (folder / "exp_tests.csv").read_bytes()


@pytest.mark.defect("B8")
def test_an_unknown_experiment_fails_the_run(journey):
    home, *_ = journey
    result = home.operate("job_copy_exp", copy_exp={"experiment_id": "onne", "output_loc_name": "archive"})
    assert not result.success
    assert "has no experiment 'onne'. Did you mean 'one'?" in home.failure(result)
