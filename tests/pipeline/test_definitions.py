"""The definitions: they load, quickly and without heavy imports, and hold what users look for."""

import importlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import dagster as dg
import pytest
import yaml

from assay.errors import DataError
from assay.pipeline import STAGES
from assay.spec.loading import spec_from
from assets.common import with_code_references
from assets.launch import run_experiment
from definitions import ASSET_MODULES, build_defs, defs
from resources.defaults import default_owners
from resources.io_managers import DuckDBParquetIOManager

ROOT = Path(__file__).parents[2]
CHAIN = {"experiment", *STAGES, "training_history"}


def test_the_definitions_are_valid():
    dg.Definitions.validate_loadable(defs)


def test_every_stage_is_an_asset_partitioned_by_experiment():
    graph = defs.resolve_asset_graph()
    keys = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert keys >= CHAIN
    for key in graph.executable_asset_keys - {dg.AssetKey("champion")}:
        assert graph.get(key).partitions_def.name == "experiments", key


def test_the_champion_comes_from_the_analyses_and_belongs_to_no_experiment():
    node = defs.resolve_asset_graph().get(dg.AssetKey("champion"))
    assert node.parent_keys == {dg.AssetKey("analysis")}
    assert node.partitions_def is None


def test_what_new_data_get_predicted_is_in_the_graph_but_in_no_button_backfill_or_sensor():
    """Of all assets together, one that lacks the partitions or needs a configuration would change every dialog."""
    graph = defs.resolve_asset_graph()
    node = graph.get(dg.AssetKey("scored"))
    assert {key.to_user_string() for key in node.parent_keys} == {"trained_model"}
    assert not node.is_executable
    assert node.key not in dg.AssetSelection.all().resolve(graph)
    assert defs.resolve_job_def("job_scoring").partitions_def is None


def test_the_chain_runs_from_experiment_to_analysis():
    graph = defs.resolve_asset_graph()
    seen, pending = set(), [dg.AssetKey("analysis")]
    while pending:
        key = pending.pop()
        seen.add(key.to_user_string())
        pending.extend(graph.get(key).parent_keys)
    assert seen >= CHAIN - {"training_history"}


def test_a_stage_depends_on_its_own_section_of_the_spec_only():
    graph = defs.resolve_asset_graph()
    for stage in STAGES:
        parents = {key.to_user_string() for key in graph.get(dg.AssetKey(stage)).parent_keys}
        assert {name for name in parents if name.startswith("spec_")} == {f"spec_{stage}"}


def test_stages_declare_the_code_version_that_their_fingerprints_hold():
    graph = defs.resolve_asset_graph()
    for stage in STAGES.values():
        assert graph.get(dg.AssetKey(stage.name)).code_version == stage.code_version


@pytest.mark.parametrize(
    ("job", "wanted"),
    [
        ("job_data_generation", {"generated_images", "splits", "crops", "tabular", "normalized"}),
        ("job_train", {"trained_model", "training_history", "predictions", "analysis"}),
        ("job_experiment", set(CHAIN) - {"experiment"}),
    ],
)
def test_jobs_are_selections_of_assets(job, wanted):
    selected = build_defs().resolve_job_def(job).asset_layer.selected_asset_keys
    stages = {key.to_user_string() for key in selected if not key.path[0].startswith("spec_")} - {"experiment"}
    assert stages == wanted
    assert dg.AssetKey("experiment") in selected


def test_every_asset_has_a_description_for_the_ui():
    graph = defs.resolve_asset_graph()
    assert [key for key in graph.get_all_asset_keys() if not graph.get(key).description] == []


def test_every_asset_has_owners_and_kinds_and_says_what_it_stores():
    graph = defs.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        assert graph.get(key).owners == ["team:machine-learning"], key
        assert graph.get(key).kinds, key
    stores = {name: graph.get(dg.AssetKey(name)).tags["assay/stores"] for name in CHAIN}
    tables = {"experiment", "tabular", "normalized", "training_history", "predictions", "analysis"}
    assert {name for name, what in stores.items() if what == "table"} == tables
    assert {name for name, what in stores.items() if what == "folder"} == CHAIN - tables


