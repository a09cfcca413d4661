"""Commands that use trained models: ``predict``, and ``promote``, which says which one is used."""

import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assay.errors import DataError, one_line
from assay.experiments.boards import BoardOutcome, Boards, BoardState
from assay.experiments.workspace import spec_files, storage_root
from assay.spec.ids import validate_id
from assay.utils.concurrency import keep_freed_memory
from assay.utils.reading import user_path
from assay.utils.text import readable_number, text_table

if TYPE_CHECKING:
    from assay.inference.scoring import Scoring

SOME_FAILED = 3
"""Exit code where pictures could not be read, and the others were predicted."""

MOST_LISTED = 20


def predict(
    model: Annotated[
        str, typer.Argument(help="ID of an experiment, champion or champion:BOARD, or path of a folder or model's file")
    ],
    paths: Annotated[
        list[str], typer.Argument(help="pictures: files, folders, patterns in quotes; or one CSV or Parquet file")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help=".csv, .parquet, .json, coco.json, or a folder for pictures; CSV on the screen when left out"
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace what --out names")] = False,
) -> None:
    """Predict new pictures or rows with a trained model; no labels are needed.

    Every picture is one item. Those that can't be read are listed, the others predicted; the exit code is then 3.
    """
    gc.set_threshold(100_000, 20, 20)  # torch makes a million objects that live as long as this short process
    keep_freed_memory()
    from assay.inference.model import open_model
    from assay.inference.scoring import begin_scoring, note_on_crops
    from assay.inference.writing import require_output

    _require_model_first(model, paths)
    out = user_path(str(out)) if out is not None else None  # a shell leaves --out=~/seen as it is
    loaded = open_model(model)
    if out is not None:
        require_output(loaded, out, overwrite, paths)
    scoring = begin_scoring(loaded, paths, out)
    if note := note_on_crops(loaded.stored):
        typer.echo(note, err=True)
    if _write(scoring, out):
        raise typer.Exit(SOME_FAILED)


NOT_PROMOTED = 3
"""Exit code where ``--if-better`` kept the champion."""


def promote(
    experiment_id: Annotated[
        str | None, typer.Argument(help="ID of a finished experiment; the boards are listed when left out")
    ] = None,
    board: Annotated[
        str, typer.Option("--board", help="name of the board; that of the experiment's spec, or main, when left out")
    ] = "",
    if_better: Annotated[
        bool, typer.Option("--if-better", help="by the rule only: tests passed, surely better on the same items")
    ] = False,
    back: Annotated[bool, typer.Option("--back", help="take the champion back: the one before is it again")] = False,
) -> None:
    """Make an experiment the champion of a board, which predict, eval and export take as champion or champion:BOARD.

    With --if-better, the exit code is 3 where the champion stays.
    """
    if back and if_better:
        raise DataError("--back and --if-better exclude each other: one step back needs no comparison. Leave one out.")
    if experiment_id is None and not back:
        if if_better:
            raise DataError("--if-better needs an experiment: assay promote ID --if-better")
        typer.echo("\n".join(_board_lines(Boards(storage_root()), board)))
        return
    outcome = _promoted(None if experiment_id is None else validate_id(experiment_id), board, if_better, back)
    for each in outcome.considered:
        typer.echo(f"{each.experiment_id}: {'promoted' if each.promoted else 'not promoted'}: {one_line(each.reason)}")
    if outcome.state is not None and outcome.state.champion is not None:
        typer.echo(outcome.state.sentence(outcome.board))
    if outcome.promoted or back:
        from assets.champion import report_board_here  # Dagster: only here

        report_board_here(outcome)
        typer.echo(f"Next: assay predict champion:{outcome.board} PATH")
    elif if_better:
        raise typer.Exit(NOT_PROMOTED)


def _promoted(experiment_id: str | None, board: str, if_better: bool, back: bool) -> BoardOutcome:
    root, specs = storage_root(), spec_files()
    if back or experiment_id is None:
        name = Boards(root).step_back(specs, board, experiment_id or "", _tell_waiting)
        return BoardOutcome(name, Boards(root).state(name))
    from assay.comparison.champions import promote_by_hand, promote_by_rule  # Polars and DuckDB: only here

    return (promote_by_rule if if_better else promote_by_hand)(root, specs, experiment_id, board, _tell_waiting)


def _tell_waiting(holders: str) -> None:
    typer.echo(f"Waiting for who changes the board: {holders}", err=True)


def _board_lines(boards: Boards, board: str) -> list[str]:
    """Return the champion of each board, and who was it before."""
    lines = []
    for name in [boards.find(board)] if board or not boards.names() else boards.names():
        state = boards.state(name)
        if state is None:
            continue
        rows = list(reversed([_row(state, number) for number in range(len(state.history))]))
        lines += [state.sentence(name), *(f"  {line}" for line in text_table(HISTORY_COLUMNS, rows)), ""]
    return lines[:-1]


HISTORY_COLUMNS = ("experiment", "", "value", "promoted", "by", "why")
"""Columns of a board's history."""


def _row(state: BoardState, number: int) -> tuple[str, ...]:
    each = state.history[number]
    now = "champion" if each is state.champion else "taken back" if each.withdrawn else ""
    value = "" if each.value is None else readable_number(each.value)
    return each.experiment_id, now, value, each.at, each.by, each.reason


def _require_model_first(model: str, paths: list[str]) -> None:
    """Refuse a call whose first argument is data: the most likely mistake."""
    suffix = Path(model).suffix.lower()
    if suffix in (".csv", ".parquet", ".png", ".jpg", ".jpeg"):
        raise DataError(
            f"{model} is no model. Give the experiment's ID first: assay predict ID {model} {' '.join(paths)}"
        )


def _write(scoring: "Scoring", out: Path | None) -> int:
    """Write the predictions, tell progress and result, and return how many pictures can't be read."""
    from assay.inference.writing import predictions_file

    with predictions_file(scoring.model, out, sys.stdout) as writer:
        for part in scoring:
            writer.add(part)
            _tell(f"{scoring.count:,} {scoring.unit}")
    _tell("")
    where = f": {out}" if out is not None else ""
    typer.echo(f"{scoring.count:,} {scoring.unit} predicted{where}", err=True)
    if scoring.ignored:
        typer.echo(f"  columns that the model does not read: {', '.join(map(one_line, scoring.ignored))}", err=True)
    for note in scoring.notes:
        typer.echo(f"  note: {one_line(note)}", err=True)
    if scoring.about_rare:
        typer.echo(f"  {one_line(scoring.about_rare)}", err=True)
    for item, problem in scoring.problems[:MOST_LISTED]:
        typer.echo(f"  not predicted: {one_line(item)}: {problem}", err=True)
    if len(scoring.problems) > MOST_LISTED:
        typer.echo(f"  … and {len(scoring.problems) - MOST_LISTED:,} more", err=True)
    return len(scoring.problems)


def _tell(text: str) -> None:
    """Replace the line of progress on a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
