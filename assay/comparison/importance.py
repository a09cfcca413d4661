"""Importance: how much of the differences in a metric each varied key explains, by fANOVA on a random forest.

Hutter, Hoos and Leyton-Brown, "An Efficient Approach for Assessing Hyperparameter Importance", ICML 2014, as Optuna has
it. Belongs here: from rows of keys and values to shares. Does not belong here: which experiments count.
"""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from assay.plots.common import WIDE_SPAN, value_ratio
from assay.spec.yaml_text import shown
from assay.utils.text import canonical_json

if TYPE_CHECKING:  # of the extra `tune`
    import optuna

LEAST_ROWS = 8
"""Fewer experiments tell nothing about several keys at once."""

Row = tuple[Mapping[str, Any], float]
"""The value of each key, and the metric."""


def importances(rows: Sequence[Row]) -> dict[str, float]:
    """Return the share of each key in what the keys explain alone, the most important first; the shares add up to 1.

    Args:
        rows: One per experiment; keys that not all have, or whose value is always the same, don't count.

    Returns:
        Empty for fewer than ``LEAST_ROWS`` rows, for equal values, for no key, and without the extra ``tune``.
    """
    keys = _common_keys([values for values, _ in rows])
    if len(rows) < LEAST_ROWS or len({value for _, value in rows}) < 2 or not keys or find_spec("optuna") is None:
        return {}
    return dict(_shares(canonical_json([[{key: values[key] for key in keys}, value] for values, value in rows])))


@lru_cache(64)  # the dashboard asks again with every click
def _shares(text: str) -> dict[str, float]:
    """Return the shares for rows that are given as JSON."""
    import optuna
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    rows: list[Row] = json.loads(text)
    columns = {key: [values[key] for values, _ in rows] for key in rows[0][0]}
    distributions = {key: _distribution_of(column) for key, column in columns.items()}
    study = optuna.create_study()
    for place, (_, value) in enumerate(rows):
        own = {key: _as_parameter(column[place], distributions[key]) for key, column in columns.items()}
        study.add_trial(optuna.trial.create_trial(params=own, distributions=distributions, value=value))
    found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    return {key: float(share) for key, share in found.items()}


def _common_keys(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    keys = [key for key in settings[0] if all(key in values for values in settings)] if settings else []
    return [key for key in keys if len({shown(values[key]) for values in settings}) > 1]


def _distribution_of(column: Sequence[Any]) -> "optuna.distributions.BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in column):
        return FloatDistribution(float(min(column)), float(max(column)), log=value_ratio(column) >= WIDE_SPAN)
    return CategoricalDistribution(list(dict.fromkeys(shown(value) for value in column)))


def _as_parameter(value: Any, distribution: "optuna.distributions.BaseDistribution") -> Any:
    import optuna

    return float(value) if isinstance(distribution, optuna.distributions.FloatDistribution) else shown(value)


def importance_text(shares: Mapping[str, float], names: Mapping[str, str]) -> str:
    """Return the shares as text, such as ``learning_rate 81%, width 19%``."""
    return ", ".join(f"{names.get(key, key)} {share:.0%}" for key, share in shares.items())
