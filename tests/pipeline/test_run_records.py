"""Which experiments have active or cancelled runs, according to the records of the Dagster instance."""

import dagster as dg

from resources.instance.run_records import InstanceRunRecords, file_run_key

Status = dg.DagsterRunStatus


def add_run(instance, run_id, status, experiment_id, job="job_experiment", assets=None, **tags):
    selection = None if assets is None else frozenset(map(dg.AssetKey, assets))
    run = dg.DagsterRun(job_name=job, run_id=run_id, status=status, asset_selection=selection)
    named = {f"assay/{name}": value for name, value in tags.items()}
    instance.add_run(run.with_tags({"dagster/partition": experiment_id, **named}))


def test_a_cancelled_run_counts_only_while_it_is_the_latest():
    with dg.DagsterInstance.ephemeral() as instance:
        records = InstanceRunRecords(instance)
        add_run(instance, "1", Status.CANCELED, "one")
        add_run(instance, "2", Status.CANCELED, "two")
        assert records.unsuccessful(["one", "two", "three"]).keys() == {"one", "two"}
        add_run(instance, "3", Status.SUCCESS, "one")
        assert records.unsuccessful(["one", "two", "three"]).keys() == {"two"}
        assert records.unsuccessful(["two"])["two"].cancelled


def test_a_failed_run_tells_what_it_was_to_make_and_what_it_could_not():
    with dg.DagsterInstance.ephemeral() as instance:
        add_run(instance, "1", Status.FAILURE, "one", assets=["crops", "tabular"], failed_stage="tabular")
        add_run(instance, "2", Status.FAILURE, "two")
        add_run(instance, "3", Status.FAILURE, "three", job="job_train")
        found = InstanceRunRecords(instance).unsuccessful(["one", "two", "three"])
        assert (found["one"].stage, found["one"].assets) == ("tabular", {"crops", "tabular"})
        assert found["two"].was_to_make(["analysis"])
        assert not found["three"].was_to_make(["analysis"])


def test_a_run_that_only_reads_a_file_or_was_given_up_is_not_the_latest():
    with dg.DagsterInstance.ephemeral() as instance:
        add_run(instance, "1", Status.FAILURE, "one", failed_stage="splits")
        run = dg.DagsterRun(job_name="job_experiment", run_id="2", status=Status.FAILURE)
        instance.add_run(run.with_tags({"dagster/partition": "one", "dagster/run_key": f"{file_run_key('one')}7"}))
        add_run(instance, "3", Status.CANCELED, "one", superseded_by="1")
        add_run(instance, "4", Status.FAILURE, "one", job="job_verify", verifies="true")
        assert InstanceRunRecords(instance).unsuccessful(["one"])["one"].run_id == "1"


def test_starting_and_running_experiments_are_active():
    with dg.DagsterInstance.ephemeral() as instance:
        records = InstanceRunRecords(instance)
        for number, status in enumerate((Status.STARTING, Status.STARTED, Status.SUCCESS, Status.FAILURE)):
            add_run(instance, str(number), status, f"x{number}")
        assert records.active([f"x{number}" for number in range(4)]) == {"x0", "x1"}
        assert records.active_count() == 2


def test_the_tests_of_experiments_that_a_former_version_ran_are_known(lab):
    def record(path, version):
        event = dg.AssetMaterialization(path, partition="one", tags={"dagster/data_version": version})
        lab.instance.report_runless_asset_event(event)

    records = InstanceRunRecords(lab.instance)
    record(["spec", "exptests"], "former")
    assert records.recorded(["one"]) == {"one": {"spec_exptests": "former"}}
    record("spec_exptests", "new")
    assert records.recorded(["one"]) == {"one": {"spec_exptests": "new"}}
