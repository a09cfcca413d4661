"""Messy and hostile tables and class folders: read with the right values, or refused in one sentence.

Each seed makes a table or folders whose right values are known, spoils them in one of many ways, and reads them. What
is wrong: another exception than an error for users, values that are not the right ones, numbers as categories without a
word, or a subset's name as a class.

    python -m tests.campaigns.tables --seed 0 --count 2000
"""

import math
import random
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from assay.datasets.fingerprints import source_digest
from assay.datasets.table import build_table
from assay.errors import AssayError
from assay.spec.generated_images import TableSource
from tests.campaigns.campaign import Tried, command
from tests.campaigns.class_folders import FOLDERS, about_message, try_folder

Value = float | str | None
Table = dict[str, list[Value]]

GAPS = ("?", "N/A", "None", "-", "#N/A", "missing", "--", "unknown", "null ", "\u2014", "<NA>")


@dataclass
class Case:
    """A file, how it is read, and what is right.

    Attributes:
        content: The file's bytes.
        right: The right values by column; None: whatever is read, without numbers as categories.
        keys: Keys of the source.
        must: ``read`` or ``refused`` where only one of them is right; empty where both are.
        name: Name of the file.
    """

    content: bytes
    right: Table | None
    keys: dict[str, Any] = field(default_factory=dict)
    must: str = ""
    name: str = "data.csv"


def truth(rng: random.Random) -> Table:
    """Return a table of whole numbers, decimals, categories and a target."""
    rows = rng.randint(6, 40)
    return {
        "count": [rng.randint(-2000, 99_999) for _ in range(rows)],
        "size": [rng.randint(-10_000, 3_000_000) / 100 + 0.25 for _ in range(rows)],
        "color": [rng.choice(["red", "blue", "dark green"]) for _ in range(rows)],
        "y": [rng.randint(0, 500) / 4 + 0.125 for _ in range(rows)],
    }


def plain(value: Value) -> str:
    return "" if value is None else str(value)


def as_csv(table: Mapping[str, Sequence[Value]], delimiter: str = ",", write: Callable[[Value], str] = plain) -> str:
    """Return a table as CSV; values that hold the delimiter are quoted."""

    def cell(text: str) -> str:
        return f'"{text}"' if delimiter in text or "\n" in text else text

    lines = [
        delimiter.join(map(cell, table)),
        *(delimiter.join(cell(write(v)) for v in row) for row in zip(*table.values(), strict=True)),
    ]
    return "\n".join(lines) + "\n"


def with_marks(decimal: str, thousands: str) -> Callable[[Value], str]:
    """Return a function that writes numbers with these signs."""

    def write(value: Value) -> str:
        if not isinstance(value, (int, float)):
            return plain(value)
        return f"{value:,}".replace(",", "\0").replace(".", decimal).replace("\0", thousands)

    return write


def only_numbers(write: Callable[[float], str]) -> Callable[[Value], str]:
    return lambda value: write(value) if isinstance(value, (int, float)) else plain(value)


def unchanged(rng: random.Random) -> Case:
    ends = rng.choice(["\n", "\r\n", "\r"])
    return Case(as_csv(table := truth(rng)).replace("\n", ends).encode(), table, must="read")


def other_marks(rng: random.Random) -> Case:
    decimal, thousands = rng.choice([(",", "."), (",", ""), (",", " "), (".", ","), (".", "'"), (",", "\u202f")])
    table, delimiter = truth(rng), rng.choice(",;\t")
    keys = {
        "decimal": decimal,
        "delimiter": delimiter,
        "thousands": " " if thousands == "\u202f" else thousands or None,
    }
    given = rng.random() < 0.5
    text = as_csv(table, delimiter, with_marks(decimal, thousands))
    return Case(text.encode(), table, keys if given else {"delimiter": delimiter}, "read" if given else "")


def wrong_marks(rng: random.Random) -> Case:
    table = truth(rng)
    text = as_csv(table, ";", with_marks(*rng.choice([(",", "."), (".", ","), (",", " ")])))
    keys = {"delimiter": ";", "decimal": rng.choice(".,"), "thousands": rng.choice([None, " ", "'", ",", "."])}
    return Case(text.encode(), table, {**keys, **({"thousands": None} if keys["decimal"] == keys["thousands"] else {})})


