"""Predictions written as they come: a table, JSON, COCO's JSON, or a folder of pictures drawn; complete or absent.

Belongs here: the files. Does not belong here: predicting (``model``), what the command tells.
"""

import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain, count
from pathlib import Path, PurePath
from shutil import copyfileobj, rmtree
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from assay.datasets.inspection import MOST_IMAGE_BYTES
from assay.errors import DataError, FileError
from assay.images.decoding import decode
from assay.images.png import encode_png
from assay.inference.model import Model, PredictedPart
from assay.inference.stored import is_table_model
from assay.plots.overlays import Mark, paint_classes, with_marks
from assay.plots.sheets import class_color
from assay.storage.files import atomic_path, put_in_place, temporary_sibling, write_bytes
from assay.training.class_targets import LabelsTarget
from assay.training.predictions import save_mask
from assay.utils.reading import read_bytes, user_path

BETWEEN_LABELS = (";", "|", "/", "~", "\t")
"""What stands between an item's labels in CSV files: the separator of the training's table, or the first of these,
unless the name of a class holds it."""

FORMATS = ".csv, .parquet, .json, coco.json (COCO), or a folder without an ending (pictures)"

_LONGEST_NAME = 200
"""Bytes of a picture's name that its drawing keeps: file systems take 255, of which a temporary name needs some."""

_TABLES, _PICTURES, _MASKS = "predictions.csv", "pictures", "masks"
"""What a folder of predictions holds."""


class Writer(ABC):
    """Takes the predictions in parts."""

    @abstractmethod
    def add(self, part: PredictedPart) -> None:
        """Write the predictions of some items."""

    def end(self) -> None:  # noqa: B027 - most formats have no end
        """Write what comes last."""


def is_coco(path: Path) -> bool:
    """Return whether a file is to be COCO's JSON, by its name."""
    return path.suffix.lower() == ".json" and re.split(r"[\W_]", path.stem.lower())[-1] == "coco"


def require_output(model: Model, path: Path, overwrite: bool, inputs: Iterable[str] = ()) -> None:
    """Refuse an output that can't be written, before anything is predicted.

    Args:
        model: What predicts.
        path: The file or folder.
        overwrite: Whether a former one may be replaced.
        inputs: Paths of what is predicted, which is never replaced.

    Raises:
        DataError: It exists, its ending is none of ``FORMATS``, the model has no such output, or something other than
            predictions would be lost.
    """
    if (path.exists() or path.is_symlink()) and not overwrite:
        raise DataError(f"{path} exists already. Choose another name for --out, or add --overwrite.")
    if path.suffix.lower() not in ("", ".csv", ".parquet", ".json"):
        raise DataError(f"--out {path}: the ending {path.suffix!r} is no format of predictions. Expected {FORMATS}.")
    if path.is_dir() != (path.suffix == "") and path.exists():
        raise DataError(f"--out {path} is {'a folder' if path.is_dir() else 'a file'}, which nothing overwrites.")
    if is_coco(path) and model.task not in ("detection", "segmentation"):
        raise DataError(f"--out {path}: {model.stored.name} is {model.task}; COCO holds boxes or masks. Write .json.")
    if not path.suffix and is_table_model(model.stored):
        raise DataError(
            f"--out {path}: {model.stored.name} predicts rows, which are no pictures. Write .csv or .parquet."
        )
    if path.exists():
        _require_replaceable(path, inputs)


def _require_replaceable(path: Path, inputs: Iterable[str]) -> None:
    """Refuse to replace what is predicted, and folders that hold more than predictions."""
    out = path.resolve()
    for each in inputs:
        if user_path(each).resolve().is_relative_to(out):
            raise DataError(f"--out {path} would replace {each}, which is to be predicted. Choose another name for it.")
    names = {entry.name for entry in out.iterdir()} if out.is_dir() else set()
    others = sorted(names - {_TABLES, _PICTURES, _MASKS})
    if others:
        raise DataError(
            f"--out {path} holds {others[0]!r}, which is no part of predictions and would be lost. Choose another name."
        )
    if names and _TABLES not in names:  # folders of data are called so, too
        raise DataError(
            f"--out {path} holds {min(names)!r} but no {_TABLES}, so that it may be no former output, and would be "
            "lost. Choose another name."
        )


@contextmanager
def predictions_file(model: Model, path: Path | None, stream: IO[str]) -> Iterator[Writer]:
    """Give a writer to a block; the file or folder appears when the block ends, and not at all if it fails.

    Args:
        model: What predicts.
        path: The file, of which a former one is replaced; None: CSV goes to ``stream``.
        stream: Such as standard output.

    Raises:
        DataError: The file or folder can't be written; nothing is left of it.
    """
    if path is None:
        yield CsvWriter(model, stream)
        return
    try:
        with _output(model, path) as writer:
            yield writer
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"--out {path} can't be written: {reason}. Nothing was; make room, or name another.") from error


