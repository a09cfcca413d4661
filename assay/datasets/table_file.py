"""From the user's CSV or Parquet file to a frame, with one sentence for every file that is none.

Belongs here: encodings, delimiters, headers, rows of the wrong length, columns without a name. Does not belong here:
what the columns are used for (``table``), which texts are numbers (``number_texts``).
"""

import codecs
import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from assay.datasets.inspection import existing_path
from assay.datasets.number_texts import as_numbers
from assay.errors import DataError, FileError
from assay.spec.generated_images import TableSource
from assay.utils.reading import MOST_BYTES, open_regular, read_bytes
from assay.utils.text import pluralize

MOST_COLUMNS = 50_000
"""More columns than this are no table, but a table on its side."""

MOST_CELLS = 2**31
"""More cells than this fit into no memory, although a Parquet file of some kilobytes may promise them."""

_MOST_CSV_BYTES = 2**40

_CHUNK = 2**20

_DELIMITERS = {";": "';'", "\t": '"\\t"', "|": "'|'", ",": "','", " ": "' '"}
"""How to write each in YAML."""

_STARTS = (
    (b"PK\x03\x04", "an Excel workbook or another ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"PAR1", "a Parquet file; name it .parquet"),
    (b"\x1f\x8b", "a gzip archive; unpack it"),
    (b"BZh", "a bzip2 archive; unpack it"),
    (b"\xfd7zXZ", "an xz archive; unpack it"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive; unpack it"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"SQLite format 3", "an SQLite database"),
    (b"{\\rtf", "a text with formats (RTF)"),
    (b"<!DOCTYPE", "a web page"),
    (b"<html", "a web page"),
    (b"<?xml", "XML"),
)
"""How files begin that people call .csv."""

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_MOST_SHOWN = 80

POLARS_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""What Polars raises on files that are damaged or crafted."""


def read_table(path: Path, source: TableSource) -> tuple[pl.DataFrame, list[str]]:
    """Return the user's table, and what a person should know of how it was read.

    Texts that are all numbers become numbers; columns without a name are left out where they only count the rows or
    are empty.

    Raises:
        DataError: The file is no table that can be read: why, and what to do.
        FileError: It is no regular file, or can't be read.
    """
    try:
        frame, notes = _read_csv(path, source) if source.is_csv else (_read_parquet(path, source), [])
    except FileNotFoundError:
        raise DataError(f"source.path {source.path!r} is gone since it was found; run again.") from None
    except _UnreadableError as error:
        raise DataError(f"source.path {source.path!r} can't be read as {path.suffix[1:]}: {error}") from error
    except OSError as error:
        raise DataError(f"source.path {source.path!r} can't be read: {error.strerror or error}.") from error
    if frame.is_empty():
        raise DataError(f"source.path {source.path!r} holds no row.")
    return frame, [*notes, *_index_notes(frame, source)]


def lines_are_rows(source: TableSource, rows: int) -> bool:
    """Return whether each row of a table is one line of its file, so that row 0 is line 2.

    Args:
        source: The table.
        rows: Number of rows that were read.
    """
    if not source.is_csv:
        return False
    try:
        lines = _read_text(existing_path(source.path, want_folder=False), source).lines
    except (_UnreadableError, DataError, FileError, OSError):  # it is another file by now
        return False
    return lines in (rows, rows + 1)  # the last line may end, or not


class _UnreadableError(Exception):
    """Why a file is no table."""


@contextmanager
def _as_unreadable() -> Iterator[None]:
    try:
        yield
    except (OSError, *POLARS_ERRORS) as error:
        raise _UnreadableError(str(error).splitlines()[0] if str(error) else type(error).__name__) from error


def _read_parquet(path: Path, source: TableSource) -> pl.DataFrame:
    with open_regular(path) as file:
        start = file.read(16)
    if start[:4] != b"PAR1":
        kind = _kind_of(start)
        raise _UnreadableError(f"it is {kind}" if kind else "it does not begin as Parquet does; name a CSV file .csv")
    with _as_unreadable():
        lazy = pl.scan_parquet(path, glob=False)
        columns = len(lazy.collect_schema())
        if columns > MOST_COLUMNS:
            raise _UnreadableError(_too_many(columns))
        rows = int(lazy.select(pl.len()).collect().item())
        if rows * columns > MOST_CELLS:
            raise _UnreadableError(
                f"it has {pluralize(rows, 'row')} of {pluralize(columns, 'column')}; expected at most "
                f"{MOST_CELLS:,} cells"
            )
        frame = lazy.collect()
    schema = frame.schema
    texts = [name for name in source.text_columns if name in schema and not schema[name].is_nested()]
    return frame.with_columns(pl.col(texts).cast(pl.String, strict=False)) if texts else frame


def _kind_of(start: bytes) -> str:
    """Return what the first bytes of a file, four or more, are those of; empty if they may be text."""
    return next((kind for mark, kind in _STARTS if start.startswith(mark)), "")


def _too_many(columns: int) -> str:
    return f"it has {columns:,} columns, expected at most {MOST_COLUMNS:,}; are rows and columns swapped?"


@dataclass(frozen=True)
class _Text:
    """The text of a CSV file.

    Attributes:
        content: The file, if it is UTF-8, else its content converted to UTF-8.
        lines: Number of line breaks.
        quotes: Number of quotes.
    """

    content: Path | bytes
    lines: int
    quotes: int

    @contextmanager
    def open(self) -> Iterator[io.TextIOBase]:
        """Open it as text; ends of lines stay as they are."""
        if isinstance(self.content, bytes):
            yield io.StringIO(self.content.decode(), newline="")
        else:
            with self.content.open(encoding="utf-8-sig", newline="") as file:
                yield file


def _read_csv(path: Path, source: TableSource) -> tuple[pl.DataFrame, list[str]]:
    text = _read_text(path, source)
    names = _header(text, source)
    overrides = {name: pl.String for name in source.text_columns if name in names}
    is_plain = source.decimal == "." and source.thousands is None
    empty_is_text = source.use.are_labels(source.target_column) and "" not in source.null_values
    read = partial(
        pl.read_csv,
        text.content,
        separator=source.delimiter,
        null_values=list(source.null_values),
        empty_string_is_null=not empty_is_text,
        glob=False,
    )
    try:
        frame = read(infer_schema_length=None if is_plain else 0, schema_overrides=overrides or None)
    except POLARS_ERRORS as error:
        if problem := _shape_problem(text, source, len(names)):
            raise _UnreadableError(problem) from error
        with _as_unreadable():  # numbers of more digits than Polars has types for
            frame = read(infer_schema=False)
        is_plain = False
    if text.quotes % 2 and len(frame) < text.lines - 1:
        raise _UnreadableError(_UNCLOSED)
    if len(names) == len(frame.columns):  # Polars keeps the doubled quotes of quoted names
        frame = frame.rename({old: new for old, new in zip(frame.columns, names, strict=True) if new.strip()})
    if empty_is_text:  # of labels only
        others = [name for name, kind in frame.schema.items() if kind == pl.String and name != source.target_column]
        frame = frame.with_columns(pl.col(others).replace("", None))
    frame, notes = _without_nameless(frame, names, source)
    notes += [
        *_line_break_notes(frame),
        *(_thousands_notes(frame, read) if is_plain and source.delimiter != "," else []),
    ]
    frame = _typed(frame, source, all_texts=not is_plain)
    return frame, notes + _leading_zero_notes(frame, source, read)


def _read_text(path: Path, source: TableSource) -> _Text:
    """Return the text of a file; only what is not UTF-8 is held in memory.

    Raises:
        _UnreadableError: It is no text, or in another encoding than the source says.
    """
    lines = quotes = done = 0
    decoder = codecs.getincrementaldecoder("utf-8")()
    with open_regular(path) as file:
        start = chunk = file.read(_CHUNK)
        if kind := _kind_of(start):
            raise _UnreadableError(f"it is {kind}, expected text; save it as CSV in UTF-8")
        encoding = source.encoding or next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8")
        if codecs.lookup(encoding).name not in ("utf-8", "utf-8-sig"):
            return _converted(path, encoding)
        if b"\0" in start:
            raise _UnreadableError(_about_nul(start))
        while chunk:
            lines, quotes = lines + chunk.count(b"\n"), quotes + chunk.count(b'"')
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                raise _UnreadableError(
                    f"it is no UTF-8 text (byte 0x{error.object[error.start]:02x} near byte {done + error.start:,}); "
                    "a file that Excel wrote on Windows is read with source.encoding: cp1252"
                    f"{_delimiter_too(start, source)}"
                ) from error
            done += len(chunk)
            chunk = file.read(_CHUNK)
    if not lines and b"\r" in start:
        return _text_of(read_bytes(path, _MOST_CSV_BYTES).decode("utf-8-sig"))
    return _Text(path, lines, quotes)


def _delimiter_too(start: bytes, source: TableSource) -> str:
    """Return what to add about the delimiter, so that a spreadsheet is refused once for both."""
    line = start.splitlines()[0].decode("cp1252", errors="replace")
    other = _other_delimiter(line.split(source.delimiter), source)
    return f", and looks separated by {_DELIMITERS[other]}: source.delimiter: {_DELIMITERS[other]}" if other else ""


def _converted(path: Path, encoding: str) -> _Text:
    content = read_bytes(path, _MOST_CSV_BYTES)
    try:
        text = content.decode(encoding)
    except UnicodeError as error:
        raise _UnreadableError(f"it is no text in {encoding}: {error}") from error
    if "\0" in text:
        raise _UnreadableError(f"as text in {encoding} it holds NUL characters; is that its encoding?")
    return _text_of(text.removeprefix("\ufeff"))


def _text_of(text: str) -> _Text:
    """Return a text in memory; lines may end in CR alone, as old Macs wrote."""
    content = (text if "\n" in text else text.replace("\r", "\n")).encode()
    return _Text(content, content.count(b"\n"), content.count(b'"'))


def _about_nul(start: bytes) -> str:
    for encoding, zeros in (("utf-16-le", start[1::2]), ("utf-16-be", start[::2])):
        if zeros.count(0) > len(zeros) // 2:
            return f"it holds NUL bytes and looks like UTF-16: set source.encoding: {encoding}"
    return f"it holds NUL bytes, the first at byte {start.index(0):,}: it is binary or damaged, expected text"


def _header(text: _Text, source: TableSource) -> list[str]:
    """Return the names of the columns as the file has them, empty ones too; Polars would rename equal ones silently."""
    with text.open() as file:
        try:
            names = next(csv.reader(_bounded_lines(file), delimiter=source.delimiter), [])
        except csv.Error as error:
            raise _UnreadableError(f"line 1: {error}; is a quote not closed?") from error
    if not names:
        raise _UnreadableError("it is empty, or its first line is; expected the names of the columns there")
    if len(names) > MOST_COLUMNS:
        raise _UnreadableError(_too_many(len(names)))
    if names[0].startswith("#") and len(names) == 1:
        raise _UnreadableError(f"its first line is {names[0][:_MOST_SHOWN]!r}, a comment; delete it: names come first")
    if names[0].lower().startswith("sep="):
        raise _UnreadableError(f"its first line is {names[0]!r}, which only Excel understands; delete it")
    if other := _other_delimiter(names, source):
        raise _UnreadableError(
            f"its header looks separated by {_DELIMITERS[other]}: set source.delimiter: {_DELIMITERS[other]}"
        )
    counts = Counter(name for name in names if name.strip())
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        raise _UnreadableError(f"column {', '.join(map(repr, twice[:5]))} is given twice; rename one")
    return names


def _bounded_lines(file: io.TextIOBase) -> Iterator[str]:
    while line := file.readline(MOST_BYTES):
        yield line


def _other_delimiter(names: list[str], source: TableSource) -> str | None:
    """Return what separates the header, if it is not the source's delimiter."""
    if source.target_column in names:
        return None
    line = source.delimiter.join(names)
    for other in _DELIMITERS:
        parts = [part.strip(' "') for part in line.split(other)]
        is_split = len(names) == 1 and len(parts) > 1
        if other == " ":  # a name may hold spaces
            is_meant = is_split and source.target_column in parts
        else:
            is_meant = is_split or source.target_column in parts
        if is_meant and other != source.delimiter:
            return other
    return None


_UNCLOSED = "a quote is not closed, so that lines run together"


def _shape_problem(text: _Text, source: TableSource, expected: int) -> str | None:
    """Return which line has too many values, or a quote too many; None if none has."""
    with text.open() as file:
        if text.quotes % 2:
            odd = next((number for number, line in enumerate(_bounded_lines(file), 1) if line.count('"') % 2), 0)
            return f"{_UNCLOSED}: look at line {odd}"
        reader = csv.reader(_bounded_lines(file), delimiter=source.delimiter)
        try:
            for row in reader:
                if len(row) > expected:
                    lacking = "; does the header lack the name of a column?" if len(row) == expected + 1 else ""
                    return (
                        f"line {reader.line_num} has {pluralize(len(row), 'value')}, but the header names "
                        f"{expected}{lacking}"
                    )
        except csv.Error as error:
            return f"line {reader.line_num}: {error}"
    return None


def _without_nameless(frame: pl.DataFrame, names: list[str], source: TableSource) -> tuple[pl.DataFrame, list[str]]:
    """Leave out columns without a name that are empty or count the rows, and say so; refuse others."""
    blank = [place for place, name in enumerate(names) if not name.strip()]
    if "" in source.ignore_columns:
        return (frame if len(blank) == 1 else frame.drop([frame.columns[place] for place in blank])), []
    notes, left_out = [], []
    for place in blank:
        name = frame.columns[place]
        if _is_empty(frame[name]):
            reason = "is empty"
        elif _counts_rows(frame[name]):
            reason = "only counts the rows, as pandas writes its index"
        else:
            raise _UnreadableError(
                f"column {place + 1} has no name; give it one in the header, or leave all such columns out with "
                "source.ignore_columns: ['']"
            )
        left_out.append(name)
        notes.append(f"column {place + 1} has no name and {reason}; it is left out (source.ignore_columns: [''])")
    return frame.drop(left_out), notes


def _is_empty(column: pl.Series) -> bool:
    present = column.drop_nulls()
    return present.is_empty() or (present.dtype == pl.String and bool((present.str.strip_chars() == "").all()))


def _counts_rows(column: pl.Series) -> bool:
    """Return whether a column is 0, 1, 2 and so on, or 1, 2, 3."""
    if not (column.dtype.is_integer() or column.dtype == pl.String) or not len(column):
        return False
    numbers = column.cast(pl.Int64, strict=False)
    return numbers[0] in (0, 1) and bool((numbers.diff().drop_nulls() == 1).all()) and not numbers.null_count()


def _index_notes(frame: pl.DataFrame, source: TableSource) -> list[str]:
    """Return a warning for each feature that is only the number of its row, written by pandas or by a person.

    Where rows are sorted by the target, such a column gives the target away.
    """
    roles = {source.target_column, source.subset_column, source.group_column, *source.ignore_columns}
    schema = frame.schema  # built anew at each access, which takes long for thousands of columns
    features = [name for name in schema if name not in roles and source.use.reads(name)]
    of_pandas = [name for name in features if name.startswith("__index_level_")]
    whole = [name for name in features if not name.startswith("__index_level_") and schema[name].is_integer()]
    is_short = len(frame) < _LEAST_COUNTED
    counting = [name for name in whole if _counts_rows(frame[name]) and not (is_short and "Unnamed: " not in name)]
    return [
        f"column {name!r} {said}, and a feature like any other; if it says nothing about the rows, leave it out: "
        f"source.ignore_columns: [{name!r}]"
        for names, said in (
            (of_pandas, "is the index that pandas wrote"),
            (counting, "counts the rows, as an index does"),
        )
        for name in names
    ]


_LEAST_COUNTED = 10
"""In shorter tables, numbers may count the rows by chance."""


LINE_BREAKS = "line breaks"


def _line_break_notes(frame: pl.DataFrame) -> list[str]:
    texts = [name for name, kind in frame.schema.items() if kind == pl.String]
    counts = frame.select(pl.col(texts).str.contains("\n", literal=True).sum()).row(0) if texts else ()
    return [
        f"column {name!r}: {pluralize(count, 'value holds', 'values hold')} {LINE_BREAKS}; a quote that is "
        "not closed would look the same"
        for name, count in zip(texts, counts, strict=True)
        if count
    ]


def _thousands_notes(frame: pl.DataFrame, read: Callable[..., pl.DataFrame]) -> list[str]:
    """Return a warning for each column of 1.234, 12.345 and the like, which may be thousands or decimals.

    Args:
        frame: The table.
        read: Reads some of its columns anew.
    """
    floats = [name for name, kind in frame.schema.items() if kind.is_float() and '"' not in name]
    doubtful = [name for name in floats if bool(frame[name].drop_nulls().abs().is_between(1, 1000).all())]
    if not doubtful:
        return []
    texts = read(columns=doubtful, infer_schema=False)
    return [
        f"column {column.name!r}: all numbers have three decimals, such as {column.drop_nulls()[0]}; if these are "
        "thousands: source.decimal: ',' and source.thousands: '.'"
        for column in texts.iter_columns()
        if column.null_count() < len(column) and column.drop_nulls().str.contains(r"^-?[1-9]\d{0,2}\.\d{3}$").all()
    ]


_SAMPLED_ROWS = 1000


def _leading_zero_notes(frame: pl.DataFrame, source: TableSource, read: Callable[..., pl.DataFrame]) -> list[str]:
    """Return a warning for each column of whole numbers of which some are written as codes are: 01234.

    Args:
        frame: The table.
        source: Says which columns are used.
        read: Reads some rows of its columns anew.
    """
    ignored = {source.subset_column, source.group_column, *source.ignore_columns}
    numbers = [name for name, kind in frame.schema.items() if kind.is_integer() and '"' not in name]
    names = [name for name in numbers if name not in ignored]
    texts = read(columns=names, infer_schema=False, n_rows=_SAMPLED_ROWS) if names else pl.DataFrame()
    codes = {column.name: column.filter(column.str.contains(r"^-?0\d")) for column in texts.iter_columns()}
    return [
        f"column {name!r}: {found[0]!r} and the like are read as numbers, without the zeros in front; codes such as "
        f"postcodes stay texts with source.text_columns: [{name!r}]"
        for name, found in codes.items()
        if len(found)
    ]


def _typed(frame: pl.DataFrame, source: TableSource, all_texts: bool) -> pl.DataFrame:
    """Turn text columns into numbers where all values are; if nothing has a type yet, find true and false as well."""
    kept = {source.subset_column, source.group_column, *source.ignore_columns, *source.text_columns}
    columns = []
    for name, kind in frame.schema.items():
        if kind != pl.String or name in kept or source.use.means_texts(name):
            continue
        numbers = as_numbers(frame[name], source)
        if numbers is None and all_texts:
            numbers = _as_booleans(frame[name])
        if numbers is not None:
            columns.append(numbers)
    return frame.with_columns(columns)


def _as_booleans(column: pl.Series) -> pl.Series | None:
    text = column.str.to_lowercase()
    known = text.is_in(["true", "false"]) | text.is_null()
    return text == "true" if known.all() and text.null_count() < len(text) else None
