"""Selecting experiments by ID, by an SQL condition, or both.

Belongs here: spec files as a relation, and filtering it. Does not belong here: what is done with the experiments.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import polars as pl

from assay.errors import AssayError, DataError, SpecError, shorten, unknown
from assay.experiments.folders import ExperimentFolders, experiment_row
from assay.experiments.specs import SpecFiles
from assay.spec.experiment import ExperimentSpec
from assay.storage.warehouse import connect
from assay.utils.text import pluralize

_log = logging.getLogger(__name__)

COLUMNS = "* REPLACE (spec::JSON AS spec, tags::JSON AS tags)"
"""With JSON columns, a condition such as ``spec.trained_model.learner.learning_rate < 0.001`` is possible."""

NEXT = "Write SQL such as: task = 'regression' and seed < 10"


@dataclass(frozen=True)
class Selection:
    """The selected experiments.

    Attributes:
        specs: Their specs by ID, sorted.
        left_out: IDs of experiments that were skipped because their files are not valid.
    """

    specs: Mapping[str, ExperimentSpec]
    left_out: tuple[str, ...] = ()


def select_experiments(files: SpecFiles, root: Path, where: str = "", ids: Iterable[str] = ()) -> Selection:
    """Return the experiments in ``ids``, or all experiments, for which ``where`` is true.

    Args:
        files: The spec files; an experiment need not have run.
        root: Storage root, for tables that the condition may query.
        where: An SQL expression over one row per experiment; empty for no condition.
        ids: Select only these, whose files must be valid; empty for all.

    Raises:
        DataError: The condition is not valid, or no experiment matches.
        SpecError: An experiment in ``ids`` has no valid file.
    """
    named = sorted(set(ids))
    specs = {name: _load_named(files, name) for name in named}
    left_out: list[str] = []
    if not named:
        specs, left_out = _load_all(files)
    if where and specs:
        chosen = _matching(specs, root, where)
        specs = {name: spec for name, spec in specs.items() if name in chosen}
    if not specs:
        raise DataError(_nothing(files, where, left_out))
    return Selection(specs, tuple(left_out))


def _load_named(files: SpecFiles, experiment_id: str) -> ExperimentSpec:
    if not files.exists(experiment_id):
        raise SpecError(str(files.folder), [unknown("Experiment", experiment_id, files.ids())])
    return files.load(experiment_id)


def _load_all(files: SpecFiles) -> tuple[dict[str, ExperimentSpec], list[str]]:
    specs: dict[str, ExperimentSpec] = {}
    left_out = []
    for name in files.ids():
        try:
            specs[name] = files.load(name)
        except Exception as error:  # of one experiment: `assay validate` says why; the valid ones need not wait for it
            if not isinstance(error, AssayError):
                _log.exception("The file of experiment %s can't be read.", name)
            left_out.append(name)
    return specs, left_out


def _matching(specs: Mapping[str, ExperimentSpec], root: Path, where: str) -> set[str]:
    rows = _frame(specs, root).to_arrow()
    with connect(root) as connection:
        connection.register("spec_files", rows)
        # A temporary table hides the stored table of the same name, which has only experiments that have run.
        connection.execute(f"CREATE TEMP TABLE experiments AS SELECT {COLUMNS} FROM spec_files")  # noqa: S608
        relation = connection.table("temp.experiments")
        try:
            # DuckDB parses the condition as an expression, never as a statement.
            return {name for (name,) in relation.filter(where).project("experiment_id").fetchall()}
        except duckdb.Error as error:
            columns = ", ".join(relation.columns)
            reason = str(error).strip()
            raise DataError(
                f"The condition {shorten(where, 500)} is wrong: {reason}\nColumns: {columns}. {NEXT}"
            ) from error


def _frame(specs: Mapping[str, ExperimentSpec], root: Path) -> pl.DataFrame:
    """Return one row per experiment, with the columns of the table ``experiments``."""
    folders = ExperimentFolders(root)
    rows = [{"experiment_id": name, **experiment_row(name, spec, folders.find(name))} for name, spec in specs.items()]
    types = {"experiment_id": pl.String, "run_id": pl.String, "folder": pl.String}
    return pl.DataFrame(rows, schema_overrides=types)


def _nothing(files: SpecFiles, where: str, left_out: list[str]) -> str:
    broken = f" {pluralize(len(left_out), 'file is', 'files are')} not valid: assay validate." if left_out else ""
    if not files.ids():
        return f"There are no experiments in {files.folder}. Create one with: assay new regression"
    match = f"matches {shorten(where, 500)}" if where else "is valid"
    return (
        f"No experiment {match}; {pluralize(len(files.ids()), 'is', 'are')} in {files.folder}.{broken} All of "
        "them: --where true"
    )
