"""From YAML text, a file or plain values to a validated spec, and the JSON Schema for editors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from assay.errors import SpecError
from assay.spec.defaults import resolve
from assay.spec.experiment import ExperimentSpec
from assay.spec.messages import explain
from assay.spec.secrets import written_secrets
from assay.spec.yaml_text import read_mapping


def spec_from(values: Mapping[str, Any], source: str) -> ExperimentSpec:
    """Return the validated and resolved spec.

    Args:
        values: The keys of the YAML file.
        source: Named in every error: a file or an experiment.

    Raises:
        SpecError: One line per wrong key, or per secret that is written out: specs are saved in many places.
    """
    if secrets := written_secrets(values, lambda mapping: "kind" in mapping):
        raise SpecError(source, secrets)
    try:
        if _leaves_out(values):
            return ExperimentSpec.model_validate(_alone(values))
        return resolve(ExperimentSpec.model_validate(dict(values)))
    except ValidationError as error:
        raise SpecError(source, explain(error, ExperimentSpec)) from None
    except ValueError as error:
        raise SpecError(source, [str(error)]) from None


def _leaves_out(values: Mapping[str, Any]) -> bool:
    """Return whether what is missing in an evaluation's keys is another experiment's, which is not read here."""
    evaluated = values.get("existing_experiment")
    return bool(evaluated) and not (isinstance(evaluated, Mapping) and evaluated.get("found"))


def _alone(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of an evaluation that can be judged by themselves: a source without ``kind`` has the other's."""
    images = values.get("generated_images")
    source = images.get("source") if isinstance(images, Mapping) else None
    if not isinstance(images, Mapping) or not isinstance(source, Mapping) or "kind" in source:
        return dict(values)
    return {**values, "generated_images": {key: value for key, value in images.items() if key != "source"}}


def load_spec(path: Path) -> ExperimentSpec:
    """Read and validate one file.

    Raises:
        SpecError: The file is missing, not UTF-8, not YAML, half-saved or not valid.
    """
    return spec_from(load_values(path), str(path))


def load_values(path: Path) -> dict[str, Any]:
    """Read the keys of a file without validating them against the models."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(str(path), ["does not exist. Create one with 'assay new regression'"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(str(path), [f"can't be read: {error}"]) from error
    return read_mapping(text, str(path))


def merged(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``overrides`` laid over it, key by key at every depth.

    A mapping that names another ``kind`` than the base replaces it whole:
    keys of one kind mean nothing to another.
    """
    result = dict(base)
    for key, value in overrides.items():
        old = result.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping) and _same_kind(value, old):
            result[key] = merged(old, value)
        else:
            result[key] = value
    return result


def _same_kind(value: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    return bool(value.get("kind", old.get("kind")) == old.get("kind"))


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a spec file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **ExperimentSpec.model_json_schema()}
