"""One pass over everything that some paths mean, for the command ``predict`` and for scheduled jobs.

Belongs here: which parts there are, counting, what is kept to be shown, the names of a scoring. Does not belong here:
predicting (``model``), files (``writing``), what is told where.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from itertools import chain
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from assay.errors import DataError, FileError, shorten
from assay.inference.model import Model, PredictedPart
from assay.inference.pictures import files_of, is_table_file
from assay.inference.stored import StoredModel, is_table_model, require_kind
from assay.inference.writing import drawn_prediction
from assay.plots.sheets import fit_into, sample_grid
from assay.spec.ids import suggest_id
from assay.utils.reading import user_path
from assay.utils.text import pluralize

SHOWN_ROWS, SHOWN_PICTURES = 10, 8
"""How much of a scoring is kept to be shown."""

MOST_NOTES = 20

PICTURE_PX, COLUMNS = 160, 4

DAY, EXPERIMENT = "{date}", "{experiment}"
"""What stands for the day of a scoring, and for the experiment whose model predicts."""

USUAL_NAME = f"{EXPERIMENT}-{DAY}"

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,119}")


@dataclass(frozen=True)
class ShownPicture:
    """A picture with its prediction, to be drawn."""

    item: str
    rows: pl.DataFrame
    mask: NDArray[np.uint8] | None


@dataclass
class Scoring:
    """The predictions of what some paths mean: iterate over it, and it counts and keeps what is shown.

    Memory does not grow with the number of items, but for the list of those that can't be read.

    Attributes:
        model: What predicts.
        unit: ``pictures`` or ``rows``.
        parts: The predictions, which can be gone through once.
        count: Items that were predicted so far.
        problems: Name of each picture that can't be read, and why.
        ignored: Columns of the table that the model does not read.
        notes: What a person should know of how the table was read, or of what was lost of pictures; the first ones.
        rare: By column, how many rows have a category that is rare in the training data, or not in it.
        first_rows: The first rows of the predictions.
        pictures: The first pictures.
    """

    model: Model
    unit: str
    parts: Iterator[PredictedPart]
    count: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)
    ignored: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    rare: Counter[str] = field(default_factory=Counter)
    first_rows: pl.DataFrame | None = None
    pictures: list[ShownPicture] = field(default_factory=list)

    def __iter__(self) -> Iterator[PredictedPart]:
        """Yield the parts."""
        for part in self.parts:
            self.count += len(part.items)
            self.problems += part.problems
            self.ignored, self.notes = part.ignored, (self.notes + part.notes)[:MOST_NOTES]
            self.rare.update(part.rare)
            self._keep(part)
            yield part

    @property
    def about_rare(self) -> str:
        """How many values are of categories that the training hardly had, as a sentence; empty if none are."""
        counts = ", ".join(f"{name!r} in {pluralize(count, 'row')}" for name, count in sorted(self.rare.items()))
        advice = "they are predicted like all its rare ones. If there are many, train again with such rows"
        return f"categories that the training data lack, or hardly have: {counts}; {advice}" if counts else ""

    def _keep(self, part: PredictedPart) -> None:
        if self.first_rows is None or len(self.first_rows) < SHOWN_ROWS:
            before = [] if self.first_rows is None else [self.first_rows]
            self.first_rows = pl.concat([*before, part.table.head(SHOWN_ROWS)]).head(SHOWN_ROWS)
        if self.unit == "pictures":
            for item in part.items["item"].head(SHOWN_PICTURES - len(self.pictures)):
                self.pictures.append(ShownPicture(item, part.table.filter(item=item), part.masks.get(item)))

    def drawn(self) -> Image.Image | None:
        """Return the first pictures with their predictions on one sheet; None without pictures."""
        drawn = []
        for each in self.pictures:
            with suppress(FileError, FileNotFoundError):  # gone since it was predicted
                drawn.append((drawn_prediction(self.model, each.item, each.rows, each.mask), Path(each.item).name))
        if not drawn:
            return None
        images, names = zip(*drawn, strict=True)
        return sample_grid([fit_into(image, PICTURE_PX) for image in images], names, COLUMNS)


def begin_scoring(model: Model, paths: Sequence[str], out: Path | None = None) -> Scoring:
    """Return the predictions of what paths mean, once one item is predicted.

    Args:
        model: What predicts.
        paths: Pictures: files, folders, patterns; or one CSV or Parquet file.
        out: Where the predictions are written; former output in a folder is no input.

    Raises:
        DataError: The paths lead to nothing, or to another kind of input than the model's; or no picture can be read.
    """
    parts, unit = _parts(model, paths, out)
    return Scoring(model, unit, _after_the_first(parts))


def _parts(model: Model, paths: Sequence[str], out: Path | None) -> tuple[Iterator[PredictedPart], str]:
    """Return the predictions in parts, and what an item is called."""
    tables = [user_path(path) for path in paths if is_table_file(path)]
    if tables and len(paths) > 1:
        raise DataError(f"{tables[0]} is a table; give one table alone, or pictures.")
    if tables:
        if not tables[0].is_file():
            raise DataError(f"{tables[0]} does not exist, or is no file. Give a CSV or Parquet file.")
        return model.parts(tables[0]), "rows"
    if is_table_model(model.stored):
        require_kind(model.stored, "pictures", paths[0])
    files = files_of(paths)
    if out is not None and not out.suffix:
        files = (file for file in files if not file.absolute().is_relative_to(out.absolute()))
    return model.parts(files), "pictures"


def _after_the_first(parts: Iterator[PredictedPart]) -> Iterator[PredictedPart]:
    """Return all parts, once one of them has an item: what has none at all is an error, and leaves no file.

    Raises:
        DataError: No picture can be read, or none is left.
    """
    empty: list[PredictedPart] = []
    for part in parts:
        if len(part.items):
            return chain(empty, [part], parts)
        empty.append(part)
    if not empty:  # a table has at least one part
        raise DataError("All pictures that are given are former output in --out. Give others.")
    lines = [f"{item}: {problem}" for part in empty for item, problem in part.problems]
    if lines:
        raise DataError(f"None of {pluralize(len(lines), 'picture')} can be read.", lines)
    return iter(empty)


def note_on_crops(stored: StoredModel) -> str:
    """Return what to know where the model was trained on objects cut out of larger pictures."""
    if stored.kind == "splits" or stored.source.get("kind") in ("image_folder", "table", None):
        return ""
    return (
        "The model was trained on objects cut out of larger pictures. Here each picture is one object: nothing is "
        "searched for or cut out."
    )


def day_of(text: str, today: date) -> date:
    """Return the day that a text names, such as 2026-11-26; empty: today.

    Raises:
        DataError: It names none.
    """
    try:
        return date.fromisoformat(text) if text else today
    except ValueError:
        expected = f"expected a day such as {today.isoformat()!r}, or nothing"
        raise DataError(f"date: got {shorten(text)}; {expected}.") from None


def name_of_scoring(template: str, stored: StoredModel, day: date) -> str:
    """Return the name under which the predictions are stored.

    Args:
        template: May hold ``{experiment}`` and ``{date}``; empty: ``USUAL_NAME``.
        stored: The model.
        day: The day of the scoring.

    Raises:
        DataError: It is no name.
    """
    experiment = stored.experiment_id or suggest_id(stored.folder.name)
    name = dated(template or USUAL_NAME, day).replace(EXPERIMENT, experiment)
    if not NAME.fullmatch(name):
        raise DataError(
            f"name: got {shorten(name)}; expected up to 120 letters, digits, '-', '_' and '.', such as "
            f"{dated(USUAL_NAME, day).replace(EXPERIMENT, experiment)!r}."
        )
    return name


def dated(text: str, day: date) -> str:
    """Return a text with the day in place of ``{date}``."""
    return text.replace(DAY, day.isoformat())
