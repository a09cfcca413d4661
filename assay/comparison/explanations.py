"""Explanations for the terminal: why two experiments differ, what hangs on an item, what changed data have changed.

Belongs here: sentences and tables. Does not belong here: what they say (``assay.comparison.pairs``,
``assay.comparison.impact``).
"""

import json
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import polars as pl

from assay.analysis.base import pluralize
from assay.comparison.impact import LEFT_OUT, BeforeAndNow, Impact, Place
from assay.comparison.pairs import ExplainedStep, MetricDifference, Pair, is_no_key
from assay.errors import MAX_CHOICES, shorten
from assay.metrics.paired import LEAST_PAIRED
from assay.metrics.registry import get_metric
from assay.spec.ids import suggest_id
from assay.spec.yaml_text import brief
from assay.utils.text import readable_number, text_table

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
    elif len(keys := _without_keys_of_kinds(pair.keys)) == 1:
        yield f"The difference is explained by {keys[0]}: nothing else differs."
    else:
        yield _way_to_tell(pair, keys)


def _step_row(step: ExplainedStep) -> tuple[str, ...]:
    names = ", ".join([*step.keys, *step.further])
    before, after = (", ".join(shorten(values[side]) for values in step.keys.values()) for side in (0, 1))
    _, _, _, change, interval = _metric_rows([step.difference])[0]
    return (names, before, after, change, interval, step.experiment_id)


def _without_keys_of_kinds(keys: Collection[str]) -> list[str]:
    """Return the keys without those of a section whose ``kind`` differs: they come with the kind."""
    return [key for key in keys if key.endswith(".kind") or f"{key.rpartition('.')[0]}.kind" not in keys]


def _way_to_tell(pair: Pair, keys: Sequence[str]) -> str:
    """Return which experiment would tell which of some keys did it."""
    key, (_, value) = keys[0], pair.keys[keys[0]]
    first = pair.entries[0].experiment_id
    text = brief(value)
    setting = f"'{key}=[{text}]'" if isinstance(value, list) else f"{key}={text}"
    return (
        f"Which of the {len(keys)} keys explains it can't be told, because no stored experiment lies in between. "
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


MOST_TO_LEAVE_OUT = 20
"""Items up to which the command that leaves them out is shown."""


def impact_lines(impact: Impact, what: str, subset: str | None = None) -> list[str]:
    """Return what hangs on a file, an item or a label.

    Args:
        impact: What hangs on it.
        what: As the user named it.
        subset: Shows only metrics on this subset; None: all.
    """
    count, total = len(impact.places), len(impact.places) + len(impact.others)
    items = pluralize(max(len(place.items) for place in impact.places), "item")
    is_about = f"{impact.kind}, {items}" if impact.kind != "item" else impact.kind
    lines = [f"{what} ({is_about}) is in {count} of {pluralize(total, 'experiment')}.", ""]
    rows = [row for place in impact.places for row in _place_rows(place, subset)]
    lines += text_table(("experiment", "items in", "metric", "value", "without", "change"), rows)
    if any(place.learned for place in impact.places):
        lines += ["", "* Its model learned from it, or was chosen by it: only a new model tells what it is without."]
    names = [place.experiment_id for place in impact.places]
    rest = "; all others are found as they are" if impact.others else ""
    lines += ["", f"Once it is changed, a run makes anew: {_listed(names)}{rest}."]
    if impact.unknown:
        lines.append(f"Their data are not in this storage: {_listed(impact.unknown)}.")
    return [*lines, *_way_to_mend(impact, what)]


def _place_rows(place: Place, subset: str | None) -> Iterator[tuple[str, ...]]:
    counts = ", ".join(f"{name} {count}" for name, count in place.subsets.items()).replace(LEFT_OUT, "no subset")
    first = (place.experiment_id + "*" * place.learned, counts)
    effects = [each for each in place.effects if subset in (None, each.subset)]
    for effect in effects:
        change = effect.without - effect.value
        numbers = [readable_number(None if np.isnan(value) else value) for value in (effect.value, effect.without)]
        metric = effect.metric if effect.subset == "test" else f"{effect.metric} on {effect.subset}"
        yield (*first, metric, *numbers, "" if np.isnan(change) else f"{change:+.2g}")
        first = ("", "")
    if not effects:
        yield (*first, "", "", "", "")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_CHOICES} more" if len(names) > MAX_CHOICES else ""
    return ", ".join(names[:MAX_CHOICES]) + more


def _way_to_mend(impact: Impact, what: str) -> Iterator[str]:
    place = impact.places[0]
    name, source, items = place.experiment_id, place.source, list(place.items)
    if mend := _mend(impact.kind, source, items):
        yield f"To mend it: {mend}."
    if len(items) <= MOST_TO_LEAVE_OUT:
        grid = shlex.quote(f"splits.leave_out=[{json.dumps(items, ensure_ascii=False)}]")
        new = suggest_id(f"{name}-without")
        sweep = f"assay sweep {name} --grid {grid} --name {new}"
        yield f"To leave it out, in a new experiment: {sweep}; assay run {new}-01; assay diff {name} {new}-01"
    yield f"Once it is mended: assay run {name}; assay diff {name} shows the results before and after."


def _mend(kind: str, source: Mapping[str, Any], items: Sequence[str]) -> str:
    """Return what to change in the data; empty where that can't be said of all items in one sentence."""
    path, one = PurePath(str(source.get("path", ""))), items[0]
    if kind == "label" or len(items) > 1:
        return ""
    match source.get("kind"):
        case "image_folder":
            return f"move {path / one} into the folder of its class"
        case "table":
            return f"correct row {int(one) + 1:,} of {path}, not counting the header"
        case "coco":
            return f"correct the annotations of {one} in the JSON files of {path}"
        case "yolo":
            return f"correct the label file of {one} in {path}"
        case "masks":
            return f"correct the mask of {one} in {path}"
    return ""


def before_and_now_lines(found: BeforeAndNow, name: str, subset: str) -> list[str]:
    """Return what an experiment's changed data have changed."""
    lines = [f"{name} before its data changed (results of {found.made:%Y-%m-%d %H:%M} UTC) and now.", ""]
    if found.items:
        lines.append(f"{pluralize(len(found.items), 'item')} of the data changed:")
        lines += [f"  {item}: {change}" for item, change in found.items[:MOST_ITEMS]]
        lines += [f"  … and {len(found.items) - MOST_ITEMS} more"] * (len(found.items) > MOST_ITEMS)
        lines.append("")
    if found.pair.metrics:
        return [*lines, *as_lines(found.pair, subset)]
    lines.append(f"The items of {subset}, or what is true of them, changed too: the metrics are about different items.")
    before, now = (entry.scores for entry in found.pair.entries)
    rows = [
        (metric, readable_number(before[metric].value), readable_number(score.value))
        for metric, score in now.items()
        if metric in before
    ]
    return [*lines, *text_table(("metric", "before", "now"), rows)]
