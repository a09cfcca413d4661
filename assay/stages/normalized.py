"""Stage ``normalized``: fills gaps, scales numeric columns to 0 to 1 and turns categories into codes.

Reads ``tabular``. Writes normalized.parquet, table.json and the YAML file of the scaling, which is fitted on the rows
of train and only applied to the others. Belongs here: which column is scaled how, which rows are fitted, the report.
Does not belong here: applying a scaling to a column (``assay.datasets.scaling``), what fills a gap
(``assay.datasets.filling``).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import polars as pl

from assay.datasets.dates import (
    DateInfo,
    are_of_other_form,
    date_columns,
    fit_dates,
    in_parts,
    undated,
    with_parts,
)
from assay.datasets.filling import FilledInfo, fill_gaps, fit_filling, gap_counts, marked_columns, missing_in
from assay.datasets.scaling import (
    KINDS,
    CategoricalInfo,
    Kind,
    NormalizationInfo,
    RanksInfo,
    ScalarInfo,
    fit_scaling,
    read_normalization,
)
from assay.datasets.schema import TableInfo, read_table_info
from assay.datasets.table import item_place
from assay.errors import DataError, nearest, shorten
from assay.spec.extensions import added_function
from assay.spec.normalized import KEY_FIELDS, FeatureFunction, FeatureKeys, NormalizedSection
from assay.spec.plugins import FEATURES
from assay.spec.splits import TRAIN
from assay.storage.parquet import write_parquet
from assay.utils.concurrency import Progress, silent
from assay.utils.text import pluralize

NORMALIZED_FILE = "normalized.parquet"


_TEXTS = (pl.String, pl.Categorical, pl.Enum)


_SHOWN = 20


_SHOWN_FEATURES = 8


_SHOWN_VALUES = 5


def build_normalized(
    tabular: pl.LazyFrame,
    tabular_folder: Path,
    spec: NormalizedSection,
    folder: Path,
    progress: Progress = silent,
    scaling: Path | None = None,
) -> dict[str, Any]:
    """Write the scaled table together with its scaling, and return statistics about it.

    Writes normalized.parquet (the same rows and columns, all subsets, and the columns that mark gaps), the YAML file of
    the scaling and table.json. The scaling is fitted on the rows of train unless the spec says otherwise; values of
    other rows may lie outside 0 to 1, and the report counts them.

    Args:
        tabular: Rows of the stage ``tabular``.
        tabular_folder: Result of ``tabular``, which says what the target and the features are.
        spec: Which columns are scaled how.
        folder: Existing empty folder for the result.
        progress: Called after each step.
        scaling: File with the scaling of the model that will predict this table; None: fit a scaling on this table.

    Raises:
        DataError: Values are missing that nothing fills, columns are missing, a key matches no column, other subsets
            have categories that train lacks, or train has no row.
    """
    table, info = tabular.collect(), read_table_info(tabular_folder)
    if table.is_empty():
        return _without_rows(table, info, spec, folder)
    given = len(table)
    trained = None if scaling is None else _from_model(scaling, table)
    dates = trained.dates if trained is not None else _fitted_dates(table, info, spec)
    if trained is None:
        _require_one_form(table, dates)
    table, info = with_parts(dates, table), replace(info, features=in_parts(info.features, dates))
    if scaling is None and spec.missing.drop_rows:
        table = _without_gaps_in_train(table, info)
    normalization = trained or _fitted(table, info, spec).model_copy(update={"dates": dates})
    progress(1, 3, f"{len(normalization.norm_infos)} columns to scale")
    filled = _without_gaps(table, info, normalization.filled)
    scaled = apply_scaling(normalization, filled, _IN_TRAINING)
    progress(2, 3, "columns scaled")
    write_parquet(scaled, folder / NORMALIZED_FILE)
    normalization.write(folder / spec.output_norm_feature_info_file_name)
    marks = marked_columns(normalization.filled)
    replace(info, features=(*info.features, *marks)).write(folder)
    progress(3, 3, "table written")
    gaps = gap_counts(table, [each.name for each in normalization.filled])
    about = {"missing_values": gaps, "columns_of_gaps": dict(marks), "rows_left_out": given - len(table)}
    about |= {"columns_of_dates": dict(date_columns(dates)), "no_dates": _counts_of_no_dates(table, dates)}
    return _report(normalization, filled, scaled, info) | {key: value for key, value in about.items() if value}


def _fitted_dates(table: pl.DataFrame, info: TableInfo, spec: NormalizedSection) -> tuple[DateInfo, ...]:
    """Return the parts of the dates that become columns; none where a table is not the user's own."""
    if spec.dates != "parts" or "image" in table.columns:
        return ()
    listed = {name for field in KEY_FIELDS for key in spec.listed(field) for name in _matches(key, info)}
    return fit_dates(_rows_to_fit(table, spec), [name for name in info.features if name not in listed])