def test_owners_are_set_by_a_variable(monkeypatch):
    monkeypatch.setenv("ASSAY_OWNERS", "mia@example.org, team:vision")
    assert default_owners() == ["mia@example.org", "team:vision"]


def files_of(node):
    references = node.metadata["dagster/code_references"].code_references
    return [(Path(each.file_path).relative_to(ROOT).as_posix(), each.line_number) for each in references]


def test_every_asset_is_linked_to_its_file_and_that_of_its_work():
    graph = defs.resolve_asset_graph()
    linked = {key.to_user_string(): files_of(graph.get(key)) for key in graph.get_all_asset_keys()}
    for files in linked.values():
        for name, line in files:
            text = (ROOT / name).read_text(encoding="utf-8").splitlines()
            assert line == 1 or text[line - 1].startswith("@dg."), (name, line)
    assert [name for name, _ in linked["crops"]] == ["assets/crops.py", "assay/stages/crops.py"]
    assert [name for name, _ in linked["experiment"]] == ["assets/experiment.py"]
    assert all(f"assay/stages/{stage}.py" in dict(linked[stage]) for stage in STAGES)


def test_an_installed_package_is_linked_to_nothing(tmp_path):
    plain = dg.load_assets_from_modules(ASSET_MODULES)
    for each in with_code_references(plain, tmp_path):
        assert all("dagster/code_references" not in metadata for metadata in each.metadata_by_key.values())


def test_trainings_are_in_a_pool_that_the_settings_limit():
    op = build_defs().resolve_job_def("job_train").get_node_named("trained_model").definition
    settings = yaml.safe_load((ROOT / "dagster.yaml").read_text(encoding="utf-8"))["concurrency"]
    assert op.pool == "training"
    assert settings["pools"] == {"granularity": "op", "default_limit": settings["runs"]["max_concurrent_runs"]}


def test_all_sensors_and_schedules_have_a_sentence_and_only_what_makes_nothing_by_itself_is_on():
    sensors, schedules = {each.name: each for each in defs.sensors}, {each.name: each for each in defs.schedules}
    described = [*sensors.values(), *schedules.values()]
    assert all(len(each.description) > 40 and each.description.endswith(".") for each in described)
    running = {name for name, each in sensors.items() if each.default_status is dg.DefaultSensorStatus.RUNNING}
    assert running == {"follow_files", "follow_upstream", "follow_boards", "update_warehouse"}
    assert set(schedules) == {"nightly_evaluation", "nightly_scoring"}
    assert all(each.default_status is dg.DefaultScheduleStatus.STOPPED for each in schedules.values())


def test_the_project_of_dg_names_modules_that_are_there():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["dg"]
    assert project["directory_type"] == "project"
    target = importlib.import_module(project["project"]["code_location_target_module"])
    assert isinstance(target.defs, dg.Definitions)
    for key in ("root_module", "defs_module"):
        assert importlib.import_module(project["project"][key])


@pytest.mark.system
def test_dagster_finds_the_definitions_of_the_project_valid(tmp_path):
    """What ``dg check defs`` calls."""
    command = [sys.executable, "-m", "dagster", "definitions", "validate"]
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Validation successful for code location definitions" in done.stdout + done.stderr


@pytest.mark.system
def test_loading_the_definitions_imports_nothing_heavy():
    code = "import sys, definitions; print([m for m in sys.modules if m in %r])"
    heavy = ("torch", "matplotlib", "sklearn", "skimage", "scipy")
    done = subprocess.run([sys.executable, "-c", code % (heavy,)], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_the_cloud_file_is_valid_for_its_own_reader():
    from dagster_cloud_cli.config.models import DagsterCloudYaml

    content = yaml.safe_load((ROOT / "dagster_cloud.yaml").read_text())
    (location,) = DagsterCloudYaml.model_validate(content).locations
    assert location.code_source.module_name == "definitions"


def test_the_default_io_manager_stores_tables_and_pickles_nothing():
    assert isinstance(defs.resources["io_manager"], DuckDBParquetIOManager)


def test_assay_run_accepts_only_jobs_of_experiments():
    with pytest.raises(
        DataError, match=r"--job: .*'job_clearlocks' does not exist.*Choices: job_data_generation, job_e"
    ):
        run_experiment(build_defs, "ab12", spec_from({"task": "regression"}, "x"), "job_clearlocks")
