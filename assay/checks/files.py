"""Tests that look at files: ``files_exist``, ``models_saved`` and ``no_missing_values``.

Belongs here: names, sizes and contents of files. Does not belong here: hashes, which the result store verifies.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.datatypes import DataTypeClass
from safetensors import SafetensorError, safe_open

from assay.checks.result import ExperimentFiles, TestResult, not_materialized, shortened, verdict
from assay.spec.exptests import FilesExistTest, ModelsSavedTest, NoMissingValuesTest
from assay.storage.files import MANIFEST
from assay.utils.text import pluralize

EXPONENT_BITS: dict[str, tuple[str, int]] = {
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
    "F32": ("<u4", 0x7F800000),
    "F64": ("<u8", 0x7FF0000000000000),
}
"""Per float type: an integer of the same width, and its exponent bits, which are all set only in infinity and NaN.

Weights are read as integers because NumPy has no bfloat16, and so that no check needs PyTorch.
"""

NO_MISSING_VALUES = "no null and no NaN"


def check_files_exist(test: FilesExistTest, files: ExperimentFiles) -> TestResult:
    """Check that the named files and folders, and all files of the manifest, exist below the experiment's folder.

    Files must not be empty, folders must hold a file at any depth, and sizes must be those of the manifest.
    """
    named = [*test.files, *(f"{name}/" for name in test.folders)]
    expected = ", ".join(named) or "the files of the manifest"
    folder = files.experiment_folder
    if folder is None or not folder.is_dir():
        return not_materialized(test, "experiment", expected)
    problems = [problem for name in test.files for problem in _file_problems(folder, name)]
    problems += [problem for name in test.folders for problem in _folder_problems(folder / name, name)]
    problems += _manifest_problems(folder)
    count = sum(path.is_file() for path in folder.rglob("*"))
    measured = f"{pluralize(count, 'file')}, {pluralize(len(problems), 'problem')}"
    description = f"{shortened(problems)}." if problems else f"All there, among {pluralize(count, 'file')} in {folder}."
    return verdict(test, not problems, description, measured=measured, expected=expected)


def _file_problems(folder: Path, pattern: str) -> list[str]:
    matches = sorted(path for path in folder.glob(pattern) if path.is_file())
    if not matches:
        return [f"no file {pattern}"]
    return [f"{path.relative_to(folder).as_posix()} is empty" for path in matches if path.stat().st_size == 0]


def _folder_problems(folder: Path, name: str) -> list[str]:
    if not folder.is_dir():
        return [f"no folder {name}"]
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    if not paths:
        return [f"folder {name} holds no file"]
    empty = [path.relative_to(folder).as_posix() for path in paths if path.stat().st_size == 0]
    return [f"{name}/{path} is empty" for path in empty]


def _manifest_problems(folder: Path) -> list[str]:
    path = folder / MANIFEST
    entries = json.loads(path.read_text(encoding="utf-8"))["files"] if path.is_file() else {}
    problems = []
    for name, entry in sorted(entries.items()):
        size = (folder / name).stat().st_size if (folder / name).is_file() else None
        if size is None:
            problems.append(f"{name} is in the manifest but missing")
        elif size != entry["size_bytes"]:
            problems.append(f"{name} has {pluralize(size, 'byte')}, the manifest says {entry['size_bytes']}")
    return problems


def check_models_saved(test: ModelsSavedTest, files: ExperimentFiles) -> TestResult:
    """Check that every ``.safetensors`` file of the model's folder, at any depth, opens and holds finite numbers."""
    expected = f"at least {pluralize(test.min_models, 'readable model file')} with finite numbers"
    if files.model_folder is None:
        return not_materialized(test, "trained_model", expected)
    paths = sorted(files.model_folder.rglob("*.safetensors"))
    problems = [f"{path.relative_to(files.model_folder)}: {problem}" for path in paths if (problem := _problem(path))]
    if len(paths) < test.min_models:
        problems.insert(0, f"{pluralize(len(paths), 'model file')} in {files.model_folder}")
    measured = f"{pluralize(len(paths), 'model file')}, {pluralize(len(problems), 'problem')}"
    if problems:
        description = f"{shortened(problems)}. Materialize trained_model again."
        return verdict(test, False, description, measured=measured, expected=expected)
    return verdict(test, True, f"{measured}; all tensors are finite.", measured=measured, expected=expected)


