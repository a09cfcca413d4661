"""Asset ``champion``: which experiment is the champion of each board, decided by the rule; and events of the terminal.

Belongs here: what the UI shows of boards. Does not belong here: the rule (``assay.comparison.champions``), looking at
experiments when they are finished (``assets.sensors``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import quote

import dagster as dg

from assay.comparison.champions import consider
from assay.errors import AssayError, one_line
from assay.experiments.boards import BoardOutcome, Boards, BoardState, entered
from assay.pipeline import digest_of
from assay.spec.experiment import Board
from assay.utils.text import escape_markdown, readable_number, rounded
from assets.common import OWNERS, STORES_FOLDER
from resources.defaults import default_store
from resources.experiment_store import ExperimentStore
from resources.failures import as_failure
from resources.instance.home import local_instance
from resources.instance.run_records import version_tags

CHAMPION = dg.AssetKey("champion")

OF_NO_PARTITION = dg.SpecificPartitionsPartitionMapping([])
"""The champion comes from the analyses of all experiments, but is out of date only when those of its board change, as
``follow_boards`` knows: with all partitions, Dagster would call it so after each run of any experiment."""

MOST_SHOWN = 50
"""Rows of a table in the UI."""


@dg.asset(
    deps=[dg.AssetDep("analysis", partition_mapping=OF_NO_PARTITION)],
    check_specs=[
        dg.AssetCheckSpec(
            "boards_are_sound",
            asset="champion",
            description="The file of every board can be read; the reason stands in the result.",
        )
    ],
    group_name="learning",
    kinds={"json"},
    owners=OWNERS,
    tags=STORES_FOLDER,
)
def champion(context: dg.AssetExecutionContext, store: ExperimentStore) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """The champion of each board: the experiment that commands take as `champion` or `champion:NAME`.

    An experiment is on a board if its spec has the key `board`. Materialize to let all finished ones compete: the
    champion changes only for one that passes its tests and is surely better on the same items. By hand:
    `assay promote ID`, one step back: `assay promote --back`.
    """
    with as_failure("The champion"):
        named, problems = entered(store.specs)
    for problem in problems:
        context.log.warning(problem)
    waiting = partial(context.log.info, "Waiting for who changes the board: %s")
    boards = sorted({*named, *Boards(store.path).names()})
    outcomes = [_outcome(store, board, named.get(board, {}), waiting) for board in boards]
    return dg.MaterializeResult(
        metadata=metadata_of_boards(outcomes),
        data_version=dg.DataVersion(version_of(outcomes)),
        check_results=[_soundness(outcomes)],
    )


def _outcome(store: ExperimentStore, board: str, entrants: Mapping[str, Board], waiting: Any) -> BoardOutcome:
    """Decide about one board; what is wrong with it stops no other."""
    try:
        return consider(store.path, store.specs, board, entrants, waiting)
    except AssayError as error:
        return BoardOutcome(board, problem=str(error))


def _soundness(outcomes: Sequence[BoardOutcome]) -> dg.AssetCheckResult:
    problems = [each.problem for each in outcomes if each.problem]
    text = escape_markdown("; ".join(map(one_line, problems))) or "Every board can be read."
    return dg.AssetCheckResult(check_name="boards_are_sound", passed=not problems, description=text)


def version_of(outcomes: Sequence[BoardOutcome]) -> str:
    """Return the data version of the asset: which model is champion of which board."""
    champions = {each.board: each.state.champion for each in outcomes if each.state is not None}
    return digest_of({board: one.model for board, one in champions.items() if one is not None})


def metadata_of_boards(outcomes: Sequence[BoardOutcome]) -> dict[str, Any]:
    """Return what the UI shows: who is champion, with a link, since when and why; what was considered; and numbers."""
    lines = [each.state.sentence(each.board) for each in outcomes if each.state is not None]
    problems = [each.problem for each in outcomes if each.problem]
    metadata: dict[str, Any] = {
        "summary": escape_markdown(" ".join([*lines, *map(one_line, problems)]))
        or "No experiment names a board. Write 'board: NAME' into the files of those that compete."
    }
    for each in outcomes:
        if each.considered:
            metadata[f"{each.board}/considered"] = dg.MetadataValue.md(_considered(each))
        if each.state is not None and each.state.champion is not None:
            metadata |= _metadata_of(each.board, each.state)
    return metadata


def _metadata_of(board: str, state: BoardState) -> dict[str, Any]:
    promotion = state.champion
    if promotion is None:
        return {}
    rows = [
        (_link(each.experiment_id), _moment(each.at), each.by, _shown(each.value), _moment(each.withdrawn), each.reason)
        for each in reversed(state.history)
    ]
    numbers = {state.metric: promotion.value, "ci_low": promotion.low, "ci_high": promotion.high}
    header = ("experiment", "promoted (UTC)", "by", state.metric, "taken back", "why")
    return {
        f"{board}/champion": dg.MetadataValue.md(_link(promotion.experiment_id)),
        f"{board}/why": escape_markdown(promotion.reason),
        f"{board}/history": dg.MetadataValue.md(_table(header, rows)),
        **{f"{board}/{name}": rounded(value) for name, value in numbers.items() if value is not None},
    }


def _considered(outcome: BoardOutcome) -> str:
    rows = [
        (_link(each.experiment_id), _shown(each.value), "promoted" if each.promoted else "", each.reason)
        for each in outcome.considered
    ]
    return _table(("experiment", "value", "", "why"), rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, whose first column is Markdown already."""
    shown = [[row[0], *(escape_markdown(one_line(cell)) for cell in row[1:])] for row in rows[:MOST_SHOWN]]
    lines = [" | ".join(cells) for cells in (header, ["---"] * len(header), *shown)]
    more = [f"\n… and {len(rows) - MOST_SHOWN} more"] if len(rows) > MOST_SHOWN else []
    return "\n".join([*(f"| {line} |" for line in lines), *more])