@contextmanager
def _output(model: Model, path: Path) -> Iterator[Writer]:
    if not path.suffix:
        with _new_folder(path) as temporary, PictureWriters(model, temporary) as pictures:
            yield pictures
    else:
        with atomic_path(path) as temporary, ExitStack() as stack:
            writer = _file_writer(model, path, temporary, stack)
            yield writer
            writer.end()


def _file_writer(model: Model, path: Path, temporary: Path, stack: ExitStack) -> Writer:
    if path.suffix.lower() == ".parquet":
        writer = ParquetWriter(temporary)
        stack.callback(writer.close)
        return writer
    file = stack.enter_context(temporary.open("w", encoding="utf-8", newline=""))
    if path.suffix.lower() == ".csv":
        return CsvWriter(model, file)
    return CocoWriter(model, file) if is_coco(path) else JsonWriter(file)


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(path)
    temporary.mkdir()
    try:
        yield temporary
        put_in_place(temporary, path)
    finally:
        rmtree(temporary, ignore_errors=True)


class CsvWriter(Writer):
    """A line per row; several labels of an item are one text."""

    def __init__(self, model: Model, file: IO[str]) -> None:
        target = model.stored.card.target
        own = [target.separator] if isinstance(target, LabelsTarget) and target.separator else []
        names = "".join(getattr(target, "classes", ()))
        self.separator = next((mark for mark in (*own, *BETWEEN_LABELS) if mark not in names), BETWEEN_LABELS[0])
        self.file, self.has_header = file, False

    def add(self, part: PredictedPart) -> None:
        """Write the predictions of some items."""
        lists = [name for name, kind in part.table.schema.items() if isinstance(kind, pl.List)]
        flat = part.table.with_columns(pl.col(lists).list.join(self.separator)) if lists else part.table
        self.file.write(flat.write_csv(include_header=not self.has_header))
        self.has_header = True


