"""Text: natural sorting, numbers for people, plain tables for the terminal, users' texts in Markdown, canonical JSON.

``text_table`` is our own because rich wraps at 80 columns and interprets ``[red]`` as markup when output is piped.
"""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from assay.errors import one_line

GAP = "  "

UNITS = ("bytes", "kB", "MB", "GB", "TB")


def natural_sort_key(name: str) -> list[tuple[bool, int, str]]:
    """Return a sort key that puts "10" after "9", and numbers before words."""
    parts = [part for part in re.split(r"(\d+)", name) if part]
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def rounded(value: float) -> float:
    """Return a number as people read it: to four digits, or to a whole number where that has more."""
    if not math.isfinite(value):
        return value
    return float(f"{value:.4g}") if abs(value) < 1000 else float(round(value))


def readable_number(value: float | None) -> str:
    """Return a number with about four digits, without an exponent below ten million; ``not defined`` for None."""
    if value is None:
        return "not defined"
    if 0.001 <= abs(value) < 10 or value == 0:
        return f"{value:.3f}"
    short = f"{value:.4g}"
    return f"{float(short):.0f}" if 1e4 <= abs(value) < 1e7 else short


def pluralize(count: int, noun: str, plural: str = "") -> str:
    """Return a count with what it counts: ``1 item``, ``1,200 images``, ``1 class``.

    Args:
        count: The count.
        noun: What one is called; a verb may follow, such as ``group is``.
        plural: What several are called, such as ``groups are``; ``noun`` with an s if not given.
    """
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def readable_size(size_bytes: int) -> str:
    """Return a size as people read it: ``312 bytes``, ``4.1 kB``, ``26 MB``."""
    size, unit = float(size_bytes), 0
    while size >= 999.5 and unit < len(UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.{1 if unit and size < 9.95 else 0}f} {UNITS[unit]}"


def duration(seconds: float) -> str:
    """Return a duration as text, such as ``45 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def readable_seconds(seconds: float) -> str:
    """Return what something took as text: like ``duration``, but with tenths of the first ten seconds."""
    return f"{seconds:.1f} s" if seconds < 9.95 else duration(seconds)


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[str] = frozenset()) -> list[str]:
    """Return the lines of a table with aligned columns; no cell is wrapped or cut.

    Args:
        header: Names of the columns.
        rows: Cells of each row; line breaks and control characters in them are shown as escapes.
        right: Names of the columns to align to the right, such as numbers.
    """
    table = [[one_line(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    return [
        GAP.join(
            _aligned(cell, width, name in right) for cell, width, name in zip(row, widths, header, strict=True)
        ).rstrip()
        for row in table
    ]


def _aligned(cell: str, width: int, right: bool) -> str:
    return cell.rjust(width) if right else cell.ljust(width)


_MARKDOWN = re.compile(
    r"""
    [`|~]                               # code, tables, strikethrough
    | \\(?=[!-/:-@\[-`{-~]|$)            # escapes, line breaks
    | \*(?=\S) | (?<=\S)\*              # emphasis; within a word, * means something but _ does not
    | (?<![^\W_])_ | _(?![^\W_])
    | \](?=[(\[:])                       # links and images
    | <(?=\S)                           # HTML, addresses
    | &(?=\#?\w+;)                      # entities
    | ^[=>\#] | ^[-+*:](?=[-+*:\s]|$)      # lists, headings, quotations, at the beginning of a line
    """,
    re.VERBOSE | re.MULTILINE,
)
"""What can mean something in Markdown; numbers, intervals and names of files are left as they are."""

_NUMBERED = re.compile(r"^(\d{1,9})([.)])(?=\s|$)", re.MULTILINE)
"""The beginning of a numbered list."""


def escape_markdown(text: str) -> str:
    """Return text that Markdown shows as it is, and that is still readable where Markdown is not interpreted."""
    lines = (line.strip() for line in text.splitlines())
    return _NUMBERED.sub(r"\1\\\2", _MARKDOWN.sub(r"\\\g<0>", "\n".join(lines)))


def plain_markdown(text: str) -> str:
    """Return the text that ``escape_markdown`` was given, for places where Markdown is not interpreted."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)


def code_block(text: str, language: str = "") -> str:
    """Return text as a block of code in Markdown; no line of it can end the block."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.removesuffix(chr(10))}\n{fence}"


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and without spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
