"""What installed packages add to a spec: found, validated, part of fingerprints; and one sentence where it can't be."""

import sys

import pytest

from assay.errors import AssayError, SpecError
from assay.pipeline import STAGES, stage_config
from assay.spec.loading import json_schema, plugin_problem, spec_from
from assay.spec.plugins import GROUPS, all_plugins, forget_plugins, group_at, plugins, slow_plugins
from assay.spec.yaml_text import read_mapping

NETWORK = """
from typing import Literal
from assay.spec.models import ModelKind, ModelSection
class Net(ModelSection):
    kind: Literal["net"] = "net"
    layers: int = 2
KIND = ModelKind(Net, "no_such_module:build")
"""

FEATURES = """
from typing import Literal
from assay.spec.extensions import Extension
from assay.spec.normalized import FeatureFunction
class Wide(FeatureFunction):
    kind: Literal["wide"] = "wide"
    least: float = 0.0
KIND = Extension(Wide, "no_such_module:choose")
"""


def loaded(**keys):
    return spec_from({"task": "regression", **keys}, "experiments/ab12.yaml")


def problem(**keys):
    with pytest.raises(SpecError) as caught:
        loaded(**keys)
    return str(caught.value)


def digests(spec):
    return {stage: stage_config(spec, "ab12", stage).digest for stage in STAGES}


NET = {"trained_model": {"model": {"kind": "net", "layers": 3}}}


@pytest.fixture
def network(install_package):
    install_package("assay.models", "net", "nets:KIND", package="acme", version="1.0", nets=NETWORK)


def test_a_section_of_a_package_is_validated_saved_and_read_again(network):
    spec = loaded(**NET)
    assert spec.as_dict()["trained_model"]["model"] == {"kind": "net", "layers": 3}
    assert spec_from(spec.as_dict(), "again") == spec


def test_a_wrong_key_of_a_package_is_explained_by_the_keys_of_the_package(network):
    message = problem(trained_model={"model": {"kind": "net", "layer": 3}})
    assert message.startswith("experiments/ab12.yaml: trained_model.model.layer: unknown key. Did you mean 'layers'?")
    assert "Valid keys here: kind, layers." in message


def test_a_function_is_named_alone_or_with_its_keys(install_package):
    install_package("assay.features", "wide", "wides:KIND", wides=FEATURES)
    alone, keyed = loaded(normalized={"scalar_feature_keys": "wide"}), {"kind": "wide", "least": 0.5}
    assert alone.as_dict()["normalized"]["scalar_feature_keys"] == {"kind": "wide", "least": 0.0}
    assert loaded(normalized={"binary_feature_keys": keyed}).as_dict()["normalized"]["binary_feature_keys"] == keyed
    assert "least: got 'much'" in problem(normalized={"scalar_feature_keys": {**keyed, "least": "much"}})


def test_a_new_version_of_a_package_changes_the_stages_that_use_it_and_no_others(install_package):
    plain = digests(loaded())
    install_package("assay.models", "net", "nets:KIND", package="acme", version="1.0", nets=NETWORK)
    spec = loaded(**NET)
    first = digests(spec)
    install_package("assay.models", "net", "nets:KIND", package="acme", version="1.1")
    spec = loaded(**NET)
    second = digests(spec)
    assert {stage for stage in STAGES if first[stage] != second[stage]} == {"trained_model", "predictions"}
    assert digests(loaded()) == plain


def test_the_version_of_a_metric_counts_where_it_is_computed(install_package):
    keys = {"analysis": {"result_analyzer": {"metrics": ["mae", "odd"]}}}
    install_package("assay.metrics", "odd", "no_such_module:METRIC", package="acme", version="1")
    first = digests(loaded(**keys))
    install_package("assay.metrics", "odd", "no_such_module:METRIC", package="acme", version="2")
    second = digests(loaded(**keys))
    assert [stage for stage in STAGES if first[stage] != second[stage]] == ["analysis"]


def test_a_package_that_is_missing_is_an_error_that_names_kind_experiment_and_what_to_do():
    message = problem(**NET)
    assert message.startswith(
        "experiments/ab12.yaml: trained_model.model.kind: got 'net'; expected one of mlp, linear, gradient_b"
    )
    assert "that an installed package registers in 'assay.models' (here: none)" in message
    assert "pip install PACKAGE, see docs/extending.md" in message


def test_a_missing_kind_is_one_line_whatever_keys_come_with_it():
    lock = {"kind": "seats", "location": "solver", "seats": 3}
    assert len(problem(filelock_dict={"licence": lock}).splitlines()) == 1


BROKEN = {
    "import nothing_of_that_name": "can't be imported: ModuleNotFoundError: No module named 'nothing_of_that_name'",
    "1 / 0": "can't be imported: ZeroDivisionError: division by zero",
    "raise SystemExit('bye')": "can't be imported: SystemExit: bye",
    "KIND = 3": "is a int, expected a assay.spec.models.ModelKind",
    "from assay.spec.models import ModelKind; KIND = ModelKind(int, '')": "no subclass of assay.spec.models.ModelSec",
    NETWORK.replace('"net"', '"nut"'): "has a section without 'net' as its kind",
}


@pytest.mark.parametrize(("text", "reason"), BROKEN.items(), ids=range(len(BROKEN)))
def test_a_broken_package_is_one_sentence_of_the_experiments_that_use_it(install_package, text, reason):
    install_package("assay.models", "net", "nets:KIND", package="acme", version="1.0", nets=text)
    message = problem(**NET)
    where = "experiments/ab12.yaml: trained_model.model: The plug-in 'net' of the package acme 1.0 (nets:KIND) "
    assert message.startswith(where)
    assert reason in message
    assert loaded().task == "regression"
    assert json_schema()["properties"]