def _problem(path: Path) -> str | None:
    """Return what is wrong with a model file, if anything."""
    if path.stat().st_size == 0:
        return "the file is empty"
    try:
        with safe_open(path, framework="np") as opened:
            names = list(opened.keys())
    except (SafetensorError, OSError) as error:
        return f"can't be opened ({error})"
    if not names:
        return "holds no tensor"
    not_finite = _names_of_not_finite(path)
    return f"holds NaN or infinity in {', '.join(not_finite)}" if not_finite else None


def _names_of_not_finite(path: Path) -> list[str]:
    """Return the names of tensors with NaN or infinity, in a file whose header was checked before.

    The format: 8 bytes of little-endian header length, a JSON header, then the tensors at the header's offsets.
    """
    content: NDArray[np.uint8] = np.memmap(path, dtype=np.uint8, mode="r")
    header_bytes = int(content[:8].view("<u8")[0])
    header = json.loads(content[8 : 8 + header_bytes].tobytes())
    header.pop("__metadata__", None)
    names = []
    for name, tensor in sorted(header.items()):
        start, end = (8 + header_bytes + offset for offset in tensor["data_offsets"])
        if tensor["dtype"] in EXPONENT_BITS:
            integer, exponent = EXPONENT_BITS[tensor["dtype"]]
            bits = np.frombuffer(content[start:end].tobytes(), dtype=integer)
            if ((bits & exponent) == exponent).any():
                names.append(name)
    return names


def check_no_missing_values(test: NoMissingValuesTest, files: ExperimentFiles) -> TestResult:
    """Check every table, and every Parquet file below the experiment's folder at any depth, for null and NaN."""
    tables = dict(_tables(files))
    if not tables:
        description = "There is no table and no Parquet file to look at. Materialize normalized or predictions first."
        return verdict(test, False, description, measured="no table", expected=NO_MISSING_VALUES)
    findings = [finding for path, name in sorted(tables.items()) for finding in _findings(test, name, path)]
    measured = f"{pluralize(len(tables), 'table')}, {pluralize(len(findings), 'finding')}"
    if findings:
        return verdict(test, False, f"{shortened(findings)}.", measured=measured, expected=NO_MISSING_VALUES)
    description = (
        f"{pluralize(len(tables), 'table')} without missing values: {shortened(sorted(set(tables.values())))}."
    )
    return verdict(test, True, description, measured=measured, expected=NO_MISSING_VALUES)


def _tables(files: ExperimentFiles) -> Iterator[tuple[Path, str]]:
    """Yield each file with its table's name, once even where several links lead to it."""
    seen: set[tuple[int, int]] = set()
    named = [(path, name) for name, path in sorted(files.tables.items())]
    if files.experiment_folder is not None:
        named += [(path, path.stem) for path in sorted(files.experiment_folder.rglob("*.parquet"))]
    for path, name in named:
        identity = (path.stat().st_dev, path.stat().st_ino) if path.exists() else (-1, hash(path))
        if identity not in seen:
            seen.add(identity)
            yield path, name


def _findings(test: NoMissingValuesTest, table: str, path: Path) -> list[str]:
    """Return one line per column with missing values, or one line that says why the file can't be read."""
    try:
        schema = pl.read_parquet_schema(path)
        columns = [name for name in schema if not test.ignores(table, name)]
        counts = pl.scan_parquet(path).select(_missing(name, schema[name]) for name in columns).collect()
    except (OSError, pl.exceptions.PolarsError) as error:
        return [f"{path}: can't be read as Parquet ({str(error).splitlines()[0]})"]
    return [
        f"{table} ({path.name}): column {name!r} has {pluralize(count, 'missing value')}"
        for name, count in zip(columns, counts.row(0) if columns else (), strict=True)
        if count
    ]


def _missing(name: str, kind: pl.DataType) -> pl.Expr:
    return _missing_in(pl.col(name), kind).alias(name)


def _missing_in(values: pl.Expr, kind: pl.DataType | DataTypeClass) -> pl.Expr:
    """Return how many values are missing, those within lists and structs among them; of a missing list, only itself."""
    missing = values.is_null().sum()
    if kind.is_float():
        missing += values.is_nan().sum()
    elif isinstance(kind, pl.Array):
        missing += _missing_in(values.arr.to_list(), pl.List(kind.inner)) - values.is_null().sum()
    elif isinstance(kind, pl.List):
        missing += _missing_in(values.filter(values.list.len() > 0).explode(), kind.inner)
    elif isinstance(kind, pl.Struct):
        there = values.filter(values.is_not_null())
        for field in kind.fields:
            missing += _missing_in(there.struct.field(field.name), field.dtype)
    return missing