def _link(experiment_id: str) -> str:
    page = f"/assets/trained_model?view=partitions&partition={quote(experiment_id)}"
    return f"[{escape_markdown(experiment_id)}]({page})"


def _moment(text: str) -> str:
    """Return a recorded moment to the minute."""
    return text[:16].replace("T", " ")


def _shown(value: float | None) -> str:
    return "" if value is None else readable_number(value)


def report_board(instance: dg.DagsterInstance, store: ExperimentStore, outcome: BoardOutcome) -> None:
    """Record what became of a board outside of a run of the asset, beside the state of the other boards."""
    boards = Boards(store.path)
    others = [_as_it_is(boards, name) for name in boards.names() if name != outcome.board]
    by_now = _as_it_is(boards, outcome.board).state  # another process may have promoted since
    outcome = replace(outcome, state=by_now or outcome.state)
    outcomes = sorted([outcome, *others], key=lambda each: each.board)
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            CHAMPION,
            description=escape_markdown(outcome.state.sentence(outcome.board)) if outcome.state else None,
            metadata=metadata_of_boards(outcomes),
            tags=version_tags(version_of(outcomes)),
        )
    )


def _as_it_is(boards: Boards, name: str) -> BoardOutcome:
    try:
        return BoardOutcome(name, boards.state(name))
    except AssayError as error:
        return BoardOutcome(name, problem=str(error))


def report_board_here(outcome: BoardOutcome) -> None:
    """Record what a command did to a board in the Dagster instance of this project; see ``report_board``."""
    with local_instance() as instance:
        report_board(instance, default_store(), outcome)


def compete(instance: dg.DagsterInstance, store: ExperimentStore, experiment_id: str, board: Board) -> list[str]:
    """Let an experiment that was just finished compete for its board, and return what to tell of it."""
    try:
        outcome = consider(store.path, store.specs, board.name, {experiment_id: board})
    except AssayError as error:
        return [f"Not promoted: {error}"]
    if outcome.promoted:
        report_board(instance, store, outcome)
    lines = [f"{'Promoted' if each.promoted else 'Not promoted'}: {each.reason}." for each in outcome.considered]
    return [*lines, *([outcome.state.sentence(outcome.board)] if outcome.state else [])]
