"""The asset ``champion``: runs of it, what it shows, the sensor that asks for it, and what a terminal promotes."""

import json

import dagster as dg
import pytest

from assay.comparison.champions import promote_by_hand
from assay.experiments.boards import Boards as BoardFiles
from assets.champion import compete, report_board
from assets.sensors import follow_boards
from definitions import build_defs
from resources.defaults import resources_for
from tests.helpers.trained import write_houses
from tests.pipeline.conftest import Lab

pytestmark = pytest.mark.system

CHAMPION = dg.AssetKey("champion")


def house_values(folder, epochs, **keys):
    source = {"kind": "table", "path": str(folder / "houses.csv"), "target_column": "price"}
    return {
        "task": "regression",
        "board": "houses",
        "generated_images": {"source": {**source, "delimiter": ";", "decimal": ","}},
        "splits": {"set_infos": [{"set_name": name, "probability": share} for name, share in SHARES.items()]},
        "trained_model": {
            "train_params": {"epochs": epochs, "least_steps": 0},
            "learner": {"learning_rate": 0.01},
            "net_data": {"samples": 0},
        },
        "analysis": {"result_analyzer": {"bootstrap_samples": 50, "simple_models": False}},
        "exptests": {"tests": [{"kind": "split_leakage"}, {"kind": "models_saved"}]},
        **keys,
    }


SHARES = {"train": 0.5, "validation": 0.1, "test": 0.4}


class BoardLab(Lab):
    """A lab with looks of the sensor, and runs of the asset."""

    cursor = None

    def tick(self):
        with dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources={"store": self.store}
        ) as context:
            result = follow_boards(context)
        self.cursor = result.cursor
        return result

    def state(self):
        return BoardFiles(self.store.path).state("houses")

    def run_champion(self):
        job = build_defs(resources_for(self.store)).resolve_job_def("job_champion")
        config = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        return job.execute_in_process(instance=self.instance, run_config=config, raise_on_error=False)

    def shown(self):
        """Return the metadata and the data version of the latest materialization."""
        event = self.instance.get_latest_materialization_event(CHAMPION)
        metadata = {name: each.value for name, each in event.asset_materialization.metadata.items()}
        return metadata, event.asset_materialization.tags["dagster/data_version"]


@pytest.fixture(scope="module")
def houses(tmp_path_factory):
    """A lab with an experiment that was trained for one epoch, and one that was trained for forty."""
    folder = tmp_path_factory.mktemp("houses")
    write_houses(folder / "houses.csv", 300)
    with dg.DagsterInstance.ephemeral() as instance:
        lab = BoardLab(folder, instance)
        lab.write_plain("weak", **house_values(folder, 1))
        result = lab.run("weak")
        assert result.success, lab.failure(result)
        yield lab


def test_finished_experiments_compete_once_and_the_ui_shows_who_is_champion_and_why(houses):
    lab = houses
    (request,) = lab.tick().run_requests
    assert request.tags["assay/reason"] == "weak was finished, on board houses"
    assert lab.run_champion().success
    assert not lab.tick().run_requests

    lab.write_plain("strong", **house_values(lab.folder, 40))
    result = lab.run("strong")
    assert result.success, lab.failure(result)
    (request,) = lab.tick().run_requests
    before = lab.shown()[1]
    result = lab.run_champion()
    assert result.success, lab.failure(result)
    (check,) = result.get_asset_check_evaluations()
    assert check.passed
    metadata, version = lab.shown()
    assert version != before
    assert metadata["summary"].startswith("strong is the champion of board houses: mae")
    assert metadata["summary"].endswith("on test; before: weak.")
    assert metadata["houses/champion"] == "[strong](/assets/trained_model?view=partitions&partition=strong)"
    assert metadata["houses/why"].startswith("surely better: MAE")
    assert metadata["houses/mae"] == pytest.approx(lab.state().champion.value, rel=1e-3)
    assert "not better" in metadata["houses/considered"]
    assert metadata["houses/history"].count("\n") == 3

    again = lab.run_champion()
    assert again.success
    assert lab.shown()[1] == version


def test_it_may_be_part_of_a_run_of_an_experiment_as_of_the_whole_graph(houses):
    result = houses.materialize("weak", ["analysis", "champion"])
    assert result.success, houses.failure(result)
    event = houses.instance.get_latest_materialization_event(CHAMPION)
    assert event.run_id == result.run_id
    assert event.asset_materialization.partition is None


def test_a_key_more_makes_no_stage_anew(houses):
    """Nothing that is made depends on the board."""
    values = house_values(houses.folder, 1)
    houses.write_plain("weak", **{key: value for key, value in values.items() if key != "board"})
    assert houses.outdated("weak") == ("experiment",)
    houses.write_plain("weak", **values)
    assert houses.outdated("weak") == ()


def test_what_a_terminal_promotes_is_seen_in_the_ui(houses):
    lab = houses
    lab.run_champion()
    lab.write_plain("middle", **house_values(lab.folder, 3))
    assert lab.run("middle").success
    report_board(lab.instance, lab.store, promote_by_hand(lab.store.path, lab.store.specs, "middle"))
    metadata, _ = lab.shown()
    assert metadata["houses/champion"].startswith("[middle]")
    assert metadata["houses/why"].startswith("by hand; ")

    lines = compete(lab.instance, lab.store, "weak", lab.store.specs.load("weak").board)
    assert lines[0].startswith("Not promoted: ")
    assert lines[-1].startswith("middle is the champion of board houses: mae")


def test_a_damaged_board_is_red_and_stops_no_other(houses):
    lab, path = houses, BoardFiles(houses.store.path).path("broken")
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    result = lab.run_champion()
    (check,) = result.get_asset_check_evaluations()
    path.unlink()
    assert result.success
    assert not check.passed
    assert "Board 'broken'" in check.description
    assert "is the champion of board houses" in lab.shown()[0]["summary"]
    assert "houses/champion" in lab.shown()[0]


def test_an_experiment_at_work_is_looked_at_when_its_run_is_over(houses):
    lab = houses
    lab.cursor = None
    run = lab.instance.create_run_for_job(
        build_defs(resources_for(lab.store)).resolve_job_def("job_champion"),
        status=dg.DagsterRunStatus.STARTED,
        tags={"dagster/partition": "weak"},
    )
    assert json.loads(lab.tick().cursor)["waiting"] == ["weak"]
    lab.instance.delete_run(run.run_id)
    assert json.loads(lab.tick().cursor)["waiting"] == []
