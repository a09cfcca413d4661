"""The definitions: they load, quickly and without heavy imports, and hold what users look for."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml

from assay.errors import DataError
from assay.pipeline import STAGES
from assay.spec.loading import spec_from
from assets.launch import run_experiment
from definitions import build_defs, defs
from resources.io_managers import DuckDBParquetIOManager

ROOT = Path(__file__).parents[2]
CHAIN = {"experiment", *STAGES, "training_history"}


def test_the_definitions_are_valid():
    dg.Definitions.validate_loadable(defs)


def test_every_stage_is_an_asset_partitioned_by_experiment():
    graph = defs.resolve_asset_graph()
    keys = {key.to_user_string() for key in graph.get_all_asset_keys()}
    assert keys >= CHAIN
    for key in graph.get_all_asset_keys():
        assert graph.get(key).partitions_def.name == "experiments", key


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
