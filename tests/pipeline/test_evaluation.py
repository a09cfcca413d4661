"""An evaluation uses another experiment's model and configuration, and predicts the data of its own spec."""

from datetime import UTC, datetime

import dagster as dg
import polars as pl
import pytest

from assay.automation.upstream import materializations, stale_assets
from assay.experiments.catalog import experiments_at
from assay.experiments.contents import stage_results
from assay.spec.yaml_text import read_mapping
from assay.storage import warehouse
from assets.launchpad import configured
from assets.sensors import nightly_evaluation
from definitions import defs
from resources.instance.run_records import InstanceRunRecords
from tests.pipeline.conftest import SMALL_IMAGES, Lab

pytestmark = pytest.mark.system

OTHER_DATA = {
    "generated_images": {"source": {"sample_count": 8}},  # its kind, and all the rest, are the source's
    "splits": {"set_infos": [{"set_name": "test", "probability": 1.0}]},
    "predictions": {"datasets": ["test"]},
}


def evaluate(lab, name, existing, task="regression", **keys):
    lab.write_plain(name, task=task, existing_experiment=existing, **keys)
    return lab.run(name, "job_eval")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A lab with two trained regressions, a classification, and one evaluation on other data."""
    with dg.DagsterInstance.ephemeral() as instance:
        lab = Lab(tmp_path_factory.mktemp("lab"), instance)
        for name in ("old", "new"):
            lab.write(name, seed=len(name) + (name == "new"))
            assert lab.run(name).success
        source = {**SMALL_IMAGES, "max_number": 2, "sample_count": 20}
        lab.write("classes", "classification", generated_images={"source": source})
        assert lab.run("classes").success
        result = evaluate(lab, "judged", "old", description="on other data", **OTHER_DATA)
        assert result.success, lab.failure(result)
        yield lab


def test_the_model_is_that_of_the_source_and_is_stored_once(lab):
    models = {name: stage_results(lab.store.path, name)["trained_model"] for name in ("old", "judged")}
    assert models["old"] == models["judged"]
    linked = lab.store.folders.find("judged").path / "models" / "model.safetensors"
    assert linked.samefile(models["old"].folder / "models" / "model.safetensors")


@pytest.mark.defect("C12")
def test_only_the_best_and_the_last_weights_are_kept(lab):
    found = sorted(path.name for path in (lab.store.folders.find("judged").path / "models").iterdir())
    assert found == ["last.safetensors", "model.safetensors"]


def test_the_data_is_its_own_but_the_scaling_is_that_of_the_model(lab):
    ours, theirs = (stage_results(lab.store.path, name) for name in ("judged", "old"))
    assert ours["normalized"] != theirs["normalized"]
    scaling = [(each["normalized"].folder / "normalization_info.yaml").read_text() for each in (ours, theirs)]
    assert scaling[0] == scaling[1]
    rows = pl.read_parquet(ours["predictions"].folder / "predictions.parquet")
    assert rows["subset"].unique().to_list() == ["test"]
    assert len(rows) == ours["tabular"].report["rows"]


def test_baselines_come_from_the_data_that_the_model_was_trained_on(lab):
    (row,) = (
        pl.read_parquet(stage_results(lab.store.path, "judged")["analysis"].folder / "analysis.parquet")
        .filter(pl.col("metric") == "mae")
        .iter_rows(named=True)
    )
    assert row["baseline_name"] == "train mean"
    taught = pl.read_parquet(stage_results(lab.store.path, "old")["trained_model"].folder / "taught.parquet")["target"]
    truth = pl.read_parquet(stage_results(lab.store.path, "judged")["predictions"].folder / "predictions.parquet")
    assert row["baseline"] == pytest.approx((truth["target"] - taught.mean()).abs().mean())


def test_the_folder_records_the_source_and_its_own_description(lab):
    folder, source = lab.store.folders.find("judged"), lab.store.folders.find("old")
    info = read_mapping((folder.path / "experiment_info.yaml").read_text(), "info")
    assert info["description"] == "on other data"
    assert info["source"]["experiment_id"] == "old"
    assert info["source"]["run_id"] == source.run_id != folder.run_id
    assert info["source"]["model"] == stage_results(lab.store.path, "old")["trained_model"].fingerprint


def test_the_lineage_is_visible_in_the_ui(lab):
    for asset in ("experiment", "trained_model"):
        records = lab.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=["judged"]), limit=1
        ).records
        text = records[0].asset_materialization.metadata["evaluates"].value
        assert "[old](/assets/trained_model?view=partitions&partition=old)" in text


def test_predictions_and_analysis_are_never_those_of_the_source(lab):
    ours, theirs = (stage_results(lab.store.path, name) for name in ("judged", "old"))
    assert ours["predictions"] != theirs["predictions"]
    assert ours["analysis"] != theirs["analysis"]


def test_an_evaluation_stays_up_to_date_when_the_source_is_trained_again(lab):
    assert lab.outdated("judged") == ()
    before = InstanceRunRecords(lab.instance).recorded(["judged"])
    lab.write("old", seed=99)
    assert lab.run("old").success
    assert lab.outdated("judged") == ()
    assert lab.run("judged", "job_eval").success
    assert InstanceRunRecords(lab.instance).recorded(["judged"]) == before


@pytest.mark.defect("B13")
def test_latest_is_the_newest_of_the_same_task_that_has_a_model(lab):
    lab.write("training-still")
    assert lab.run("training-still", "job_data_generation").success
    result = evaluate(lab, "latest-one", "latest")
    assert result.success, lab.failure(result)
    assert lab.store.specs.load("latest-one").found.experiment_id == "new"
    kinds = {each.experiment_id: each.task for each in experiments_at(lab.store.locations.open("experiments"))}
    assert kinds["classes"] == "classification"


@pytest.mark.defect("B13")
def test_latest_only_considers_experiments_with_the_same_prefix(lab):
    lab.write("named", exp_folder_pattern="HOUSES-$RUN_ID-id_$SHORT_ID")
    assert lab.run("named").success
    evaluate(lab, "houses", "latest", exp_folder_pattern="HOUSES-$RUN_ID-id_$SHORT_ID")
    assert lab.store.specs.load("houses").found.experiment_id == "named"
    result = evaluate(lab, "boats", "latest", exp_folder_pattern="BOATS-$RUN_ID-id_$SHORT_ID")
    assert "no experiment of task regression whose folder begins with 'BOATS' has a model yet" in lab.failure(result)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"existing": "oldd"}, "has no experiment 'oldd'. Did you mean 'old'?"),
        ({"existing": "classes"}, "existing_experiment 'classes' is of task classification, but task is regression"),
        ({"existing": "bad"}, "it can't evaluate itself"),
        ({"existing": "old", "trained_model": {"train_params": {"epochs": 1}}}, "trained_model.train_params is given"),
        ({"existing": "training-never"}, "has no experiment 'training-never'"),
    ],
)
def test_an_evaluation_that_is_impossible_is_refused_with_the_reason(lab, keys, problem):
    result = evaluate(lab, "bad", **keys)
    assert not result.success
    assert problem in lab.failure(result)


def ask(lab, name, spec):
    return lab.run(name, "job_eval", config={"ops": {"experiment": {"config": {"spec": spec}}}})


def test_in_the_launchpad_an_id_is_enough_and_the_rest_comes_from_the_source(lab):
    result = ask(lab, "asked", {"existing_experiment": "classes"})
    assert result.success, lab.failure(result)
    ours, theirs = (stage_results(lab.store.path, name) for name in ("asked", "classes"))
    assert ours == theirs
    written = read_mapping(lab.store.specs.path("asked").read_text(), "asked")
    assert written == {"task": "classification", "existing_experiment": "classes"}


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({}, "existing_experiment is null, but job_eval evaluates a model"),
        ({"existing_experiment": "classe"}, "Did you mean 'classes'?"),
        ({"existing_experiment": "Not An Id"}, "existing_experiment"),
        ({"existing_experiment": "latest"}, "task: is missing"),
        ({"existing_experiment": "classes", "task": "regression"}, "is of task classification, but task is regression"),
    ],
)
def test_a_wrong_configuration_in_the_launchpad_leaves_no_file(lab, spec, problem):
    result = ask(lab, "never", spec)
    assert problem in lab.failure(result)
    assert not lab.store.specs.exists("never")


def suggested(experiment_id):
    return defs.resolve_job_def("job_eval").get_run_config_for_partition_key(experiment_id)


def test_the_launchpad_of_job_eval_suggests_the_newest_model_to_a_new_partition(lab, monkeypatch, tmp_path):
    monkeypatch.setenv("ASSAY_STORAGE", str(lab.store.path))
    monkeypatch.setenv("ASSAY_EXPERIMENTS", str(lab.folder / "experiments"))
    trained = [each for each in experiments_at(lab.store.locations.open("experiments")) if not each.evaluates]
    newest = [each.experiment_id for each in trained if "trained_model" in each.results][-1]
    assert suggested("brand-new") == configured({"existing_experiment": newest})
    result = lab.run("brand-new", "job_eval", config=suggested("brand-new"))
    assert result.success, lab.failure(result)
    assert lab.instance.get_run_by_id(result.run_id).tags["assay/evaluates"] == newest
    assert suggested("brand-new") == suggested("judged") == suggested("Not An Id") == {}
    monkeypatch.setenv("ASSAY_STORAGE", str(tmp_path / "empty"))
    assert suggested("another") == {}


TABLE = {"kind": "table", "target_column": "y"}
ROWS = "a,b,y\n" + "".join(f"{i % 17},{i % 5},{i % 17 + 2 * (i % 5)}\n" for i in range(60))


def nightly(lab, day):
    """Return what the schedule requests in a night by experiment, and why if that is nothing."""
    with dg.build_schedule_context(
        instance=lab.instance,
        scheduled_execution_time=datetime(2026, 5, day, 2, tzinfo=UTC),
        resources={"store": lab.store},
        repository_def=defs.get_repository_def(),
    ) as context:
        found = nightly_evaluation.evaluate_tick(context)
    return {request.partition_key: request for request in found.run_requests}, found.skip_message


def test_the_nightly_schedule_evaluates_each_model_on_the_data_of_that_night(tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:  # schedules use no other
        lab = Lab(tmp_path, instance)
        lab.write("broken", existing_experiment=7)
        assert nightly(lab, 1) == ({}, "No experiment evaluates a model.")
        for name in ("taught", "tonight"):
            (tmp_path / f"{name}.csv").write_text(ROWS)
        source = {**TABLE, "path": str(tmp_path / "taught.csv")}
        lab.write("taught", generated_images={"source": source})
        assert lab.run("taught").success
        source = {**TABLE, "path": str(tmp_path / "tonight.csv")}
        lab.write_plain(
            "judge",
            task="regression",
            existing_experiment="taught",
            generated_images={"source": source},
            tags={"a": "b"},
        )
        (first,) = nightly(lab, 2)[0].values()
        assert first.run_config == {}
        assert first.tags.items() >= {"assay/reason": "nightly evaluation", "assay/a": "b"}.items()
        assert "judge" in instance.get_dynamic_partitions("experiments")
        assert lab.run("judge", "job_eval").success
        before = lab.results("judge")
        assert lab.run("judge", "job_eval").success
        assert lab.results("judge") == before
        (tmp_path / "tonight.csv").write_text(ROWS + "3,4,11\n")
        assert nightly(lab, 3)[0]["judge"].run_key != first.run_key
        assert lab.run("judge", "job_eval").success
        after = lab.results("judge")
        assert after["trained_model"] == before["trained_model"]
        assert all(after[stage] != before[stage] for stage in ("generated_images", "predictions", "analysis"))
        run = dg.DagsterRun("job_eval", status=dg.DagsterRunStatus.STARTED, tags={"dagster/partition": "judge"})
        instance.add_run(run)
        assert nightly(lab, 4) == ({}, "All evaluations are at work already.")


def test_job_eval_needs_something_to_evaluate(lab):
    lab.write("plain")
    result = lab.run("plain", "job_eval")
    assert "existing_experiment is null, but job_eval evaluates a model" in lab.failure(result)


def test_an_experiment_at_another_location_is_fetched(lab, tmp_path):
    (tmp_path / "archive").mkdir()
    with dg.DagsterInstance.ephemeral() as instance:
        away = Lab(tmp_path / "away", instance)
        away.folder.mkdir()
        for each in (lab, away):
            each.locate(archive=tmp_path / "archive")
        assert lab.operate("job_copy_exp", copy_exp={"experiment_id": "new", "output_loc_name": "archive"}).success
        result = evaluate(away, "there", {"experiment_id": "latest", "location": "archive"}, **OTHER_DATA)
        assert result.success, away.failure(result)
        ours, theirs = stage_results(away.store.path, "there"), stage_results(lab.store.path, "new")
        assert ours["trained_model"].manifest == theirs["trained_model"].manifest
        assert not (away.store.path / "adopted" / ".fetched" / theirs["trained_model"].fingerprint).exists()
        assert stage_results(lab.store.path, "there") == {}


def test_the_automation_condition_does_not_rerun_an_evaluation(lab):
    recorded = InstanceRunRecords(lab.instance).recorded(["judged"])["judged"]
    assert stale_assets(materializations(lab.store.results, recorded, evaluates=True)) == {}
    assert stale_assets(materializations(lab.store.results, recorded)) != {}


def test_the_table_of_experiments_names_the_source(lab):
    table = warehouse.query(lab.store.path, "select experiment_id, evaluates from experiments")
    found = dict(table.iter_rows())
    assert found["judged"] == "old"
    assert found["old"] == ""
