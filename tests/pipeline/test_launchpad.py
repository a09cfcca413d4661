"""The Launchpad's configuration of ``experiment``: what it completes, checks and lets through to our own messages."""

import re
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assay.experiments.specs import TEMPLATES, template
from assay.spec.experiment import ExperimentSpec
from assay.spec.loading import spec_from
from assay.spec.models import BUILT_IN_MODELS
from assay.spec.yaml_text import read_mapping
from assets.jobs import EXPERIMENT_JOBS
from assets.launchpad import configured, spec_field
from definitions import defs

PAGE = Path(__file__).parents[2] / "docs" / "jobs.md"


def processed(spec: dict[str, Any]) -> Any:
    return dg.validate_run_config(defs.resolve_job_def("job_experiment"), configured(spec))


def refusal(spec: dict[str, Any]) -> str:
    with pytest.raises(dg.DagsterInvalidConfigError) as caught:
        processed(spec)
    return str(caught.value)


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_is_a_valid_configuration_and_comes_back_as_it_was(name):
    values = template(name)
    assert processed(values)["ops"]["experiment"]["config"]["spec"] == values


def test_a_resolved_spec_is_a_valid_configuration():
    values = spec_from({"task": "detection"}, "test").as_dict()
    assert processed(values)["ops"]["experiment"]["config"]["spec"] == values


def test_nothing_is_filled_in():
    assert processed({"seed": 3})["ops"]["experiment"]["config"]["spec"] == {"seed": 3}
    assert dg.validate_run_config(defs.resolve_job_def("job_experiment"), {})["ops"]["experiment"]["config"] == {
        "spec": {}
    }


@pytest.mark.parametrize("job", EXPERIMENT_JOBS, ids=lambda job: job.name)
def test_the_example_of_every_job_can_be_pasted_and_is_also_on_the_page_of_jobs(job):
    (example,) = re.findall(r"```yaml\n(.*?)```", job.description, flags=re.S)
    config = read_mapping(example, "example")
    spec = config["ops"]["experiment"]["config"]["spec"]
    assert dg.validate_run_config(defs.resolve_job_def(job.name), config)["ops"]["experiment"]["config"]["spec"] == spec
    if "existing_experiment" not in spec:
        spec_from({"task": "regression", **spec}, "example")
    assert f"## Job: {job.name}\n\n{job.description}" in PAGE.read_text(encoding="utf-8")


@pytest.mark.system
@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"sede": 1}, r"sede: unknown key\. Did you mean 'seed'\?"),
        ({"trained_model": {"train_params": {"epoch": 3}}}, r"train_params\.epoch: .*Did you mean 'epochs'\?"),
        (
            {"trained_model": {"train_params": {"epochs": 0}}},
            r"trained_model\.train_params\.epochs: got 0; .*equal to 1",
        ),
        ({"splits": {"max_split": -1}}, r"splits\.max_split: .*-1"),
        ({"tags": {"owner": ["mia"]}}, r"tags\.owner: "),
    ],
)
def test_what_the_configuration_lets_through_is_told_by_the_run_and_no_file_is_left(lab, spec, problem):
    result = lab.run("never", config=configured({"task": "regression", **spec}))
    assert re.search(problem, lab.failure(result)), lab.failure(result)
    assert "Experiment never" in lab.failure(result)
    assert not lab.store.specs.exists("never")


def test_a_key_beside_spec_is_refused_before_anything_runs():
    with pytest.raises(
        dg.DagsterInvalidConfigError, match=r'unexpected config entry "sede" at path .*:config\. .*spec'
    ):
        dg.validate_run_config(defs.resolve_job_def("job_experiment"), {"ops": {"experiment": {"config": {"sede": 1}}}})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"trained_model": {"train_params": {"epochs": "many"}}}, "trained_model:train_params:epochs"),
        ({"task": "regresion"}, "regression, classification, segmentation, detection"),
        ({"generated_images": {"source": {"kind": "cocoo"}}}, "coco"),
        ({"exptests": {"tests": {"kind": "metric"}}}, "exptests:tests"),
    ],
)
def test_a_wrong_type_or_choice_is_told_before_anything_runs(spec, message):
    assert message in refusal(spec)


def test_a_key_that_does_not_exist_is_left_to_the_message_that_names_the_nearest():
    assert processed({"sede": 1})


def test_every_key_has_its_description_and_bounds():
    fields = spec_field().config_type.fields
    assert set(fields) == set(ExperimentSpec.model_fields)
    assert all(field.description for field in fields.values())
    epochs = fields["trained_model"].config_type.fields["train_params"].config_type.fields["epochs"]
    assert "at least 1" in epochs.description


NET = """
from typing import Literal
from assay.spec.models import ModelKind, ModelSection
class Net(ModelSection):
    kind: Literal["net"] = "net"
KIND = ModelKind(Net, "no_such_module:build")
"""


def kinds_of(shape):
    return [value.config_value for value in shape.fields["kind"].config_type.enum_values]


def test_the_kinds_of_installed_packages_are_choices_where_they_may_stand_and_nowhere_else(install_package):
    install_package("assay.models", "net", "nets:KIND", package="acme", nets=NET)
    install_package("assay.learners", "huber", "broken:KIND", package="broken", broken="1 / 0")
    fields = spec_field().config_type.fields["trained_model"].config_type.fields
    assert kinds_of(fields["model"].config_type.inner_type) == [*BUILT_IN_MODELS, "auto", "net"]
    assert kinds_of(fields["learner"].config_type) == ["huber"]
    source = spec_field().config_type.fields["generated_images"].config_type.fields["source"].config_type
    assert "net" not in kinds_of(source)
    assert "nets" not in sys.modules