def _require_one_form(table: pl.DataFrame, dates: Iterable[DateInfo]) -> None:
    """Refuse a subset whose dates are written in another form than those of train: all would count as missing.

    Raises:
        DataError: Names columns and subsets.
    """
    problems = []
    for each in dates:
        for (subset,), rows in table.select("subset", each.name).group_by("subset", maintain_order=True):
            if are_of_other_form(column := rows[each.name]):
                wrong = undated(column)
                problems.append(
                    f"column {each.name!r}: {len(wrong)} values of {subset} are no dates, such as {shorten(wrong[0])}"
                )
    if problems:
        raise DataError(
            "Dates are written in another form than in train. Write all of them as 2024-01-31 or 2024-01-31T08:15, or "
            "list the column as categories: normalized.categorical_feature_keys.",
            problems,
        )


def _counts_of_no_dates(table: pl.DataFrame, dates: Iterable[DateInfo]) -> dict[str, int]:
    counts = {each.name: len(undated(table[each.name])) for each in dates}
    return {name: count for name, count in counts.items() if count}


def _without_rows(table: pl.DataFrame, info: TableInfo, spec: NormalizedSection, folder: Path) -> dict[str, Any]:
    """Write a table without rows, as it comes from images that only have masks and therefore no crops."""
    write_parquet(table, folder / NORMALIZED_FILE)
    NormalizationInfo(fit_on=spec.fit_on, fitted_rows=0, norm_infos=()).write(
        folder / spec.output_norm_feature_info_file_name
    )
    info.write(folder)
    return {"rows": 0, "target_column": info.target_column, "fit_on": spec.fit_on, "fitted_rows": 0}


def _without_gaps_in_train(table: pl.DataFrame, info: TableInfo) -> pl.DataFrame:
    """Return the table without the rows of train that lack the value of any feature."""
    complete = ~pl.any_horizontal(missing_in(table[name]) for name in info.features) if info.features else True
    kept = table.filter((pl.col("subset") != TRAIN) | complete)
    if not (kept["subset"] == TRAIN).any() and (table["subset"] == TRAIN).any():
        counts = gap_counts(table, info.features)
        raise DataError(
            "normalized.missing.drop_rows leaves no row of train, since each lacks some value. Leave out columns with "
            "many gaps (generated_images.source.ignore_columns), or set drop_rows: false.",
            [f"column {name!r}: {count} of {len(table)} rows" for name, count in counts.items()],
        )
    return kept


def _without_gaps(table: pl.DataFrame, info: TableInfo, filling: Sequence[FilledInfo]) -> pl.DataFrame:
    """Return the table with its gaps filled, but those that are a category.

    Raises:
        DataError: A feature or the target has missing values that nothing fills, or infinite ones.
    """
    filled = fill_gaps(filling, table)
    levels = {each.name for each in filling if each.value is None}
    problems = unusable_values(filled, [name for name in (*info.features, info.target_column) if name not in levels])
    if problems:
        raise DataError(
            "The table has missing or infinite values. Fill them, let Assay fill them (normalized.missing: {numbers: "
            "median, categories: level}), or leave the columns out: generated_images.source.ignore_columns.",
            problems,
        )
    return filled