def gaps(rng: random.Random) -> Case:
    table, gap, given = truth(rng), rng.choice(GAPS), rng.random() < 0.5
    name = rng.choice(["count", "size"])
    for row in rng.sample(range(len(table["y"])), rng.randint(1, 3)):
        table[name][row] = None
    text = as_csv(table, write=lambda value: gap if value is None else plain(value))
    keys = {"null_values": [gap, gap.strip()]} if given else {}
    return Case(text.encode(), table, keys, "read" if given or gap == "null " else "refused")


def empty_cells(rng: random.Random) -> Case:
    table, gap = truth(rng), rng.choice(["", " ", "NA", "NaN", "nan", "null", "  NA"])
    table["size"][rng.randrange(len(table["y"]))] = None
    text = as_csv(table, write=lambda value: gap if value is None else plain(value))
    return Case(text.encode(), table, must="read")


def encodings(rng: random.Random) -> Case:
    encoding = rng.choice(["utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be", "cp1252", "latin-1", "cp437"])
    table, given = truth(rng), rng.random() < 0.5
    table["color"] = [rng.choice(["größe", "naïve", "café"]) for _ in table["y"]]
    marked = encoding in ("utf-8-sig", "utf-16", "utf-32")
    return Case(
        as_csv(table).encode(encoding),
        table,
        {"encoding": encoding} if given else {},
        "read" if given or marked else "refused",
    )


def delimiters(rng: random.Random) -> Case:
    table, delimiter, given = truth(rng), rng.choice(";\t|"), rng.random() < 0.5
    text = as_csv(table, delimiter).encode()
    return Case(text, table, {"delimiter": delimiter} if given else {}, "read" if given else "refused")


def signs(rng: random.Random) -> Case:
    minus, space = rng.choice("-\u2212\u2013\uff0d"), rng.choice(["", " ", "\u00a0", "  "])

    def write(value: float) -> str:
        return f"{space}{minus if value < 0 else rng.choice(['', '+'])}{abs(value)}{rng.choice(['', space])}"

    return Case(as_csv(table := truth(rng), ";", only_numbers(write)).encode(), table, {"delimiter": ";"}, "read")


def units(rng: random.Random) -> Case:
    before, after = rng.choice(
        [("", "%"), ("", " %"), ("$", ""), ("", " €"), ("EUR ", ""), ("", " kg"), ("", "mm"), ("~", "")]
    )
    table = truth(rng)
    return Case(
        as_csv(table, ";", only_numbers(lambda v: f"{before}{v}{after}")).encode(), table, {"delimiter": ";"}, "refused"
    )


def hexadecimal(rng: random.Random) -> Case:
    table = truth(rng)
    table["count"] = [f"0x{abs(int(value)):X}" for value in table["count"]]
    return Case(as_csv(table).encode(), table, must="refused")


def one_spoiled_cell(rng: random.Random) -> Case:
    table, text = (
        truth(rng),
        rng.choice(["O", "1O5", "l23", "#WERT!", "12.5.3", "see note", "1/2", "5 or 6", "\x1a", "1e", "++5"]),
    )
    table[rng.choice(["count", "size", "y"])][rng.randrange(len(table["y"]))] = text
    return Case(as_csv(table).encode(), table, must="refused")


def long_ids(rng: random.Random) -> Case:
    table, digits, given = truth(rng), rng.choice([20, 25, 38, 39, 60]), rng.random() < 0.5
    table["id"] = [str(rng.randrange(10 ** (digits - 1), 10**digits)) for _ in table["y"]]
    return Case(
        as_csv(table).encode(), table, {"text_columns": ["id"]} if given else {}, "read" if given else "refused"
    )


def index_column(rng: random.Random) -> Case:
    table, start, step = truth(rng), rng.choice([0, 1, 7]), rng.choice([1, 1, 2])
    index = {"": [start + step * row for row in range(len(table["y"]))]}
    text = as_csv({**index, **table} if rng.random() < 0.7 else {**table, **index})
    given = rng.random() < 0.3
    right = "read" if given or (start < 2 and step == 1) else "refused"
    return Case(text.encode(), table, {"ignore_columns": [""]} if given else {}, right)


