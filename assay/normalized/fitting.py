"""Fitting the scaling of each column on the rows that may be looked at.

Belongs here: from values to ``NormInfo``. Does not belong here: which columns, which rows.
"""

from collections.abc import Mapping

import polars as pl

from assay.datasets.scaling import BinaryInfo, CategoricalInfo, NormInfo, ScalarInfo, as_plain
from assay.errors import DataError
from assay.normalized.feature_keys import Kind

_TWO = 2
_SHOWN_VALUES = 5


def fit(rows: pl.DataFrame, kinds: Mapping[str, Kind], code_unseen: bool) -> tuple[NormInfo, ...]:
    """Return how each column is scaled.

    Args:
        rows: The rows to fit on, without missing values.
        kinds: How each column is to be scaled.
        code_unseen: Whether classes that these rows lack get a number of their own.

    Raises:
        DataError: A binary column has more than two values, or a number column spans more than Float64 holds.
    """
    infos: list[NormInfo] = []
    problems: list[str] = []
    scalars = [name for name, kind in kinds.items() if kind == "scalar"]
    lows, highs = (rows.select(getattr(pl.col(scalars).cast(pl.Float64), way)()) for way in ("min", "max"))
    for name, kind in kinds.items():
        dtype = str(rows.schema[name])
        if kind == "scalar":
            infos.append(_scalar(name, dtype, float(lows[name][0]), float(highs[name][0]), problems))
            continue
        values = tuple(as_plain(rows[name]).unique().sort())
        if kind == "categorical":
            infos.append(
                CategoricalInfo(name=name, dtype=dtype, values=values, unseen_code=len(values) if code_unseen else None)
            )
        elif len(values) <= _TWO:
            infos.append(BinaryInfo(name=name, dtype=dtype, values=values))
        else:
            shown = ", ".join(map(repr, values[:_SHOWN_VALUES]))
            problems.append(f"binary_feature_keys: column {name!r} has {len(values)} values ({shown}, …), expected 2")
    if problems:
        raise DataError("normalized: columns can't be scaled as wanted; nothing was computed.", problems)
    return tuple(infos)


def _scalar(name: str, dtype: str, low: float, high: float, problems: list[str]) -> ScalarInfo:
    span = high - low
    if span == float("inf"):
        problems.append(f"scalar_feature_keys: column {name!r} spans {low:g} to {high:g}, more than Float64 holds")
        span = 1.0
    return ScalarInfo(name=name, dtype=dtype, offset=low, divisor=span or 1.0)
