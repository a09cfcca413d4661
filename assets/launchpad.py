"""The spec as Dagster's configuration, whose keys and choices the Launchpad completes and checks while one types.

Belongs here: from the models of the spec to Dagster's config types. Does not belong here: the keys themselves
(``assay.spec``); validating what was typed, which the asset ``experiment`` does by the models.
"""

from collections.abc import Iterable, Mapping
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import dagster as dg
from pydantic.fields import FieldInfo

from assay.spec.base import Section, alternatives, element_types, literals_in, models_in
from assay.spec.experiment import ExperimentSpec
from assay.spec.extensions import OrPlugin, plugin_types
from assay.spec.plugins import plugins
from assay.spec.yaml_text import to_yaml


def configured(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the run configuration that sets keys of the spec."""
    return {"ops": {"experiment": {"config": {"spec": dict(spec)}}}}


def how_to(spec: Mapping[str, Any]) -> str:
    """Return what a job's description says of its configuration, with these keys as an example to paste and change."""
    return f"Keys of the spec may be set for the partition, for example:\n\n```yaml\n{to_yaml(configured(spec))}```"


_SCALARS: dict[Any, Any] = {bool: dg.Bool, int: dg.Int, float: dg.Float, str: dg.String}

_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than", "min_length": "length at least"}


def spec_field() -> dg.Field:
    """Return the field ``spec`` of the asset ``experiment``: keys of the spec, all of them optional."""
    return dg.Field(
        _shape([ExperimentSpec], []),
        is_required=False,
        default_value={},
        description="Keys of the spec to set or change, stored in the experiment's file; empty: use the file, or the "
        "template of the task.",
    )


def _shape(models: Iterable[type[Section]], added: Iterable[OrPlugin]) -> dg.Permissive:
    """Return the keys of a model; of several models, those of all, and the kinds that installed packages add.

    Keys that none of them has are let through, because the models' own message names the nearest key, and because
    packages are not imported here.
    """
    fields: dict[str, list[FieldInfo]] = {}
    for model in models:
        for name, info in model.described_fields().items():
            fields.setdefault(name, []).append(info)
    kinds = tuple(kind for each in added for kind in plugins(each.group) if kind not in each.built_in)
    shaped = {name: _field(infos, kinds if name == "kind" else ()) for name, infos in fields.items()}
    if kinds and "kind" not in fields:
        shaped["kind"] = dg.Field(_choice(kinds), is_required=False, description="A kind that a package adds.")
    shape: dg.Permissive = dg.Permissive(shaped)  # type: ignore[no-untyped-call]
    return shape


def _field(infos: list[FieldInfo], more: tuple[str, ...]) -> dg.Field:
    types: list[Any] = [inner for info in infos for inner in alternatives(info.annotation)]
    types += [Literal[each] for each in more]
    added = [each for info in infos for each in plugin_types(info.annotation, info.metadata)]
    lines = dict.fromkeys(filter(None, (_described(info) for info in infos)))
    return dg.Field(_config_type(types, added), is_required=False, description=" Or: ".join(lines) or None)


def _described(info: FieldInfo) -> str:
    bounds = [
        f"{words} {value:g}"
        for name, words in _BOUNDS.items()
        for each in info.metadata
        if isinstance(value := getattr(each, name, None), (int, float))
    ]
    choices = [str(value) for value in literals_in(info.annotation)]
    notes = [*bounds, *([f"one of {', '.join(choices)}"] if len(choices) > 1 else [])]
    return " ".join(filter(None, [info.description, f"({'; '.join(notes)})" if notes else ""]))


def _config_type(types: list[Any], added: list[OrPlugin]) -> Any:
    """Return the config type for alternatives of a field; Any where Dagster has none for their mixture."""
    given = [kind for kind in types if kind is not NoneType]
    one = _without_null(given, added)
    return dg.Noneable(one) if len(given) < len(types) and one is not Any else one


def _without_null(types: list[Any], added: list[OrPlugin]) -> Any:
    models, literals = models_in(types), [value for kind in types for value in literals_in(kind)]
    if len(models) == len(types):
        return _shape(models, added) if not any(map(_reads_text, models)) else Any
    if types and all(literals_in(kind) for kind in types) and all(isinstance(value, str) for value in literals):
        return _choice(tuple(dict.fromkeys(literals)))
    if len(set(types)) == 1:
        return _plain(types[0], added)
    return Any


def _reads_text(model: type[Section]) -> bool:
    """Return whether a model may be written as something else than its keys, which Dagster can't express."""
    shared = Section.__pydantic_decorators__.model_validators
    validators = model.__pydantic_decorators__.model_validators
    return any(each.info.mode in ("before", "wrap", "plain") for name, each in validators.items() if name not in shared)


def _plain(kind: Any, added: list[OrPlugin]) -> Any:
    origin = get_origin(kind)
    if origin in (list, tuple, frozenset, set):
        inner = element_types(kind)
        is_sequence = origin is not tuple or get_args(kind)[-1] is Ellipsis
        return [_config_type(alternatives(inner[0]), added)] if inner and is_sequence else Any
    if origin is dict:
        return dict
    return _SCALARS.get(kind, Any)


def _choice(values: tuple[str, ...]) -> dg.Enum:
    return _ENUMS.setdefault(values, dg.Enum(", ".join(values), [dg.EnumValue(value) for value in values]))


_ENUMS: dict[tuple[str, ...], dg.Enum] = {}
"""Every enum once, because Dagster refuses two of one name; the name is what its message shows."""