def nameless(rng: random.Random) -> Case:
    lines = as_csv(table := truth(rng)).splitlines()
    extra = rng.choice([",", ",,", ",7", ", "])
    body = [line + extra for line in lines[1:]]
    header = lines[0] + "," * extra.count(",")
    return Case("\n".join([header, *body]).encode(), table, must="refused" if "7" in extra else "read")


def odd_names(rng: random.Random) -> Case:
    table, name = (
        truth(rng),
        rng.choice(
            [
                "größe",
                "a b",
                'sa"id',
                "line\nbreak",
                "item",
                "Subset",
                "COUNT",
                "y ",
                "\u202e",
                "𝓍",
                "a" * 3000,
                "-",
                "?",
            ]
        ),
    )
    renamed = {name if old == "size" else old: values for old, values in table.items()}
    header, _, body = as_csv(table).partition("\n")
    quoted = name.replace('"', '""')
    return Case(f"{header.replace('size', f'{chr(34)}{quoted}{chr(34)}')}\n{body}".encode(), renamed)


def ragged(rng: random.Random) -> Case:
    lines = as_csv(table := truth(rng)).splitlines()
    row = rng.randrange(1, len(lines))
    lines[row] += ",7"
    return Case("\n".join(lines).encode(), table, must="refused")


def short_rows(rng: random.Random) -> Case:
    lines = as_csv(table := truth(rng)).splitlines()
    row = rng.randrange(1, len(lines))
    lines[row] = lines[row].rpartition(",")[0]
    return Case("\n".join(lines).encode(), table, must="refused")


def quotes(rng: random.Random) -> Case:
    lines = as_csv(table := truth(rng)).splitlines()
    row = rng.randrange(1, len(lines))
    lines[row] = (
        lines[row].replace(rng.choice(["red", "blue", "dark"]), '"red', 1) if rng.random() < 0.5 else f'"{lines[row]}'
    )
    return Case(
        "\n".join(lines).encode(), None if '"' not in lines[row] else table, must="refused" if '"' in lines[row] else ""
    )