class ParquetWriter(Writer):
    """A row group per part."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer: Any = None

    def add(self, part: PredictedPart) -> None:
        """Write the predictions of some items."""
        table = part.table.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._writer is None:
            self._writer = pq.ParquetWriter(self.path, table.schema)
        self._writer.write_table(table.cast(self._writer.schema))

    def end(self) -> None:
        """Write the end of the file."""
        if self._writer is None:
            pq.write_table(pa.table({"item": pa.array([], pa.string())}), self.path)
        self.close()

    def close(self) -> None:
        """Close the file, finished or not."""
        if self._writer is not None:
            self._writer.close()


class JsonWriter(Writer):
    """One array with an object per row."""

    def __init__(self, file: IO[str]) -> None:
        self.file, self.before = file, "[\n"

    def add(self, part: PredictedPart) -> None:
        """Write the predictions of some items."""
        if len(part.table):
            rows = part.table.write_ndjson().rstrip("\n").split("\n")  # names may hold other ends of lines
            self.file.write(self.before + ",\n".join(rows))
            self.before = ",\n"

    def end(self) -> None:
        """Write the end of the array."""
        self.file.write("[]\n" if self.before == "[\n" else "\n]\n")


class CocoWriter(Writer):
    """COCO's images, categories and annotations, each with its score; the IDs begin with 1."""

    def __init__(self, model: Model, file: IO[str]) -> None:
        from assay.export.coco import CocoIds  # COCO's tools: only here

        self.classes, self.is_detection = model.card.classes, model.task == "detection"
        self.ids = CocoIds({}, {name: number for number, name in enumerate(self.classes, 1)})
        self.file, self.images, self.annotations = file, 0, 0
        categories = [{"id": number, "name": name} for name, number in self.ids.categories.items()]
        self.file.write(f'{{"categories": {json.dumps(categories, ensure_ascii=False)},\n"annotations": [')
        self._images = TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - they come last, and may be many

    def add(self, part: PredictedPart) -> None:
        """Write the predictions of some items."""
        from assay.export.coco import box_entries, mask_entries

        for item, width, height in part.items.iter_rows():
            self.images += 1
            self.ids.images[item] = self.images
            image = {"id": self.images, "file_name": item, "width": width, "height": height}
            self._images.write((",\n" if self.images > 1 else "") + json.dumps(image, ensure_ascii=False))
        if self.is_detection:
            self._annotate(box_entries(part.table, self.ids))
        for item, mask in part.masks.items():
            self._annotate(mask_entries(item, mask, self.classes, self.ids))
        self.ids.images.clear()

    def _annotate(self, entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            self.annotations += 1
            before = ",\n" if self.annotations > 1 else "\n"
            self.file.write(before + json.dumps({"id": self.annotations, **entry}))

    def end(self) -> None:
        """Write the images."""
        self.file.write('],\n"images": [\n')
        self._images.seek(0)
        copyfileobj(self._images, self.file)
        self.file.write("]}\n")
        self._images.close()


class PictureWriters(Writer):
    """A folder with predictions.csv, every picture with its prediction drawn, and masks as palette PNGs."""

    def __init__(self, model: Model, folder: Path) -> None:
        self.model, self.folder = model, folder
        self._file = (folder / _TABLES).open("w", encoding="utf-8", newline="")
        self._csv = CsvWriter(model, self._file)

    def __enter__(self) -> "PictureWriters":
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    def add(self, part: PredictedPart) -> None:
        """Write the predictions of some items."""
        self._csv.add(part)
        rows = {str(key[0]): rows for key, rows in part.table.group_by("item", maintain_order=True)}
        for item in part.items["item"]:
            name = self._name_of(item)
            mask = part.masks.get(item)
            if mask is not None:
                save_mask(
                    self.folder / _MASKS / name,
                    torch.from_numpy(np.ascontiguousarray(mask)),
                    len(self.model.card.classes),
                )
            with suppress(FileError, FileNotFoundError):  # gone since it was predicted
                image = drawn_prediction(self.model, item, rows.get(item), mask)
                write_bytes(self.folder / _PICTURES / name, encode_png(image))

    def _name_of(self, item: str) -> Path:
        """Return the path of a picture as one inside of a folder; ``../a.jpg`` beside ``a.jpg`` gets a number."""
        path = PurePath(item)
        inner = Path(*(part for part in path.parts if part not in (path.anchor, "..", ".")))
        if any(self._is_there(parent, Path.is_file) for parent in inner.parents):  # a picture was called as its folder
            inner = Path("-".join(inner.parts))
        name = os.fsencode(inner.name)[:_LONGEST_NAME].decode(errors="ignore")
        numbered = (inner.with_name(f"{name}{number}.png") for number in chain([""], map("-{}".format, count(2))))
        return next(each for each in numbered if not self._is_there(each, Path.exists))

    def _is_there(self, name: Path, has: Callable[[Path], bool]) -> bool:
        return any(has(self.folder / kind / name) for kind in (_MASKS, _PICTURES))


LEAST_CONFIDENCE = 0.3
"""Least confidence of a box that is drawn; the table has all of them."""

CAPTION_PX, LEAST_WIDTH_PX = 14, 160


def drawn_prediction(model: Model, item: str, rows: pl.DataFrame | None, mask: NDArray[np.uint8] | None) -> Image.Image:
    """Return a picture in colour with its prediction.

    Args:
        model: What predicted.
        item: Path of the picture.
        rows: Its rows of the predictions; None if it has none.
        mask: Class of every pixel, for segmentation.
    """
    image = decode(read_bytes(Path(item), MOST_IMAGE_BYTES)).convert("RGB")
    if mask is not None:
        return paint_classes(image, mask)
    if model.task == "detection":
        return with_marks(image, _marks(model, rows), 1.0)
    return _captioned(image, _caption(rows))


def _marks(model: Model, rows: pl.DataFrame | None) -> list[Mark]:
    shown = rows.filter(pl.col("confidence") >= LEAST_CONFIDENCE).reverse() if rows is not None else None
    columns = ("x_px", "y_px", "width_px", "height_px", "predicted_class", "confidence")
    places = {name: place for place, name in enumerate(model.card.classes)}
    return [
        Mark((x, y, width, height), f"{name} {confidence:.2f}", class_color(places[name]))
        for x, y, width, height, name, confidence in (shown.select(columns).iter_rows() if shown is not None else ())
    ]


def _caption(rows: pl.DataFrame | None) -> str:
    row = rows.row(0, named=True) if rows is not None and len(rows) else {}
    if "prediction" in row:
        return f"{row['prediction']:.4g}"
    if "predicted_labels" in row:
        return ", ".join(row["predicted_labels"]) or "no label"
    return f"{row['predicted_class']} {row['confidence']:.2f}" if row else ""


def _captioned(image: Image.Image, caption: str) -> Image.Image:
    """Return an image with a line of text below; a small one is enlarged by a whole factor."""
    factor = max(1, LEAST_WIDTH_PX // max(image.size))
    large = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    canvas = Image.new("RGB", (max(large.width, LEAST_WIDTH_PX), large.height + CAPTION_PX + 4), "white")
    canvas.paste(large, (0, 0))
    ImageDraw.Draw(canvas).text((2, large.height), caption, "black", ImageFont.load_default(CAPTION_PX - 2))
    return canvas
