"""Which column is scaled how: the spec's names and globs, matched with the table's features.

Belongs here: matching and its errors. Does not belong here: values of the columns.
"""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Literal

import polars as pl

from assay.datasets.schema import TableInfo
from assay.errors import DataError, nearest
from assay.spec.normalized import NormalizedSection

Kind = Literal["scalar", "binary", "categorical"]
KINDS: tuple[Kind, ...] = ("scalar", "binary", "categorical")
_TEXTS = (pl.String, pl.Categorical, pl.Enum)
_SHOWN_FEATURES = 8


def choose_columns(schema: Mapping[str, pl.DataType], info: TableInfo, spec: NormalizedSection) -> dict[str, Kind]:
    """Return how each column is scaled, in the table's order; columns that are not in it stay as they are.

    Raises:
        DataError: A key matches nothing, a column is matched twice or can't be scaled that way; all of them.
    """
    problems: list[str] = []
    chosen: dict[str, tuple[Kind, str]] = {}
    for kind in KINDS:
        for key in getattr(spec, field_of(kind)) or ():
            for name in _matches(key, kind, schema, info, problems):
                if name in chosen:
                    before = f"{field_of(chosen[name][0])} {chosen[name][1]!r}"
                    problems.append(f"{field_of(kind)} {key!r}: column {name!r} is matched by {before} already")
                elif problem := _unfit(schema[name], kind):
                    problems.append(f"{field_of(kind)} {key!r}: column {name!r} {problem}")
                chosen.setdefault(name, (kind, key))
    if problems:
        raise DataError("normalized: columns can't be scaled as wanted; nothing was computed.", problems)
    kinds = {name: kind for name, (kind, _) in chosen.items()}
    kinds |= _automatic(schema, (name for name in info.features if name not in kinds), spec)
    return {name: kinds[name] for name in info.features if name in kinds}


def field_of(kind: Kind) -> str:
    """Return the key of the spec that lists columns of a kind."""
    return f"{kind}_feature_keys"


def _matches(
    key: str, kind: Kind, schema: Mapping[str, pl.DataType], info: TableInfo, problems: list[str]
) -> list[str]:
    """Return the features that a key names; an exact name wins, since a name may itself hold ``[`` or ``*``."""
    if key in info.features:
        return [key]
    found = [name for name in info.features if fnmatchcase(name, key)]
    if not found:
        problems.append(f"{field_of(kind)} {key!r}: {_no_match(key, schema, info)}")
    return found


def _no_match(key: str, schema: Mapping[str, pl.DataType], info: TableInfo) -> str:
    if key == info.target_column:
        return "is the target, which keeps its own unit, so that errors are in that unit; leave it out"
    if key in schema:
        return "is a column, but not a feature; leave it out"
    guess = nearest(key.translate(str.maketrans("", "", "*?[]")), info.features)
    hint = f" Did you mean {guess!r}?" if guess else ""
    shown = ", ".join(info.features[:_SHOWN_FEATURES]) + (", …" if len(info.features) > _SHOWN_FEATURES else "")
    return f"matches no column.{hint} Features: {shown or 'none'}."


def _unfit(kind_of_values: pl.DataType, kind: Kind) -> str | None:
    if kind == "scalar" and not kind_of_values.is_numeric():
        return f"holds {kind_of_values}, expected numbers; list it in binary_ or categorical_feature_keys"
    if kind != "scalar" and not (kind_of_values.is_integer() or kind_of_values in (pl.Boolean, *_TEXTS)):
        return f"holds {kind_of_values}, expected texts, whole numbers or true/false; list it in scalar_feature_keys"
    return None


def _automatic(schema: Mapping[str, pl.DataType], names: Iterable[str], spec: NormalizedSection) -> dict[str, Kind]:
    """Return how the columns that no key matched are scaled, for the keys that are left null."""
    kinds: dict[str, Kind] = {}
    for name in names:
        kind = _natural_kind(schema[name])
        if kind is not None and getattr(spec, field_of(kind)) is None:
            kinds[name] = kind
    return kinds


def _natural_kind(kind_of_values: pl.DataType) -> Kind | None:
    if kind_of_values.is_numeric():
        return "scalar"
    if kind_of_values == pl.Boolean:
        return "binary"
    return "categorical" if kind_of_values in _TEXTS else None
