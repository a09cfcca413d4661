"""The Dagster home: whole databases or none, whenever the process that made them died."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from assay.experiments.deployment import check_home
from assay.experiments.specs import SpecFiles
from resources.instance.home import DATABASES, local_instance, make_home, offer_example


def use(home):
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.add_dynamic_partitions("experiments", ["one"])
        return instance.get_dynamic_partitions("experiments")


pytestmark = pytest.mark.system


def test_a_new_home_has_settings_and_databases(tmp_path):
    make_home(tmp_path / "home")
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["dagster.yaml", *DATABASES]
    assert use(tmp_path / "home") == ["one"]


def test_a_home_gets_the_settings_of_the_checkout(tmp_path):
    make_home(tmp_path)
    assert (tmp_path / "dagster.yaml").read_text() == (Path(__file__).parents[2] / "dagster.yaml").read_text()


def test_a_new_home_is_in_order(tmp_path):
    make_home(tmp_path)
    assert use(tmp_path) == ["one"]
    assert {each.level for each in check_home(tmp_path)} == {"ok"}


def test_names_of_modules_that_have_moved_are_updated_and_other_settings_stay(tmp_path):
    former = """\
run_launcher:
  module: resources.run_launcher
  class: ProcessRunLauncher
  config: {preload: [assay.learning.trained_model, assay.learning.predictions]}
event_log_storage: {module: resources.event_log, class: LocalEventLog}
python_logs: {managed_python_loggers: [assay.learning], python_log_level: INFO}
concurrency: {runs: {max_concurrent_runs: 7}}
"""
    (tmp_path / "dagster.yaml").write_text(former)
    make_home(tmp_path)
    assert use(tmp_path) == ["one"]
    settings = (tmp_path / "dagster.yaml").read_text()
    assert "preload: [assay.training.trained_model, assay.training.predictions]" in settings
    assert "max_concurrent_runs: 7" in settings
    assert settings.count("compute_logs: {module: resources.instance.compute_logs, ") == 1
    make_home(tmp_path)
    assert (tmp_path / "dagster.yaml").read_text() == settings


def test_existing_files_of_a_home_are_kept(tmp_path):
    make_home(tmp_path)
    assert use(tmp_path) == ["one"]
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    make_home(tmp_path)
    assert "enabled: false" in (tmp_path / "dagster.yaml").read_text()
    assert use(tmp_path) == ["one"]


@pytest.mark.parametrize(("given", "used"), [("", ".dagster_home"), ("mine", "mine")])
def test_the_home_may_be_unset_or_relative(tmp_path, monkeypatch, given, used):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", given)
    with local_instance() as instance:
        instance.add_dynamic_partitions("experiments", ["one"])
    assert use(tmp_path / used) == ["one"]


def die(self):
    raise KeyboardInterrupt


def test_databases_that_were_not_finished_are_made_again(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(SqliteEventLogStorage, "reindex_events", die)
        with pytest.raises(KeyboardInterrupt):
            make_home(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["dagster.yaml"]
    make_home(tmp_path)
    assert use(tmp_path) == ["one"]


def test_a_home_without_experiments_offers_one_until_there_are_others(tmp_path):
    make_home(tmp_path / "home")
    specs = SpecFiles(tmp_path / "experiments", tmp_path / "storage")
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        assert offer_example(instance, specs)
        assert instance.get_dynamic_partitions("experiments") == ["example"]
        assert offer_example(instance, specs)
        specs.create({"task": "regression"}, "mine")
        assert not offer_example(instance, specs)
        assert instance.get_dynamic_partitions("experiments") == []


def test_an_example_that_was_tried_stays(tmp_path):
    make_home(tmp_path / "home")
    specs = SpecFiles(tmp_path / "experiments", tmp_path / "storage")
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        assert offer_example(instance, specs)
        specs.create({"task": "regression"}, "example")
        instance.add_dynamic_partitions("experiments", ["mine"])
        assert not offer_example(instance, specs)
        assert instance.get_dynamic_partitions("experiments") == ["example", "mine"]
