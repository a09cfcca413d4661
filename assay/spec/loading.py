"""Loading specs: from a file or plain values to a validated spec, error messages, and the JSON Schema for editors."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from assay.errors import SpecError, nearest
from assay.spec.base import element_types, literals_in, models_in
from assay.spec.defaults import resolve
from assay.spec.experiment import ExperimentSpec
from assay.spec.ids import shorten
from assay.spec.secrets import written_secrets
from assay.spec.yaml_text import read_mapping


def explain(error: ValidationError, root: type[BaseModel]) -> list[str]:
    """Return one line per invalid key: its value, what was expected, and the nearest valid choice.

    Args:
        error: Pydantic's error.
        root: The model that was validated.
    """
    return list(dict.fromkeys(_line(detail, root) for detail in error.errors(include_url=False)))


def _line(detail: Any, root: type[BaseModel]) -> str:
    keys, models, choices = _walk(detail["loc"], root)
    key = ".".join(keys) or "the spec"
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        valid = sorted({name for model in models for name in model.model_fields})
        return f"{key}: unknown key.{_hint(keys[-1], valid)} Valid keys here: {', '.join(valid)}."
    if kind == "missing":
        return f"{key}: is missing.{_choices(choices)}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tags = [tag.strip(" '") for tag in str(context.get("expected_tags", "")).split(",") if tag] or choices
        tag = context.get("tag", "")
        return f"{key}.kind: got {tag!r}; expected one of {', '.join(tags)}.{_hint(tag, tags)}"
    if kind == "literal_error":
        return f"{key}: got {shorten(given)}; expected {context['expected']}.{_hint(str(given), choices)}"
    if kind == "value_error":
        return f"{key}: {context['error']}"
    return f"{key}: got {shorten(given)}; {detail['msg'][0].lower()}{detail['msg'][1:]}."


def _hint(name: str, valid: list[str]) -> str:
    guess = nearest(name, valid)
    return f" Did you mean {guess!r}?" if guess else ""


def _choices(choices: list[str]) -> str:
    return f" Expected one of {', '.join(choices)}." if choices else ""


def _walk(location: tuple[int | str, ...], root: type[BaseModel]) -> tuple[list[str], list[type[BaseModel]], list[str]]:
    """Follow an error's location through the models, without the union tags that pydantic inserts.

    Returns:
        The keys as the user wrote them, the models whose keys are valid at the last step, and the valid literals there.
    """
    keys: list[str] = []
    types: list[Any] = [root]
    parents: list[type[BaseModel]] = [root]
    for part in location:
        models = models_in(types)
        parents = models or parents
        # A tag chooses one of several models, even if a field has the same name (``kind: metric``).
        if len(models) > 1 and isinstance(part, str) and _is_tag(part, models):
            types = [model for model in models if part in _tags(model)]
            continue
        fields = [model.model_fields[part] for model in models if isinstance(part, str) and part in model.model_fields]
        if fields:
            types = [field.annotation for field in fields]
        else:
            types = [argument for annotation in types for argument in element_types(annotation)]
        keys.append(str(part))
    literals = [str(value) for annotation in types for value in literals_in(annotation)]
    return keys, parents, literals or [tag for model in models_in(types) for tag in _tags(model)]


def _is_tag(part: str, models: list[type[BaseModel]]) -> bool:
    return any(part in _tags(model) for model in models)


def _tags(model: type[BaseModel]) -> list[str]:
    field = model.model_fields.get("kind")
    return [str(value) for value in literals_in(field.annotation)] if field else []


def spec_from(values: Mapping[str, Any], source: str) -> ExperimentSpec:
    """Return the validated and resolved spec.

    Args:
        values: The keys of the YAML file.
        source: Name of the file or experiment in error messages.

    Raises:
        SpecError: The spec is not valid, or contains a secret, which would be saved in many places; one line per key.
    """
    if secrets := written_secrets(values, lambda mapping: "kind" in mapping):
        raise SpecError(source, secrets)
    try:
        if _inherits(values):
            return ExperimentSpec.model_validate(_own_values(values))
        return resolve(ExperimentSpec.model_validate(dict(values)))
    except ValidationError as error:
        raise SpecError(source, explain(error, ExperimentSpec)) from None
    except ValueError as error:
        raise SpecError(source, [str(error)]) from None


def _inherits(values: Mapping[str, Any]) -> bool:
    """Return whether these are keys of an evaluation, which inherits the others from an experiment not found yet."""
    evaluated = values.get("existing_experiment")
    return bool(evaluated) and not (isinstance(evaluated, Mapping) and evaluated.get("found"))


def _own_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of an evaluation that can be validated alone: a source without ``kind`` inherits its kind."""
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
    """Read the keys of a file without validating them.

    Raises:
        SpecError: The file is missing, not UTF-8 or not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(str(path), ["does not exist. Create one with 'assay new regression'"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(str(path), [f"can't be read: {error}"]) from error
    return read_mapping(text, str(path))


def merged(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``overrides`` merged into it, key by key at every depth.

    A mapping with another ``kind`` than in ``base`` replaces it entirely, because the keys of two kinds differ.
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
