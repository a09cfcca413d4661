"""Loading specs: from a file or plain values to a validated spec, error messages, and the JSON Schema for editors."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, get_origin

from pydantic import ValidationError

from assay.errors import AssayError, FileError, SpecError, nearest, one_line, shorten
from assay.spec.analysis import BUILT_IN_METRIC_NAMES
from assay.spec.base import Section, alternatives, element_types, literals_in, models_in
from assay.spec.defaults import resolve
from assay.spec.experiment import ExistingExperiment, ExperimentSpec
from assay.spec.extensions import OrPlugin, plugin_types
from assay.spec.plugins import (
    CODE_KEYS,
    METRICS,
    Plugin,
    code_in,
    group_at,
    import_path_refused,
    load_plugin,
    not_installed,
    plugins,
)
from assay.spec.secrets import written_secrets
from assay.spec.yaml_text import MAX_CHARACTERS, excess, read_mapping
from assay.utils.reading import read_text

MOST_BYTES = 4 * MAX_CHARACTERS
"""Size of a file of so many characters in UTF-8, at most."""


MOST_DETAILS = 200
"""How many of pydantic's complaints are looked at: 60,000 unknown keys would take minutes."""

LONGEST_KEY = 100
"""Characters of a key that messages show."""

MOST_PLACES = 5
"""How many places of a key are named."""

SYNONYMS = {
    "lr": "learning_rate",
    "wd": "weight_decay",
    "bs": "batch_size",
    "batch": "batch_size",
    "imgsz": "image_size",
    "gpu": "device",
    "cuda": "device",
    "data": "generated_images",
    "dataset": "generated_images",
    "val": "data_validation",
    "workers": "processes",
}
"""Words of other tools for our keys that no similarity finds."""


def explain(error: ValidationError, root: type[Section]) -> list[str]:
    """Return one line per invalid key: its value, what was expected, and the nearest valid choice.

    Args:
        error: Pydantic's error.
        root: The model that was validated.
    """
    details = [detail for detail in error.errors(include_url=False) if not _follows_from_others(detail)]
    kinds = {
        detail["loc"][:-1] for detail in details if detail["type"] == "literal_error" and detail["loc"][-1] == "kind"
    }
    # The keys of a kind that is not known are not known either.
    details = [detail for detail in details if detail["type"] != "extra_forbidden" or detail["loc"][:-1] not in kinds]
    lines = list(dict.fromkeys(_line(detail, root) for detail in details[:MOST_DETAILS]))
    return [*lines, *(f"{_key(detail['loc'])}: is wrong, too" for detail in details[MOST_DETAILS:])]


def _line(detail: Any, root: type[Section]) -> str:
    keys, models, choices = _walk(detail["loc"], root)
    key = _key(keys) or "the spec"
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    if refused := _code_refused(keys, given):
        return refused
    if kind == "extra_forbidden":
        valid = sorted({name for model in models for name in model.model_fields})
        hint = _place_hint(keys, valid) if root is ExperimentSpec else _hint(keys[-1], valid)
        return f"{key}: unknown key.{hint} Valid keys here: {', '.join(valid)}."
    if kind == "missing":
        return f"{key}: is missing.{_choices(choices)}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tags = [tag.strip(" '") for tag in str(context.get("expected_tags", "")).split(",") if tag] or choices
        tag = str(context.get("tag", ""))
        more = _or_installed(key, tag)
        return f"{key}.kind: got {shorten(tag)}; expected one of {', '.join(tags)}.{_hint(tag, tags)}{more}"
    if kind == "literal_error":
        more = _or_installed(key.removesuffix(".kind"), str(given)) if keys[-1] == "kind" else ""
        return f"{key}: got {shorten(given)}; expected {context['expected']}.{_hint(str(given), choices)}{more}"
    if kind == "value_error":
        return f"{key}: {context['error']}"
    if kind == "string_type" and isinstance(given, int | float):
        return f"{key}: got {shorten(given)}, a number; expected a text: write it in quotes."
    return f"{key}: got {shorten(given)}; {detail['msg'][0].lower()}{detail['msg'][1:]}."


