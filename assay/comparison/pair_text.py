"""Two experiments beside each other, as text for the terminal: how much they differ, surely or by chance, and why.

Belongs here: sentences and tables. Does not belong here: what they say (``assay.comparison.pairs``).
"""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from assay.analysis.base import pluralize, readable_number
from assay.comparison.pairs import MetricDifference, Pair, Step, is_no_key
from assay.errors import shorten
from assay.metrics.intervals import LEAST_PAIRED
from assay.metrics.registry import get_metric
from assay.spec.yaml_text import brief
from assay.utils.text import text_table

MOST_ITEMS = 10
"""Items that are listed on each side."""


def as_lines(pair: Pair, subset: str) -> list[str]:
    """Return the comparison for a terminal."""
    first, second = (entry.experiment_id for entry in pair.entries)
    lines = [_headline(pair, subset)]
    if pair.metrics:
        lines += ["", *text_table(("metric", first, second, "difference", "95% interval"), _metric_rows(pair.metrics))]
    if pair.keys:
        rows = [(key, *(shorten(value) for value in values)) for key, values in pair.keys.items()]
        lines += ["", *text_table(("key", first, second), rows)]
    if pair.stages:
        lines += ["", "Results that differ: " + "; ".join(f"{name} ({why})" for name, why in pair.stages.items())]
    if len(pair.moved):
        lines += ["", *_moved_lines(pair)]
    lines += ["", *explanation] if (explanation := list(_explanation(pair))) else []
    on_path = {step.experiment_id for step in pair.steps}
    for name, keys, value in pair.explained:
        if name not in on_path:
            lines.append(f"In between: {name} differs from {first} only in {', '.join(keys)}: {readable_number(value)}")
    return lines


def _explanation(pair: Pair) -> Iterator[str]:
    """Yield which keys did it, as far as stored experiments tell; nothing for experiments of different items."""
    if not pair.metrics or not (pair.keys or pair.stages):
        return
    main, further = pair.metrics[0], [why for why in dict.fromkeys(pair.stages.values()) if is_no_key(why)]
    label = get_metric(main.name).label
    if pair.steps:
        yield f"The difference of {label}, {main.values[1] - main.values[0]:+.4g}, is explained, in this order, by:"
        rows = [_step_row(step) for step in pair.steps]
        header = ("key", "before", "after", "difference", "95% interval", "experiment")
        yield from (f"  {line}" for line in text_table(header, rows))
    elif not pair.keys:
        yield f"No key differs: the difference is explained by {' and '.join(further) or 'chance in training'}."
    elif further:
        yield f"Besides the keys, it may be explained by {' and '.join(further)}."
    elif all(key == "seed" or key.endswith(".seed") for key in pair.keys):
        yield "Only the seed differs: so much is explained by chance in training."
    elif len(pair.keys) == 1:
        yield f"The difference is explained by {next(iter(pair.keys))}: nothing else differs."
    else:
        yield _way_to_tell(pair)


def _step_row(step: Step) -> tuple[str, ...]:
    names = ", ".join([*step.keys, *step.further])
    before, after = (", ".join(shorten(values[side]) for values in step.keys.values()) for side in (0, 1))
    _, _, _, change, interval = _metric_rows([step.difference])[0]
    return (names, before, after, change, interval, step.experiment_id)


def _way_to_tell(pair: Pair) -> str:
    key, (_, value) = next(iter(pair.keys.items()))
    first = pair.entries[0].experiment_id
    text = brief(value)
    setting = f"'{key}=[{text}]'" if isinstance(value, list) else f"{key}={text}"
    return (
        f"Which of the {len(pair.keys)} keys explains it can't be told, because no stored experiment lies in between. "
        f"Such as: assay sweep {first} --grid {setting}"
    )


def _headline(pair: Pair, subset: str) -> str:
    first, second = (entry.experiment_id for entry in pair.entries)
    if not pair.metrics:
        return f"{first} and {second} were tested on different items of {subset}: their numbers can't be compared."
    main = pair.metrics[0]
    label, chance = get_metric(main.name).label, ""
    if pair.chance is not None and pair.entries[0].task != "regression":
        sides = pair.moved["better"].to_list()
        chance = (
            f"; {pluralize(sides.count('second'), 'item')} only {second} has right, {sides.count('first')} only {first}"
        )
        chance += f", p = {pair.chance:.2g}"
    if not pair.keys and not pair.stages:
        return f"{first} and {second} are the same experiment."
    better = {"first": first, "second": second}.get(pair.better)
    change = f"{label} {readable_number(main.values[0])} and {readable_number(main.values[1])}"
    if pair.tested < LEAST_PAIRED:
        return f"Too few items of {subset} to tell which is better ({pair.tested} of {LEAST_PAIRED}): {change}{chance}."
    if better is None:
        return f"Neither is surely better: {change}, chance may explain it{chance}."
    return f"{better} is better: {change}{chance}."


def _metric_rows(differences: Sequence[MetricDifference]) -> list[tuple[str, ...]]:
    rows = []
    for each in differences:
        change = each.values[1] - each.values[0]
        interval = "" if np.isnan(each.low) else f"[{each.low:+.4g}, {each.high:+.4g}]"
        values = (readable_number(None if np.isnan(value) else value) for value in each.values)
        rows.append((each.name, *values, "" if np.isnan(change) else f"{change:+.4g}", interval))
    return rows


def _moved_lines(pair: Pair) -> list[str]:
    first, second = (entry.experiment_id for entry in pair.entries)
    lines = []
    for side, name in (("second", second), ("first", first)):
        rows = pair.moved.filter(pl.col("better") == side)
        if len(rows):
            shown = [tuple(row) for row in rows.head(MOST_ITEMS).select("item", "target", "first", "second").rows()]
            more = f", the first {MOST_ITEMS}" if len(rows) > MOST_ITEMS else ""
            lines.append(f"Better in {name} ({pluralize(len(rows), 'item')}{more}):")
            lines += [f"  {line}" for line in text_table(("item", "target", first, second), shown)]
    return lines
