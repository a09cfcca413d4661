"""The Launchpad's configuration of ``experiment``: what it completes, checks and lets through to our own messages."""

from typing import Any

import dagster as dg
import pytest

from assay.experiments.specs import TEMPLATES, template
from assay.spec.experiment import ExperimentSpec
from assay.spec.loading import spec_from
from assay.spec.yaml_text import read_mapping
from assets.launchpad import EXAMPLE, spec_field
from definitions import defs


def processed(spec: dict[str, Any]) -> Any:
    return dg.validate_run_config(defs.resolve_job_def("job_experiment"), config_of(spec))


def config_of(spec: dict[str, Any]) -> dict[str, Any]:
    return {"ops": {"experiment": {"config": {"spec": spec}}}}


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


def test_the_example_works():
    spec = read_mapping(EXAMPLE, "example")["ops"]["experiment"]["config"]["spec"]
    assert processed(spec)
    assert spec_from(spec, "example").trained_model.train_params.epochs == 20


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