def _code_refused(keys: Sequence[str], given: Any) -> str:
    """Return the line about a place that names code, as configurations of other programs do; empty if it does not."""
    place = keys[:-1] if keys and keys[-1] in CODE_KEYS else keys if code_in(given) else None
    if place is None:
        return ""
    group = group_at(".".join(place))
    return f"{_key(place) or 'the spec'}: names code; {import_path_refused(group.name if group else None)}."


def _or_installed(key: str, name: str) -> str:
    """Return a sentence about packages that may add what is missing; empty where none can, or no name is given."""
    group = group_at(key) if name else None
    return f" Or {not_installed(group.name, name)}." if group else ""


def _follows_from_others(detail: Any) -> bool:
    """Return whether a list counts as empty only because all of its elements are wrong."""
    return bool(detail["type"] == "too_short" and detail["input"] and not detail["ctx"]["actual_length"])


def _key(keys: Iterable[int | str]) -> str:
    texts = (one_line(str(key)) for key in keys)
    return ".".join(text if len(text) <= LONGEST_KEY else f"{text[:LONGEST_KEY]}…" for text in texts)


def _hint(name: str, valid: list[str]) -> str:
    guess = nearest(name, valid)
    return f" Did you mean {guess!r}?" if guess else ""


def _place_hint(keys: Sequence[str], valid: list[str]) -> str:
    """Return a sentence about a key that is not valid where it stands: where it belongs, or what may be meant."""
    name, path = keys[-1], ".".join(keys)
    if kinds := spec_keys().get(path):
        return f" It is for kind {' and '.join(kinds)}."
    if places := _places(name):
        return f" It belongs to {_or(places)}."
    meant = SYNONYMS.get(name.lower()) or nearest(name, valid) or _nearest_anywhere(name)
    if meant is None:
        return ""
    return f" Did you mean {meant!r}?" if meant in valid else f" Did you mean {_or(_places(meant))}?"


def _nearest_anywhere(name: str) -> str | None:
    """Return the most similar of the hundreds of keys, of which some resembles nearly every word a little."""
    return nearest(name, {_last(key) for key in spec_keys()}, cutoff=0.75)


def _places(name: str) -> list[str]:
    return [key for key in spec_keys() if _last(key) == name]


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _or(places: Sequence[str]) -> str:
    more = len(places) - MOST_PLACES
    return " or ".join(places[:MOST_PLACES]) + (f" and {more} more" if more > 0 else "")


@cache
def spec_keys() -> dict[str, list[str]]:
    """Return the dotted keys at every depth, with the kinds that they are for; empty if they are for all."""
    found: dict[str, list[str]] = {}
    for key, kinds in _keys_in(ExperimentSpec, ""):
        found.setdefault(key, []).extend(kinds)
    return found


def _keys_in(model: type[Section], prefix: str) -> Iterator[tuple[str, list[str]]]:
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}", _tags(model)
        for inner in models_in([field.annotation]):
            yield from _keys_in(inner, f"{prefix}{name}.")


def _choices(choices: list[str]) -> str:
    return f" Expected one of {', '.join(choices)}." if choices else ""


def _walk(location: tuple[int | str, ...], root: type[Section]) -> tuple[list[str], list[type[Section]], list[str]]:
    """Follow an error's location through the models, without the union tags that pydantic inserts.

    Returns:
        The keys as the user wrote them, the models whose keys are valid at the last step, and the valid literals there.
    """
    keys: list[str] = []
    types: list[Any] = [root]
    parents: list[type[Section]] = [root]
    added: list[OrPlugin] = []
    for part in location:
        models = models_in(types)
        parents = models or parents
        if models and (sections := _sections_of(str(part), added)):
            types, parents = sections, sections
            continue
        # A tag chooses one of several models, even if a field has the same name (``kind: metric``).
        if len(models) > 1 and isinstance(part, str) and _is_tag(part, models):
            types = [model for model in models if part in _tags(model)]
            continue
        fields = [model.model_fields[part] for model in models if isinstance(part, str) and part in model.model_fields]
        if fields:
            types = [field.annotation for field in fields]
            added = [each for field in fields for each in plugin_types(field.annotation, field.metadata)]
        else:
            types = [argument for annotation in types for argument in element_types(annotation)]
        keys.append(str(part))
    literals = [str(value) for annotation in types for value in literals_in(annotation)]
    return keys, parents, literals or [tag for model in models_in(types) for tag in _tags(model)]


