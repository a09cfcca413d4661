"""New data predicted by a job, on a schedule, and exports compared by a check, in experiments that are trained once."""

import sys
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import assay
from assay.experiments.contents import stage_results
from assay.storage.partitions import place_of
from assay.storage.warehouse import query
from assets.scored import job_scoring, nightly_scoring, repeated_scorings
from tests.helpers.trained import FAMILIES, make_trained_project, write_houses
from tests.pipeline.conftest import Lab

pytestmark = pytest.mark.system

DAY = "2026-11-26"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    names = ("table", "softmax")
    return make_trained_project(tmp_path_factory.mktemp("project"), {name: FAMILIES[name] for name in names})


@pytest.fixture
def used(project, monkeypatch):
    """Give a lab in the project, with new rows and pictures."""
    project.enter(monkeypatch)
    write_houses(project.folder / "new.csv", count=12, seed=5)
    photos = project.folder / "photos"
    photos.mkdir(exist_ok=True)
    source = stage_results(project.storage, "softmax")["crops"].folder
    for number, path in enumerate(sorted(source.rglob("*.png"))[:3]):
        (photos / f"{number}.png").write_bytes(path.read_bytes())
    with dg.DagsterInstance.ephemeral() as instance:
        yield Lab(project.folder, instance)


def scored(lab, **config):
    result = lab.operate("job_scoring", score={"date": DAY, **config})
    assert result.success, lab.failure(result)
    (event,) = lab.instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey("scored"), storage_ids=None), limit=1
    ).records
    found = event.asset_materialization
    return found.partition, {name: value.value for name, value in found.metadata.items()}


def rows_of(lab, name):
    table = place_of(lab.store.path, "main", "scored", "scoring", name).checked()
    return pl.read_parquet(table.path, glob=False)


def test_rows_of_a_table_are_predicted_and_found_by_sql(used):
    name, metadata = scored(used, experiment="table", paths=["new.csv"])
    assert name == f"table-{DAY}"
    rows, expected = rows_of(used, name), assay.load_model("table").predict("new.csv")
    assert_frame_equal(rows.select(expected.columns), expected, check_exact=True)
    assert rows.select("experiment_id", "scored_on").unique().rows() == [("table", date(2026, 11, 26))]
    assert (metadata["rows"], metadata["not_predicted"], metadata["dagster/partition_row_count"]) == (12, 0, 12)
    assert f"{expected['prediction'][0]:.3f}"[:5] in metadata["preview"]
    assert metadata["columns_not_read"] == "price"
    assert used.instance.get_dynamic_partitions("scorings") == [name]
    assert used.instance.get_dynamic_partitions("experiments") == []  # nothing that automation follows

    other, _ = scored(used, experiment="table", paths=["new.csv"], name="again")
    scored(used, experiment="table", paths=["new.csv"])
    counted = query(used.store.path, "select scoring, count(*) from scored group by scoring order by scoring")
    assert counted.rows() == [(other, 12), (name, 12)]


