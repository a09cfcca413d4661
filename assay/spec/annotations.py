"""Looks into the types of fields: which models, alternatives and elements an annotation holds.

Belongs here: reading annotations. Does not belong here: what is done with them (``messages``, ``assay.experiments.sweep_grid``).
"""

from collections.abc import Iterable
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel


def alternatives(annotation: Any) -> list[Any]:
    """Return the alternatives of a possibly optional, annotated or union type."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return alternatives(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [inner for argument in get_args(annotation) for inner in alternatives(argument)]
    return [annotation]


def models_in(annotations: Iterable[Any]) -> list[type[BaseModel]]:
    """Return the models among the alternatives of some types."""
    flat = [inner for annotation in annotations for inner in alternatives(annotation)]
    return [inner for inner in flat if isinstance(inner, type) and issubclass(inner, BaseModel)]


def element_types(annotation: Any) -> list[Any]:
    """Return what a list, tuple or dict holds."""
    found = alternatives(annotation)
    return [get_args(inner)[-1 if get_origin(inner) is dict else 0] for inner in found if get_args(inner)]


def literals_in(annotation: Any) -> list[Any]:
    """Return the values that a literal type allows."""
    return [value for inner in alternatives(annotation) if get_origin(inner) is Literal for value in get_args(inner)]
