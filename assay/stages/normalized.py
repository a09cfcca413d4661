"""Building the result folder of a scaled table.

Belongs here: which rows are fitted, missing values, the report. Does not belong here: how a column is scaled.
"""

from pathlib import Path
from typing import Any

import polars as pl

from assay.datasets.scaling import NormalizationInfo, ScalarInfo, read_normalization
from assay.datasets.schema import TableInfo, read_table_info
from assay.errors import DataError
from assay.normalized.feature_keys import choose_columns
from assay.normalized.fitting import fit
from assay.progress import Progress, silent
from assay.spec.normalized import NormalizedSection
from assay.spec.splits import TRAIN
from assay.stages.tabular import TABULAR_FILE
from assay.tables import read_parquet, write_parquet

NORMALIZED_FILE = "normalized.parquet"
_SHOWN = 20


def build_normalized(
    tabular_folder: Path,
    spec: NormalizedSection,
    folder: Path,
    progress: Progress = silent,
    scaling: Path | None = None,
) -> dict[str, Any]:
    """Write the scaled table with how it was scaled, and return statistics about it.

    Writes normalized.parquet (the same rows and columns, all subsets), the YAML file of the scaling and table.json.
    Only rows of train are fitted, unless the spec says otherwise; the others may leave 0 to 1, which is counted.

    Args:
        tabular_folder: Result of ``tabular``.
        spec: Which columns are scaled how.
        folder: Existing empty folder.
        progress: Called after each step.
        scaling: File that says how the columns are scaled: that of the model which is to predict this table. None: it
            is fitted on this table.

    Raises:
        DataError: Missing values or columns, keys that match nothing, classes that train lacks, no row of train.
    """
    table, info = read_parquet(tabular_folder / TABULAR_FILE), read_table_info(tabular_folder)
    if table.is_empty():
        return _without_rows(table, info, spec, folder)
    _require_values(table, info)
    normalization = _fitted(table, info, spec) if scaling is None else _adopted(scaling, table)
    progress(1, 3, f"{len(normalization.norm_infos)} columns to scale")
    scaled = _apply(normalization, table)
    progress(2, 3, "columns scaled")
    write_parquet(scaled, folder / NORMALIZED_FILE)
    normalization.write(folder / spec.output_norm_feature_info_file_name)
    info.write(folder)
    progress(3, 3, "table written")
    return _report(normalization, scaled, info)


def _fitted(table: pl.DataFrame, info: TableInfo, spec: NormalizedSection) -> NormalizationInfo:
    kinds = choose_columns(table.schema, info, spec)
    fitted = table if spec.fit_on == "all" else table.filter(pl.col("subset") == TRAIN)
    if fitted.is_empty():
        raise DataError(f"normalized.fit_on is {spec.fit_on!r}, but the table has no row of the subset {TRAIN!r}.")
    infos = fit(fitted, kinds, spec.unseen_categories == "code")
    return NormalizationInfo(fit_on=spec.fit_on, fitted_rows=len(fitted), norm_infos=infos)


def _adopted(scaling: Path, table: pl.DataFrame) -> NormalizationInfo:
    """Return the scaling that a model was trained with, if the table has its columns."""
    found = read_normalization(scaling)
    absent = [info.name for info in found.norm_infos if info.name not in table.columns]
    if absent:
        raise DataError("The table lacks columns that the evaluated model was trained with.", absent)
    return found


def _without_rows(table: pl.DataFrame, info: TableInfo, spec: NormalizedSection, folder: Path) -> dict[str, Any]:
    """Write a table without rows: of images that only have masks, nothing is cut out."""
    write_parquet(table, folder / NORMALIZED_FILE)
    NormalizationInfo(fit_on=spec.fit_on, fitted_rows=0, norm_infos=()).write(
        folder / spec.output_norm_feature_info_file_name
    )
    info.write(folder)
    return {"rows": 0, "target_column": info.target_column, "fit_on": spec.fit_on, "fitted_rows": 0}


def _require_values(table: pl.DataFrame, info: TableInfo) -> None:
    """Raise when a feature or the target has missing values or is not finite."""
    used = [*info.features, info.target_column]
    counts = table.select(_unusable(name, table.schema[name]).sum().alias(name) for name in used).row(0)
    problems = [
        f"column {name!r}: {count} of {len(table)} rows, the first is item {_first(table, name)!r}"
        for name, count in zip(used, counts, strict=True)
        if count
    ]
    if problems:
        raise DataError("The table has missing or infinite values. Fill them, or leave the columns out.", problems)


def _unusable(name: str, kind: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    return (column.is_null() | ~column.is_finite()) if kind.is_float() else column.is_null()


def _first(table: pl.DataFrame, name: str) -> str:
    return str(table.filter(_unusable(name, table.schema[name]))["item"][0])


def _apply(normalization: NormalizationInfo, table: pl.DataFrame) -> pl.DataFrame:
    """Scale all columns, or raise one error for all columns with values that the fitted rows lack."""
    problems, columns = [], []
    for info in normalization.norm_infos:
        try:
            columns.append(info.apply(table[info.name]).alias(info.name))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError(
            "Other subsets hold values that train lacks. Divide the data anew (splits.stratify, splits.seed), set "
            "normalized.unseen_categories: code, or list the column nowhere.",
            problems,
        )
    return table.with_columns(columns)


def _report(normalization: NormalizationInfo, scaled: pl.DataFrame, info: TableInfo) -> dict[str, Any]:
    kinds = [one.kind for one in normalization.norm_infos]
    outside = _outside(normalization, scaled)
    per_column = outside.sum().row(0, named=True) if len(outside.columns) > 1 else {}
    worst = sorted(
        (name for name in per_column if name != "subset" and per_column[name]), key=lambda n: (-per_column[n], n)
    )
    return {
        "rows": len(scaled),
        "target_column": info.target_column,
        "fit_on": normalization.fit_on,
        "fitted_rows": normalization.fitted_rows,
        "scalar_columns": kinds.count("scalar"),
        "binary_columns": kinds.count("binary"),
        "categorical_columns": kinds.count("categorical"),
        "unscaled_features": len(info.features) - len(kinds),
        "constant_columns": _constant_columns(normalization, scaled),
        "out_of_range": {
            row["subset"]: sum(v for k, v in row.items() if k != "subset") for row in outside.iter_rows(named=True)
        },
        "out_of_range_columns": {name: per_column[name] for name in worst[:_SHOWN]},
    }


def _outside(normalization: NormalizationInfo, scaled: pl.DataFrame) -> pl.DataFrame:
    """Return per subset how many values of each number column are below 0 or above 1."""
    names = [one.name for one in normalization.norm_infos if isinstance(one, ScalarInfo)]
    count = (~pl.col(names).is_between(0, 1)).sum()
    return scaled.group_by("subset").agg(count).sort("subset")


def _constant_columns(normalization: NormalizationInfo, scaled: pl.DataFrame) -> list[str]:
    fitted = scaled if normalization.fit_on == "all" else scaled.filter(pl.col("subset") == TRAIN)
    names = [one.name for one in normalization.norm_infos if isinstance(one, ScalarInfo)]
    highest = fitted.select(pl.col(names).max()).row(0, named=True) if names else {}
    return sorted(name for name, value in highest.items() if value == 0)
