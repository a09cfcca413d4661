"""Turns pydantic's errors into one line each: key, value, what was expected, the nearest valid choice.

Belongs here: words. Does not belong here: rules on values.
"""

from typing import Any

from pydantic import BaseModel, ValidationError

from assay.errors import nearest
from assay.spec.annotations import element_types, literals_in, models_in
from assay.spec.ids import shorten


def explain(error: ValidationError, root: type[BaseModel]) -> list[str]:
    """Return one line per wrong key, in the order of the file."""
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
    """Follow an error's location through the models; drops the union tags that pydantic puts into it.

    Returns:
        The keys as the user wrote them, the models whose keys are valid at the last step, the valid literals there.
    """
    keys: list[str] = []
    types: list[Any] = [root]
    parents: list[type[BaseModel]] = [root]
    for part in location:
        models = models_in(types)
        parents = models or parents
        # Of several models, the tag chooses one, even where a field has the same name (``kind: metric``).
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