def damaged(rng: random.Random) -> Case:
    content = bytearray(as_csv(truth(rng)).encode())
    for _ in range(rng.randint(1, 12)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    return Case(bytes(content[: rng.randint(1, len(content))]), None)


def something_else(rng: random.Random) -> Case:
    start = rng.choice(
        [b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"PAR1", b"\x1f\x8b", b"%PDF-1.4", b"\x89PNG\r\n\x1a\n", b"\0\0"]
    )
    return Case(start + rng.randbytes(rng.randint(0, 5000)), None, must="refused")


def nothing(rng: random.Random) -> Case:
    return Case(
        rng.choice([b"", b"\n", b"\n\n\n", b"count,size,color,y\n", b"\xff\xfe", b"\xef\xbb\xbf", b",,,\n", b'"']),
        None,
        must="refused",
    )


def repeated(rng: random.Random) -> Case:
    table = truth(rng)
    header, _, body = as_csv(table).partition("\n")
    return Case(f"{header.replace('size', 'count')}\n{body}".encode(), table, must="refused")


def preamble(rng: random.Random) -> Case:
    line = rng.choice(["# exported", "sep=,", "Report of today", "sep=;"])
    return Case(f"{line}\n{as_csv(table := truth(rng))}".encode(), table, must="refused")


ODD_TYPES: dict[str, Callable[[int], pl.Series]] = {
    "duration": lambda n: pl.Series(range(n), dtype=pl.Duration("us")),
    "date": lambda n: pl.Series(range(n), dtype=pl.Int32).cast(pl.Date),
    "datetime": lambda n: pl.Series(range(n), dtype=pl.Int64).cast(pl.Datetime("ms", "UTC")),
    "time": lambda n: pl.Series(range(n), dtype=pl.Int64).cast(pl.Time),
    "int128": lambda n: pl.Series([2**100 + k for k in range(n)], dtype=pl.Int128),
    "nested": lambda n: pl.Series([[k] for k in range(n)]),
    "struct": lambda n: pl.Series([{"a": k} for k in range(n)]),
    "binary": lambda n: pl.Series([bytes([k % 256]) for k in range(n)]),
    "nulls": lambda n: pl.Series([None] * n),
    "numbers as categories": lambda n: pl.Series([str(k) for k in range(n)], dtype=pl.Categorical),
    "numbers as texts": lambda n: pl.Series([f"{k},5" for k in range(n)]),
}


def parquet_types(rng: random.Random) -> Case:
    table, kind, given = truth(rng), rng.choice([*ODD_TYPES]), rng.random() < 0.3
    frame = pl.DataFrame(table, strict=False).with_columns(ODD_TYPES[kind](len(table["y"])).alias("odd"))
    return Case(
        to_parquet(frame),
        table,
        {"ignore_columns": ["odd"]} if given else {},
        "read" if given else "refused",
        "data.parquet",
    )


def parquet_damaged(rng: random.Random) -> Case:
    content = bytearray(to_parquet(pl.DataFrame(truth(rng), strict=False)))
    for _ in range(rng.randint(1, 6)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    whole = rng.random() < 0.7
    return Case(bytes(content if whole else content[: rng.randrange(len(content))]), None, name="data.parquet")


def to_parquet(frame: pl.DataFrame) -> bytes:
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        frame.write_parquet(file.name)
        return Path(file.name).read_bytes()


def many_columns(rng: random.Random) -> Case:
    """Work that grows with the square of the number of columns would miss the deadline."""
    table: Table = {f"c{number}": [number, number + 1] for number in range(rng.randint(2000, 4000))}
    return Case(as_csv({**table, "y": [1, 2]}).encode(), {**table, "y": [1, 2]}, must="read")


TABLES = (
    *(unchanged, other_marks, wrong_marks, gaps, empty_cells, encodings, delimiters, signs, units, hexadecimal),
    *(
        one_spoiled_cell,
        long_ids,
        index_column,
        nameless,
        odd_names,
        ragged,
        short_rows,
        quotes,
        damaged,
        something_else,
    ),
    *(nothing, repeated, preamble, many_columns, parquet_types, parquet_damaged),
)


def try_table(case: Case, folder: Path) -> str:
    """Return what is wrong with how a table is read; empty if nothing is."""
    path, result = folder / case.name, folder / "result"
    path.write_bytes(case.content)
    result.mkdir()
    source = TableSource(path=str(path), target_column="y", **case.keys)
    try:
        source_digest(source)
        build_table(source, 0, result)
        rows = pl.read_parquet(result / "rows.parquet").drop("item")
        missing = [name for name in rows.columns if rows[name].null_count()]
    except AssayError as error:
        return about_message(str(error), case.must)
    if case.must == "refused" and not missing:  # what is missing is refused where columns are scaled
        return f"was read: {rows.head(2)}"
    kept = set(case.keys.get("text_columns", ()))
    texts = [name for name, kind in rows.schema.items() if not kind.is_numeric() and name not in kept]
    categories = [name for name in texts if mostly_numbers(rows[name].cast(pl.String).drop_nulls().to_list())]
    if categories:
        return f"numbers as categories: {categories}"
    return difference(rows, case.right) if case.right and case.must != "refused" else ""


def mostly_numbers(texts: Sequence[str]) -> bool:
    """Return whether most texts are numbers; independent of the code under test."""
    return 2 * sum(map(is_number, texts)) > len(texts)


def is_number(text: str) -> bool:
    bare = re.sub(r"[\s$€%+'_]", "", text).replace("\u2212", "-")
    return bool(re.fullmatch(r"-?\d+([.,]\d+)?|-?\d{1,3}([.,]\d{3})+([.,]\d+)?", bare))


def difference(rows: pl.DataFrame, right: Table) -> str:
    """Return how the values that were read differ from the right ones."""
    if rows.columns != list(right):
        return f"columns {rows.columns}, right are {list(right)}"
    for name, values in right.items():
        for row, (read, true) in enumerate(zip(rows[name].to_list(), values, strict=True)):
            same = (
                math.isclose(read, true) if isinstance(read, float) and isinstance(true, (int, float)) else read == true
            )
            if not same:
                return f"column {name}, row {row + 1}: read {read!r}, right is {true!r}"
    return ""


def attempt(seed: int) -> Tried:
    """Make, spoil and read the table or the folders of a seed."""
    rng = random.Random(seed)
    make = rng.choice([*TABLES, *FOLDERS])
    with tempfile.TemporaryDirectory() as name:
        problem = try_table(make(rng), Path(name)) if make in TABLES else try_folder(make, rng, Path(name))
    return Tried(make.__name__.replace("_", " "), problem)


if __name__ == "__main__":
    command(attempt, count=500)