def unusable_values(table: pl.DataFrame, columns: Iterable[str]) -> list[str]:
    """Return one line for each of the columns that has missing or infinite values; ``item`` names its rows."""
    used, schema = list(columns), table.schema
    counts = table.select(_unusable(name, schema[name]).sum().alias(name) for name in used).row(0)
    return [
        f"column {name!r}: {count} of {pluralize(len(table), 'row')}, the first is {item_place(_first(table, name))}"
        for name, count in zip(used, counts, strict=True)
        if count
    ]


def _unusable(name: str, kind: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    return (column.is_null() | ~column.is_finite()) if kind.is_float() else column.is_null()


def _first(table: pl.DataFrame, name: str) -> str:
    return str(table.filter(_unusable(name, table.schema[name]))["item"][0])


def _from_model(scaling: Path, table: pl.DataFrame) -> NormalizationInfo:
    """Return the scaling that a model was trained with.

    Raises:
        DataError: The table lacks one of its columns, or holds no dates where it has some.
    """
    normalization = read_normalization(scaling)
    known = {*table.columns, *date_columns(normalization.dates)}
    read = [*(info.name for info in normalization.norm_infos), *(info.name for info in normalization.dates)]
    absent = [name for name in read if name not in known]
    if absent:
        raise DataError("The table lacks columns that the evaluated model was trained with.", absent)
    for info in normalization.dates:
        info.check(table[info.name])
    return normalization


def _fitted(table: pl.DataFrame, info: TableInfo, spec: NormalizedSection) -> NormalizationInfo:
    """Return the scaling fitted on the rows that the spec allows."""
    fitted = _rows_to_fit(table, spec)
    kinds = choose_columns(table.schema, info, with_chosen_columns(spec, fitted, info))
    is_own_table = "image" not in table.columns  # rows of crops have no gaps, and thousands of columns
    filling = fit_filling(fitted, info.features, kinds, spec.missing) if is_own_table else ()
    _without_gaps(table, info, filling)
    infos = fit_scaling(fill_gaps(filling, fitted), kinds, spec)
    return NormalizationInfo(fit_on=spec.fit_on, fitted_rows=len(fitted), norm_infos=infos, filled=filling)


def _rows_to_fit(table: pl.DataFrame, spec: NormalizedSection) -> pl.DataFrame:
    fitted = table if spec.fit_on == "all" else table.filter(pl.col("subset") == TRAIN)
    if fitted.is_empty():
        raise DataError(f"normalized.fit_on is {spec.fit_on!r}, but the table has no row of the subset {TRAIN!r}.")
    return fitted


def with_chosen_columns(spec: NormalizedSection, fitted: pl.DataFrame, info: TableInfo) -> NormalizedSection:
    """Return the section with the columns that functions of installed packages choose in place of their names.

    A function sees the features and the target of the rows that the scaling is fitted on, and no others, so that no
    test data decide which columns are used.

    Raises:
        DataError: A function returned something else than names of features.
        AssayError: A function failed, or its package can't be used.
    """
    chosen: dict[str, FeatureKeys] = {}
    for field in KEY_FIELDS:
        keys = getattr(spec, field)
        if isinstance(keys, FeatureFunction) and (function := added_function(FEATURES, keys)):
            names = function(fitted.select(*info.features, info.target_column), info.target_column)
            chosen[field] = _checked(names, f"normalized.{field}: the function {keys.kind!r}", info)
    return spec.model_copy(update=chosen)


def _checked(names: Any, what: str, info: TableInfo) -> FeatureKeys:
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{what} returned {shorten(names)}; expected a list of names of columns.")
    wrong = [name for name in names if name not in info.features]
    if wrong:
        raise DataError(f"{what} returned names of no features: {', '.join(map(shorten, wrong[:_SHOWN_VALUES]))}.")
    return tuple(dict.fromkeys(names))


def choose_columns(schema: Mapping[str, pl.DataType], info: TableInfo, spec: NormalizedSection) -> dict[str, Kind]:
    """Return how each column is scaled, in the table's order; columns that are not in it stay as they are.

    Args:
        schema: Type of each column.
        info: Target and features.
        spec: Names and globs of columns by kind; a kind that is null takes the remaining columns of matching type.

    Raises:
        DataError: A key matches no column, or a column is matched twice or can't be scaled that way; lists them all.
    """
    problems: list[str] = []
    chosen: dict[str, tuple[Kind, str]] = {}
    for kind in KINDS:
        for key in spec.listed(field_of(kind)):
            names = _matches(key, info)
            if not names:
                problems.append(f"{field_of(kind)} {key!r}: {_no_match(key, schema, info)}")
            for name in names:
                if name in chosen:
                    before = f"{field_of(chosen[name][0])} {chosen[name][1]!r}"
                    problems.append(f"{field_of(kind)} {key!r}: column {name!r} is matched by {before} already")
                elif problem := _unfit(schema[name], kind):
                    problems.append(f"{field_of(kind)} {key!r}: column {name!r} {problem}")
                chosen.setdefault(name, (kind, key))
    if problems:
        raise DataError("normalized: columns can't be scaled as wanted; nothing was computed.", problems)
    kinds = {name: kind for name, (kind, _) in chosen.items()}
    kinds |= _automatic(schema, (name for name in info.features if name not in kinds), spec)
    return {name: kinds[name] for name in info.features if name in kinds}


def field_of(kind: Kind) -> str:
    """Return the key of the spec that lists the columns of a kind."""
    return f"{kind}_feature_keys"


def _matches(key: str, info: TableInfo) -> list[str]:
    """Return the features that a key matches; an exact name wins, since a name may itself contain ``[`` or ``*``."""
    if key in info.features:
        return [key]
    return [name for name in info.features if fnmatchcase(name, key)]


def _no_match(key: str, schema: Mapping[str, pl.DataType], info: TableInfo) -> str:
    if key == info.target_column:
        return "is the target, which keeps its own unit, so that errors are in that unit; leave it out"
    if key in schema:
        return "is a column, but not a feature; leave it out"
    guess = nearest(key.translate(str.maketrans("", "", "*?[]")), info.features)
    hint = f" Did you mean {guess!r}?" if guess else ""
    shown = ", ".join(info.features[:_SHOWN_FEATURES]) + (", …" if len(info.features) > _SHOWN_FEATURES else "")
    return f"matches no column.{hint} Features: {shown or 'none'}."


def _unfit(dtype: pl.DataType, kind: Kind) -> str | None:
    """Return why a column of this type can't be scaled that way; None if it can."""
    if kind == "scalar" and not dtype.is_numeric():
        return f"holds {dtype}, expected numbers; list it in binary_ or categorical_feature_keys"
    if kind != "scalar" and not (dtype.is_integer() or dtype in (pl.Boolean, *_TEXTS)):
        return f"holds {dtype}, expected texts, whole numbers or true/false; list it in scalar_feature_keys"
    return None


def _automatic(schema: Mapping[str, pl.DataType], names: Iterable[str], spec: NormalizedSection) -> dict[str, Kind]:
    """Return how the columns that no key matched are scaled: by their type, where the spec leaves that kind null."""
    kinds: dict[str, Kind] = {}
    for name in names:
        kind = _kind_of_type(schema[name])
        if kind is not None and getattr(spec, field_of(kind)) is None:
            kinds[name] = kind
    return kinds


def _kind_of_type(dtype: pl.DataType) -> Kind | None:
    if dtype.is_numeric():
        return "scalar"
    if dtype == pl.Boolean:
        return "binary"
    return "categorical" if dtype in _TEXTS else None


_IN_TRAINING = (
    "Other subsets hold values that train lacks. Give them a code of their own (normalized.unseen_categories: "
    "code), leave the column out (generated_images.source.ignore_columns) or split again (splits.seed)."
)


def apply_scaling(normalization: NormalizationInfo, table: pl.DataFrame, advice: str) -> pl.DataFrame:
    """Return a table with all its scaled columns scaled.

    Args:
        normalization: Fitted on the training rows.
        table: Has every scaled column.
        advice: What to do about values that the fitted rows lack.

    Raises:
        DataError: There are such values: the advice, and every column with them.
    """
    problems, columns = [], []
    for info in normalization.norm_infos:
        try:
            columns.append(info.apply(table[info.name]).alias(info.name))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError(advice, problems)
    return table.with_columns(columns)


def _report(
    normalization: NormalizationInfo, filled: pl.DataFrame, scaled: pl.DataFrame, info: TableInfo
) -> dict[str, Any]:
    kinds = [norm_info.kind for norm_info in normalization.norm_infos]
    outside = _outside(normalization, filled, scaled)
    per_column = outside.sum().row(0, named=True) if len(outside.columns) > 1 else {}
    worst = sorted(
        (name for name in per_column if name != "subset" and per_column[name]), key=lambda n: (-per_column[n], n)
    )
    ranks = [each.name for each in normalization.norm_infos if isinstance(each, RanksInfo)]
    levels = {
        each.name: each.levels for each in normalization.norm_infos if isinstance(each, CategoricalInfo) and each.levels
    }
    return {
        "rows": len(scaled),
        "target_column": info.target_column,
        "fit_on": normalization.fit_on,
        "fitted_rows": normalization.fitted_rows,
        "scalar_columns": len([kind for kind in kinds if kind in ("scalar", "ranks")]),
        "binary_columns": kinds.count("binary"),
        "categorical_columns": kinds.count("categorical"),
        "unscaled_features": len(info.features) - len(kinds),
        **({"columns_by_rank": ranks} if ranks else {}),
        **({"levels": levels} if levels else {}),
        "constant_columns": _constant_columns(normalization, scaled),
        "out_of_range": {
            row["subset"]: sum(v for k, v in row.items() if k != "subset") for row in outside.iter_rows(named=True)
        },
        "out_of_range_columns": {name: per_column[name] for name in worst[:_SHOWN]},
    }


def _outside(normalization: NormalizationInfo, filled: pl.DataFrame, scaled: pl.DataFrame) -> pl.DataFrame:
    """Return, per subset, how many values of each column of numbers are beyond those of the fitted rows."""
    ends: dict[str, tuple[float, float]] = {}
    for one in normalization.norm_infos:
        if isinstance(one, ScalarInfo):
            ends[one.name] = one.ends or (0.0, 1.0)
        elif isinstance(one, RanksInfo):
            ends[one.name] = (one.values[0], one.values[-1])
    ranks = [one.name for one in normalization.norm_infos if isinstance(one, RanksInfo)]
    compared = scaled.with_columns(filled[name] for name in ranks)
    counts = [(~pl.col(name).is_between(*both)).sum() for name, both in ends.items()]
    return compared.group_by("subset").agg(counts).sort("subset")


def _constant_columns(normalization: NormalizationInfo, scaled: pl.DataFrame) -> list[str]:
    fitted = scaled if normalization.fit_on == "all" else scaled.filter(pl.col("subset") == TRAIN)
    names = [one.name for one in normalization.norm_infos if isinstance(one, ScalarInfo)]
    highest = fitted.select(pl.col(names).max()).row(0, named=True) if names else {}
    return sorted(name for name, value in highest.items() if value == 0)