def test_pictures_are_shown_and_those_that_cannot_be_read_listed(used):
    Path("photos/broken.png").write_bytes(b"no picture")
    name, metadata = scored(used, experiment="softmax", paths=["photos"], out="seen-{date}.csv")
    Path("photos/broken.png").unlink()
    assert (metadata["pictures"], metadata["not_predicted"]) == (3, 1)
    assert "1 could not be read" in metadata["summary"]
    assert "photos/broken.png: " in metadata["unreadable"]
    assert metadata["pictures_drawn"].startswith("![first pictures](data:image/png;base64,")
    written = pl.read_csv(f"seen-{DAY}.csv")
    assert written["item"].to_list() == rows_of(used, name)["item"].to_list() == [f"photos/{n}.png" for n in range(3)]
    assert metadata["out"] == str(Path(f"seen-{DAY}.csv").absolute())


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"experiment": "sotfmax"}, "Did you mean 'softmax'"),
        ({"paths": []}, "paths is empty"),
        ({"paths": ["fotos"]}, "'fotos' does not exist"),
        ({"paths": ["new.csv"]}, "is a classification model that predicts pictures"),
        ({"date": "26.11.2026"}, "expected a day such as"),
        ({"name": "a/b"}, "name: got 'a/b'"),
        ({"out": "new.csv"}, "new.csv exists already"),
        ({"out": "new.txt"}, "'.txt' is no format of predictions"),
    ],
)
def test_what_cannot_be_scored_is_one_sentence_and_leaves_nothing(used, config, told):
    result = used.operate("job_scoring", score={"experiment": "softmax", "paths": ["photos"], "name": "bad", **config})
    assert not result.success
    assert told in used.failure(result)
    assert used.failure(result).startswith("Scoring: ")
    assert used.instance.get_dynamic_partitions("scorings") == []
    assert not place_of(used.store.path, "main", "scored", "scoring", "bad").folder.exists()


def test_a_configuration_without_the_model_or_the_data_is_refused_before_the_run_starts(used):
    with pytest.raises(dg.DagsterInvalidConfigError, match="Missing required config entries"):
        used.operate("job_scoring", score={})


def nightly(lab):
    context = dg.build_schedule_context(
        instance=lab.instance, scheduled_execution_time=datetime(2026, 11, 27, 3, tzinfo=UTC)
    )
    return nightly_scoring.evaluate_tick(context).run_requests


def test_the_schedule_repeats_what_was_launched_to_be_repeated_for_the_day_that_has_ended(used, tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:  # schedules use no other
        repeat_and_end(Lab(used.folder, instance))


def repeat_and_end(used):
    assert nightly(used) == []
    scored(used, experiment="table", paths=["new.csv"], nightly=True, name="houses-{date}", date="2026-11-01")
    scored(used, experiment="softmax", paths=["photos"])
    (request,) = nightly(used)
    assert request.run_config["ops"]["score"]["config"]["date"] == DAY
    repeated = job_scoring.execute_in_process(
        instance=used.instance, run_config={**request.run_config, **QUIET}, resources={"store": used.store}
    )
    assert repeated.success
    assert used.instance.get_dynamic_partitions("scorings")[-1] == f"houses-{DAY}"
    assert len(nightly(used)) == 1

    scored(used, experiment="table", paths=["new.csv"], name="houses-{date}")
    assert repeated_scorings(used.instance) == {}


def parity_of(lab, name):
    result = lab.run(name, job="job_export_parity")
    assert result.success, lab.failure(result)
    (found,) = result.get_asset_check_evaluations()
    return found


@pytest.mark.parametrize("name", ["table", "softmax"])
def test_an_export_is_compared_with_the_model_on_its_test_items(used, name):
    found = parity_of(used, name)
    assert found.passed, found.description
    assert "the trained one's numbers in float32 on" in found.description
    assert found.metadata["items"].value > 0
    assert found.metadata["largest_difference"].value <= 1e-4
    assert found.partition == name


def test_without_the_packages_of_onnx_the_check_says_how_to_get_them(used, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as where it is not installed
    found = parity_of(used, "table")
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "pip install 'assay[onnx]'" in found.description.replace("\\", "")


def test_a_model_that_is_not_trained_is_no_failed_run(used):
    used.write("fresh")
    found = parity_of(used, "fresh")
    assert not found.passed
    assert "is not trained yet" in found.description


def test_runs_that_make_the_model_leave_the_comparison_out(used):
    whole = used.run("table")
    assert whole.success, used.failure(whole)
    assert "export_parity" not in {each.check_name for each in whole.get_asset_check_evaluations()}
    by_hand = used.materialize("table", ["trained_model", "training_history"])
    assert by_hand.success, used.failure(by_hand)
    assert {each.check_name for each in by_hand.get_asset_check_evaluations()} == {"models_saved"}