def test_a_broken_package_is_imported_once_for_all_experiments(install_package):
    install_package("assay.models", "net", "nets:KIND", nets="import sys\nsys.argv.append('seen')\n1 / 0")
    before = sys.argv.count("seen")
    try:
        for _ in range(3):
            assert "ZeroDivisionError" in problem(**NET)
        assert sys.argv.count("seen") == before + 1
    finally:
        sys.argv[:] = [each for each in sys.argv if each != "seen"]


def test_two_packages_with_one_name_are_an_error_that_names_both(install_package, network):
    install_package("assay.models", "net", "others:KIND", package="zenith", version="2", others=NETWORK)
    message = problem(**NET)
    assert "'net' is registered in 'assay.models' by" in message
    assert "acme 1.0" in message
    assert "zenith 2" in message
    assert "uninstall one of them" in message
    assert loaded().task == "regression"


def test_a_package_can_not_replace_what_is_built_in(install_package):
    install_package("assay.models", "mlp", "nets:KIND", nets=NETWORK)
    assert type(loaded(trained_model={"model": {"kind": "mlp"}}).trained_model.model).__name__ == "MlpModel"
    (plugin,) = (each for each in all_plugins() if each.name == "mlp")
    assert plugin_problem(plugin) == "'mlp' is a built-in kind, which no package can replace; register another name."


def test_damaged_metadata_of_a_package_hide_only_that_package(network, tmp_path):
    broken = tmp_path / "broken.dist-info"
    broken.mkdir()
    (broken / "entry_points.txt").write_bytes(b"[assay.models]\n\xff\xfe = x:y\n")
    forget_plugins()
    assert list(plugins("assay.models")) == ["net"]


CODE = {
    "trained_model.model": {"_target_": "my_package.Net", "width": 3},
    "trained_model.learner": {"_target_": "my_package.Learner", "_partial_": True},
    "normalized.scalar_feature_keys": {"_target_": "my_package.choose"},
    "predictions.model_loader": {"_target_": "my_package.load"},
    "predictions.prediction_function": {"_target_": "my_package.predict"},
    "predictions.prediction_handler": {"class_path": "my_package.Handler"},
    "analysis.result_analyzer": {"_target_": "my_package.Analyzer"},
    "generated_images.source": {"_target_": "my_package.Source"},
}


@pytest.mark.parametrize("key", CODE)
def test_code_named_in_a_spec_is_refused_with_the_way_to_name_it(key):
    section, name = key.split(".")
    message = problem(**{section: {name: CODE[key]}})
    assert message.startswith(f"experiments/ab12.yaml: {key}: names code; a spec names no code")
    assert f"by an entry point in {group_at(key).name!r}" in message
    assert "docs/extending.md" in message


def test_an_import_path_in_place_of_a_name_is_refused_with_the_way_to_name_it():
    message = problem(normalized={"scalar_feature_keys": "my_package.features.choose"})
    assert "got 'my_package.features.choose'; expected a name: a spec names no code" in message
    assert "'assay.features'" in message
    for keys in ({"exptests": {"tests": [{"kind": "my.Test"}]}}, {"trained_model": {"model": {"kind": "my.nets:Net"}}}):
        assert "a spec names no code" in problem(**keys)


def test_a_single_glob_is_told_to_be_a_list():
    assert "Columns are listed in brackets: [px_*]" in problem(normalized={"scalar_feature_keys": "px_*"})


def test_a_tag_that_names_code_is_refused_with_the_way_to_name_it():
    with pytest.raises(SpecError, match=r"'!!python/name:os.system' is not allowed: a spec names no code.*extending"):
        read_mapping("scalar_feature_keys: !!python/name:os.system ''\n", "ab12.yaml")


def test_the_schema_for_editors_has_the_keys_of_installed_packages(network):
    model = json_schema()["$defs"]["TrainedModelSection"]["properties"]["model"]
    (net,) = [each for each in model["anyOf"] if each.get("title") == "Net"]
    assert net["properties"]["layers"]["type"] == "integer"


def test_every_group_says_where_a_spec_names_what_it_holds():
    assert {group_at(group.key.replace("*", "scalar")).name for group in GROUPS.values()} == set(GROUPS)
    assert group_at("splits.seed") is None


def test_a_plug_in_that_is_used_by_nobody_is_not_imported(network):
    assert list(plugins("assay.models")) == ["net"]
    loaded()
    assert "nets" not in sys.modules


def test_a_broken_plug_in_is_told_apart_from_those_that_can_be_used(install_package, network):
    install_package("assay.features", "wide", "wides:KIND", package="broken", wides="1 / 0")
    assert {plugin.name: bool(plugin_problem(plugin)) for plugin in all_plugins()} == {"net": False, "wide": True}
    with pytest.raises(AssayError, match="ZeroDivisionError"):
        loaded(normalized={"scalar_feature_keys": "wide"})


@pytest.mark.system
def test_a_slow_import_is_told_by_the_package_that_made_everybody_wait(install_package, network):
    slow = "import time\ntime.sleep(1.2)\n" + FEATURES
    install_package("assay.features", "wide", "wides:KIND", package="slow", wides=slow)
    loaded(**NET, normalized={"scalar_feature_keys": "wide"})
    assert [plugin.package for plugin in slow_plugins()] == ["slow"]
