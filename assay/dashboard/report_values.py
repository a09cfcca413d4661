"""How a report shows values of any kind: names with values, tables, and texts that somebody else wrote.

Belongs here: from plain values to elements, whatever version they are of. Does not belong here: which values are shown
(``assay.dashboard.report_sections``).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from assay.errors import printable
from assay.utils.html import Element, element
from assay.utils.text import pluralize, readable_number

MOST_ROWS = 40
"""Rows of a table that are shown; the files have all of them."""

MOST_CHARACTERS = 2000
"""Of a text that somebody wrote."""


def note(text: str) -> Element:
    """Return a sentence that stands out: what is missing or in doubt, and what to do."""
    return element("p", shown_text(text), class_="note")


def folded(title: str, content: Element) -> Element:
    """Return content that a click on its title shows."""
    return element("details", element("summary", title), content)


def fact_list(values: Mapping[str, Any]) -> Element:
    """Return names with values; those that are unknown are left out."""
    shown = [(name, value) for name, value in values.items() if value not in (None, "", [], {})]
    pairs = [element("div", element("dt", shown_text(name)), element("dd", value_text(value))) for name, value in shown]
    return element("dl", *pairs)


def grid(heads: Sequence[str], rows: Sequence[Sequence[Any]], kind: str = "numbers", total: int = 0) -> Element:
    """Return a table of at most ``MOST_ROWS`` rows; elements are shown as they are, other values as text.

    Args:
        heads: One per column.
        rows: Their cells.
        kind: ``prose`` for cells with sentences, which are wrapped.
        total: Number of rows, where not all of them are given.
    """
    kinds = ["number" if _is_number(value) else "text" for value in (rows[0] if rows else heads)]
    names = [element("th", shown_text(name), scope="col", class_=each) for name, each in zip(heads, kinds, strict=True)]
    body = element("tbody", *(element("tr", *map(_cell, row)) for row in rows[:MOST_ROWS]))
    table = element("div", element("table", element("thead", element("tr", *names)), body), class_=f"wide {kind}")
    more = max(total, len(rows)) - MOST_ROWS
    if more <= 0:
        return table
    return element("div", table, element("p", f"… and {pluralize(more, 'more row')}", class_="faint"))


def _cell(value: Any) -> Element:
    content = value if isinstance(value, Element) else value_text(value)
    return element("td", content, class_="number" if _is_number(value) else "text")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def value_text(value: Any) -> str:
    """Return any plain value as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return readable_number(value)
    if isinstance(value, Mapping):
        return ", ".join(
            f"{shown_text(str(name))} {value_text(each)}" for name, each in list(value.items())[:MOST_ROWS]
        )
    if isinstance(value, list | tuple):
        more = f" and {len(value) - MOST_ROWS:,} more" if len(value) > MOST_ROWS else ""
        return ", ".join(map(value_text, value[:MOST_ROWS])) + more
    return shown_text(str(value))


def shown_text(text: object, most: int = MOST_CHARACTERS) -> str:
    """Return a text of somebody else without characters that act on what stands around them, and not too long."""
    shown = printable(str(text))
    return shown if len(shown) <= most else f"{shown[:most]}… ({len(shown):,} characters)"


def as_mapping(value: Any) -> Mapping[str, Any]:
    """Return a mapping as it is, and nothing in place of anything else: records may be of any version."""
    return value if isinstance(value, Mapping) else {}


def as_list(value: Any) -> Sequence[Any]:
    """Return a list as it is, and nothing in place of anything else, like ``as_mapping``."""
    return value if isinstance(value, list | tuple) else ()


def heading_of(name: str) -> str:
    """Return the name of a column or key as people write it."""
    words = re.sub(r"\biou\b", "IoU", name.replace("_", " "))
    return words[:1].upper() + words[1:]


def count_with_share(count: Any, share: Any) -> str:
    """Return a number of items, and its share in percent if that is known."""
    return f"{value_text(count)} ({100 * share:.1f}%)" if isinstance(share, int | float) else value_text(count)


def is_span(value: Any) -> bool:
    """Return whether a value has a smallest and a largest number."""
    return isinstance(value, Mapping) and {"min", "max"} <= value.keys()


def span_text(value: Any) -> str:
    """Return the range of a number, and its middle."""
    if not is_span(value):
        return "–"
    if value["min"] == value["max"]:
        return value_text(value["min"])
    middle = next((f", {name} {value_text(value[name])}" for name in ("median", "mean") if name in value), "")
    return f"{value_text(value['min'])} to {value_text(value['max'])}{middle}"