def _sections_of(kind: str, added: Iterable[OrPlugin]) -> list[Any]:
    """Return the section of a package whose kind is named in the place of an error."""
    return [each.section_of(kind) for each in added if kind not in each.built_in and kind in plugins(each.group)]


def _is_tag(part: str, models: list[type[Section]]) -> bool:
    return any(part in _tags(model) for model in models)


def _tags(model: type[Section]) -> list[str]:
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
    if problem := excess(values):
        raise SpecError(source, [problem])
    try:
        if secrets := written_secrets(values, lambda mapping: "kind" in mapping):
            raise SpecError(source, secrets)
        if _inherits(values):
            return ExperimentSpec.model_validate(_own_values(values))
        return resolve(ExperimentSpec.model_validate(dict(values)))
    except AssayError:
        raise
    except ValidationError as error:
        raise SpecError(source, explain(error, ExperimentSpec)) from None
    except ValueError as error:
        raise SpecError(source, [str(error)]) from None
    except Exception as error:  # sections of installed packages may raise anything, and only this experiment has them
        problem = f"can't be checked: {type(error).__name__}: {error}; one of its values is of a wrong kind"
        raise SpecError(source, [problem]) from error


def existing_experiment(values: Mapping[str, Any]) -> ExistingExperiment:
    """Return a validated reference to an existing experiment, from the command line.

    Raises:
        SpecError: The ID or the name of the location is not valid.
    """
    try:
        return ExistingExperiment.model_validate(dict(values))
    except ValidationError as error:
        raise SpecError("existing experiment", explain(error, ExistingExperiment)) from None


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
        SpecError: The file is missing, no regular file, not UTF-8 or not YAML.
    """
    try:
        return read_mapping(read_text(path, MOST_BYTES), str(path))
    except FileNotFoundError:
        what = "is a link to what does not exist" if path.is_symlink() else "does not exist"
        raise SpecError(str(path), [f"{what}. Create one with 'assay new regression'"]) from None
    except FileError as error:
        raise SpecError(str(path), [error.reason]) from error


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


def plugin_problem(plugin: Plugin) -> str:
    """Import a plug-in, and return why a spec can't use it; empty if it can."""
    added = [each for model in _models_below(ExperimentSpec) for each in _plugin_types_of(model)]
    try:
        for each in added:
            if each.group == plugin.group:
                each.section_of(plugin.name)
        if plugin.group == METRICS:
            load_plugin(plugin.group, plugin.name, object)
            if plugin.name in BUILT_IN_METRIC_NAMES:
                return f"{plugin.name!r} is a built-in metric, which no package can replace; register another name."
    except AssayError as error:
        return str(error)
    return ""


def _plugin_types_of(model: type[Section]) -> Iterator[OrPlugin]:
    for field in model.model_fields.values():
        yield from plugin_types(field.annotation, field.metadata)


def _models_below(model: type[Section]) -> Iterator[type[Section]]:
    yield model
    for field in model.model_fields.values():
        for inner in models_in([field.annotation]):
            yield from _models_below(inner)


@cache
def mapping_names() -> frozenset[str]:
    """Return the names of all fields that are mappings whose keys are the user's, such as names of classes."""
    fields = (each for model in _models_below(ExperimentSpec) for each in model.model_fields.items())
    return frozenset(
        name for name, field in fields if any(get_origin(inner) is dict for inner in alternatives(field.annotation))
    )


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a spec file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **ExperimentSpec.model_json_schema()}
