"""Experiments in a real MLflow with a SQLite file: one run each, logged once, never failing an experiment."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import assay
from resources.tracking import Tracker

pytestmark = [pytest.mark.system, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


class TrackedLab:
    """A lab whose runs are tracked."""

    def __init__(self, lab, uri=None):
        self.uri = uri or f"sqlite:///{lab.folder}/tracking/mlflow.db"
        self.lab = replace(lab, tracker=Tracker(uri=self.uri))

    def run(self, experiment_id, **keys):
        result = self.lab.run(experiment_id, **keys)
        assert result.success, self.lab.failure(result)
        return result

    @property
    def client(self):
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.uri)

    def runs(self):
        """Return all MLflow runs, the newest first."""
        experiment = self.client.get_experiment_by_name("assay")
        return list(self.client.search_runs([experiment.experiment_id], order_by=["start_time DESC"]))

    def history(self, run):
        return {
            name: [(point.step, point.value) for point in self.client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
        }

    def warnings(self, result):
        logs = self.lab.instance.all_logs(result.run_id)
        return [entry.message for entry in logs if entry.level == 30 and "MLflow" in entry.message]


@pytest.fixture
def tracked(lab):
    return TrackedLab(lab)


def files_of(run):
    """Return the files of a run by name; they lie in a folder of this machine."""
    folder = Path(unquote(urlsplit(run.info.artifact_uri).path))
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def test_an_experiment_is_one_run_however_often_it_is_run(lab, tracked):
    tracked.lab.write("one", description="first try", tags={"owner": "mia"})
    assert tracked.warnings(tracked.run("one")) == []
    (run,) = tracked.runs()
    assert run.info.status == "FINISHED"
    assert run.info.run_name == run.data.tags["assay.experiment_id"] == "one"
    assert run.data.tags["assay.tags.owner"] == "mia"
    assert run.data.tags["mlflow.note.content"] == "first try"
    assert run.data.params["trained_model.train_params.epochs"] == "2"

    told, results = tracked.history(run), tracked.lab.results("one")
    history = pl.read_parquet(results["trained_model"].folder / "training_history.parquet")
    losses = history.filter((pl.col("subset") == "validation") & (pl.col("metric") == "loss"))
    assert told["epoch/validation/loss"] == [(1, losses["value"][0]), (2, losses["value"][1])]
    table = pl.read_parquet(results["analysis"].folder / "analysis.parquet")
    mae = table.filter((pl.col("subset") == "test") & (pl.col("metric") == "mae")).to_dicts()[0]
    assert told["test/mae"] == [(0, mae["value"])]
    assert told["test/mae_baseline"] == [(0, mae["baseline"])]
    assert mae["ci_low"] is None  # too few items
    assert "test/mae_ci_low" not in told

    files = files_of(run)
    model = results["trained_model"].folder / "models" / "model.safetensors"
    assert files["models/model.safetensors"].read_bytes() == model.read_bytes()
    wanted = {"pictures/curves.png", "net_data/epoch_0002.png", "configs/experiment.yaml", "train_logs.csv"}
    assert wanted | {"analysis/analysis.parquet", "analysis/pictures/residuals.png", "exp_tests.csv"} <= set(files)
    assert all(path.is_relative_to(tracked.lab.folder / "tracking") for path in files.values())

    tests = lab.store.folders.find("one").path / "exp_tests.csv"
    assert files["exp_tests.csv"].read_text() == tests.read_text()

    tracked.run("one")
    (again,) = tracked.runs()
    assert again.info.run_id == run.info.run_id
    assert tracked.history(again) == told


@pytest.mark.filterwarnings("ignore")  # of MLflow's, about itself
def test_mlflow_loads_the_model_which_predicts_what_assay_predicts(lab, tracked, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracked.uri)
    import mlflow.pyfunc
    import pandas as pd

    tracked.lab.write("one", predictions={"batch_size": 7})
    tracked.run("one", job="job_data_generation")
    tracked.run("one", assets=["trained_model", "training_history"])
    (run,) = tracked.runs()
    files = files_of(run)
    assert "loader_module: assay.inference.mlflow_flavour" in files["model/MLmodel"].read_text()
    assert not [name for name in files if name.endswith((".pkl", ".pickle"))]
    assert "assay" not in files["model/requirements.txt"].read_text()

    uri = f"runs:/{run.info.run_id}/model"
    paths = sorted(map(str, tracked.lab.results("one")["crops"].folder.rglob("*.png")))[:5]
    expected = assay.load_model(lab.store.folders.find("one").path).predict(paths)
    found = mlflow.pyfunc.load_model(uri).predict(pd.DataFrame({"path": paths}))
    assert_frame_equal(pl.from_pandas(found), expected, check_exact=True)

    tracked.run("one")
    again = mlflow.pyfunc.load_model(uri).predict(pd.DataFrame({"image": [Path(path).read_bytes() for path in paths]}))
    assert again["prediction"].tolist() == expected["prediction"].to_list()
    told = json.loads(files_of(run)["model/data/assay/assay-model.json"].read_text())
    assert (told["experiment_id"], told["predictions"]["batch_size"]) == ("one", 7)


def test_a_changed_spec_or_result_is_a_new_run_but_a_changed_description_is_not(tracked):
    tracked.lab.write("one", description="first try")
    tracked.run("one")
    (former,) = tracked.runs()
    told = tracked.history(former)

    tracked.lab.write("one", description="second thoughts")
    tracked.run("one")
    (run,) = tracked.runs()
    assert run.data.tags["mlflow.note.content"] == "second thoughts"

    tracked.lab.write("one", trained_model={"train_params": {"epochs": 3}})
    tracked.run("one")
    new, old = tracked.runs()
    assert new.data.params["trained_model.train_params.epochs"] == "3"
    assert (old.data.tags["assay.replaced_by"], new.data.tags["assay.replaces"]) == (new.info.run_id, old.info.run_id)
    assert (old.info.run_id, tracked.history(old)) == (former.info.run_id, told)
    assert len(tracked.history(new)["epoch/train/loss"]) == 3


def test_a_training_is_logged_before_its_analysis(tracked):
    tracked.lab.write("one")
    tracked.run("one", job="job_data_generation")
    tracked.run("one", assets=["trained_model", "training_history"])
    (trained,) = tracked.runs()
    assert {name.split("/")[0] for name in trained.data.metrics} == {"epoch"}
    tracked.run("one")
    (analysed,) = tracked.runs()
    assert analysed.info.run_id == trained.info.run_id
    assert {name.split("/")[0] for name in analysed.data.metrics} == {"epoch", "validation", "test"}


def test_an_experiment_that_was_not_tracked_before_is_logged_completely(lab, tracked):
    tracked.lab.write("one")
    assert lab.run("one").success
    tracked.run("one", assets=["analysis"])
    (run,) = tracked.runs()
    assert {name.split("/")[0] for name in run.data.metrics} == {"epoch", "validation", "test"}


def test_a_run_that_was_deleted_in_mlflow_is_logged_again(tracked):
    tracked.lab.write("one")
    tracked.run("one")
    (run,) = tracked.runs()
    tracked.client.delete_run(run.info.run_id)
    tracked.run("one")
    assert [other.info.run_id != run.info.run_id for other in tracked.runs()] == [True]


def test_secrets_and_removed_keys_are_in_no_parameter_tag_or_file(tracked):
    tags = {"api_token": "hunter2-token", "owner": "mia"}
    tracked.lab.write("one", tags=tags, name="hidden-name", remove_key_list=["name"])
    tracked.run("one")
    (run,) = tracked.runs()
    assert run.data.tags["assay.tags.owner"] == "mia"
    everything = [repr(run.data.params), repr(run.data.tags), *(p.read_bytes() for p in files_of(run).values())]
    for secret in ("hunter2", "hidden-name"):
        assert not [text for text in everything if (secret if isinstance(text, str) else secret.encode()) in text]


def unreachable(folder):
    return "http://127.0.0.1:9"


def no_database(folder):
    (folder / "notes.txt").write_text("This is no database, and it is long enough to be seen as none." * 20)
    return f"sqlite:///{folder}/notes.txt"


def read_only(folder):
    from mlflow import MlflowClient

    path = folder / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").create_experiment("assay")
    assert sqlite3.connect(path).execute("select count(*) from experiments").fetchone() == (2,)
    return f"sqlite:///file:{path}?mode=ro&uri=true"


@pytest.mark.parametrize("problem", [unreachable, no_database, read_only], ids=lambda problem: problem.__name__)
def test_an_experiment_succeeds_whatever_is_wrong_with_mlflow_and_says_so_once(problem, lab):
    lab.write("one")
    tracked = TrackedLab(lab, problem(lab.folder))
    (warning,) = tracked.warnings(tracked.run("one"))
    assert "Nothing more of this run is logged to MLflow: " in warning
    assert tracked.uri not in warning
    assert "analysis" in lab.results("one")
