"""Boards: which experiment is the champion of each, which were it before, and why; one small file per board.

A champion is pinned: its promotion names model and analysis by their fingerprints, so that another training of the same
experiment changes nothing, and ``assay gc`` keeps what it is made of even when its experiment was removed.

Belongs here: the record of a board, its experiments, finding the champion that a name means. Does not belong here: who
becomes champion (``assay.comparison.champions``), what is deleted (``garbage``).
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from assay.errors import MAX_CHOICES, AssayError, StorageError, unknown
from assay.experiments.folders import ExperimentFolders, read_folder_manifest
from assay.experiments.specs import SpecFiles
from assay.spec.experiment import Board
from assay.spec.ids import CHAMPION, ID_PATTERN
from assay.storage.files import json_text, write_text
from assay.storage.locks.acquire import Waiting, hold
from assay.storage.records import Fingerprint, Record, read_stored
from assay.storage.remote import remote_of
from assay.storage.results import Result, ResultStore
from assay.utils.reading import read_bytes
from assay.utils.text import readable_number

MAIN = "main"
"""Board of experiments whose spec names none."""

MOST_BOARD_BYTES = 2**24
"""Limit of a board's file: more than ten thousand promotions."""

_PREFIX = f"{CHAMPION}:"


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds characters that are not printable")
    return text


_Text = Annotated[str, Field(max_length=2000), AfterValidator(_printable)]
_Number = Annotated[float | None, Field(allow_inf_nan=False)]


class Promotion(Record):
    """One experiment that became champion.

    Attributes:
        experiment_id: The experiment.
        model: Fingerprint of its ``trained_model``.
        analysis: Fingerprint of its ``analysis``, whose ancestors are all that it is made of.
        at: When it was promoted: UTC, ISO 8601.
        by: By rule, or by hand.
        reason: Why, in a sentence.
        value: Its value of the board's metric, in the metric's unit; None where that is not defined.
        low: Lower end of the value's interval; None where there is none.
        high: Its upper end.
        withdrawn: When it was taken back; empty if it was not.
    """

    experiment_id: Annotated[str, Field(pattern=rf"^{ID_PATTERN.pattern}$")]
    model: Fingerprint
    analysis: Fingerprint
    at: _Text
    by: Literal["rule", "hand"]
    reason: _Text
    value: _Number = None
    low: _Number = None
    high: _Number = None
    withdrawn: _Text = ""


class BoardState(Record):
    """The file of a board.

    Attributes:
        task: The kind of learning of its experiments.
        metric: The metric that decides.
        subset: The subset whose items decide.
        history: All promotions, the last one last.
        passed_over: Fingerprints of the analyses that were there when somebody last decided by hand: the rule, which
            would undo that decision, leaves them alone.
    """

    task: _Text
    metric: _Text
    subset: _Text
    history: tuple[Promotion, ...] = Field(strict=False)
    passed_over: tuple[Fingerprint, ...] = Field(default=(), strict=False)

    @property
    def standing(self) -> list[Promotion]:
        """The promotions that were not taken back, the last one last."""
        return [each for each in self.history if not each.withdrawn]

    @property
    def champion(self) -> Promotion | None:
        """The champion; None where every promotion was taken back."""
        return next(reversed(self.standing), None)

    @property
    def former(self) -> Promotion | None:
        """The champion to which one step back leads; None if there is none."""
        return next(iter(self.standing[-2:-1]), None)

    def sentence(self, board: str) -> str:
        """Return who is champion, how good, and who was it before."""
        if self.champion is None:
            return f"Board {board} has no champion."
        each = self.champion
        ends = None if each.low is None or each.high is None else (each.low, each.high)
        interval = f" [{', '.join(map(readable_number, ends))}]" if ends else ""
        before = f"; before: {self.former.experiment_id}" if self.former else ""
        value = f"{self.metric} {readable_number(each.value)}{interval}"
        return f"{each.experiment_id} is the champion of board {board}: {value} on {self.subset}{before}."

    def leaves_alone(self, analysis: str) -> bool:
        """Return whether somebody chose another one by hand while this analysis was there."""
        is_champion = self.champion is not None and self.champion.analysis == analysis
        return analysis in self.passed_over and not is_champion

    def has_withdrawn(self, model: str) -> bool:
        """Return whether a model was taken back, and not promoted again since: the rule leaves it alone."""
        last = [each for each in self.history if each.model == model][-1:]
        return any(each.withdrawn for each in last)


@dataclass(frozen=True)
class Considered:
    """One experiment that was looked at.

    Attributes:
        experiment_id: The experiment.
        promoted: Whether it became champion.
        reason: Why, or why not, in a sentence.
        value: Its value of the board's metric; None if it has none.
    """

    experiment_id: str
    promoted: bool
    reason: str
    value: float | None = None


@dataclass(frozen=True)
class BoardOutcome:
    """A board after experiments were looked at.

    Attributes:
        board: Its name.
        state: Its state; None as long as it has no champion.
        considered: What was looked at, the best first.
        problem: Why nothing could be decided, such as a damaged file; empty otherwise.
    """

    board: str
    state: BoardState | None = None
    considered: tuple[Considered, ...] = ()
    problem: str = ""

    @property
    def promoted(self) -> bool:
        """Whether the board has another champion than before."""
        return any(each.promoted for each in self.considered)


def now() -> str:
    """Return the present moment as it is recorded."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Boards:
    """The boards below a storage root: ``<root>/boards/<name>.json``."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.folder = self.root / "boards"

    def path(self, board: str) -> Path:
        """Return the path of a board's file, which need not exist."""
        return self.folder / f"{board}.json"

    def names(self) -> list[str]:
        """Return the sorted names of the boards that had a champion; files of other names are none."""
        names = (path.stem for path in self.folder.glob("*.json"))
        return sorted(name for name in names if ID_PATTERN.fullmatch(name))

    def state(self, board: str) -> BoardState | None:
        """Return the state of a board; None if it never had a champion.

        Raises:
            StorageError: Its file is damaged.
        """
        path = self.path(board)
        try:
            return BoardState.model_validate(read_stored(path, BoardState, MOST_BOARD_BYTES))
        except FileNotFoundError:
            return None
        except StorageError as error:
            raise StorageError(
                f"Board {board!r}: {error}. Mend that file, or delete it and promote the champion: assay promote ID"
            ) from error

    @contextmanager
    def changing(self, board: str, waiting: Waiting | None = None) -> Iterator[BoardState | None]:
        """Yield the state of a board while nobody else changes it; see ``state``."""
        with ExitStack() as stack:
            if (remote := remote_of(self.root)) is not None:
                stack.enter_context(hold(remote.lock_folder, f"boards/{board}", "write", "promoting", waiting=waiting))
                remote.pull_one(f"boards/{board}.json")
            stack.enter_context(hold(self.root / "locks", f"boards/{board}", "write", "promoting", waiting=waiting))
            yield self.state(board)

    def store(self, board: str, state: BoardState) -> None:
        """Write the state of a board atomically; the caller is ``changing`` it."""
        text = json_text(state.model_dump(mode="json"))
        if (remote := remote_of(self.root)) is None:
            write_text(self.path(board), text)
        else:
            remote.push(f"boards/{board}.json", text.encode())

    def held_by(self, experiment_id: str) -> list[str]:
        """Return of which boards an experiment is champion, one sentence each; boards that are damaged are left out."""
        lines = []
        for name in self.names():
            with suppress(StorageError):
                state = self.state(name)
                champion = state.champion if state else None
                if champion is not None and champion.experiment_id == experiment_id:
                    anew = (
                        "" if self.is_present(champion) else "; it was trained anew since, and stays as it was promoted"
                    )
                    lines.append(f"champion of board {name} since {champion.at}{anew}")
        return lines

    def find(self, board: str = "") -> str:
        """Return the board that a user means.

        Args:
            board: Its name; empty: the only one, or ``main``.

        Raises:
            StorageError: There is no such board, or none can be meant.
        """
        names = self.names()
        if not names:
            raise StorageError("No board has a champion yet. Next: assay promote ID")
        if board and board not in names:
            raise StorageError(unknown("Board", board, names))
        if not board and len(names) > 1 and MAIN not in names:
            shown = ", ".join(f"{_PREFIX}{name}" for name in names[:MAX_CHOICES])
            raise StorageError(f"There are {len(names)} boards. Name one of their champions: {shown}.")
        return board or (MAIN if MAIN in names else names[0])

    def champion(self, board: str = "") -> tuple[str, Promotion]:
        """Return the name and champion of a board, see ``find``.

        Raises:
            StorageError: There is no such board, it has no champion, or its file is damaged.
        """
        name = self.find(board)
        state = self.state(name)
        if state is None or state.champion is None:
            raise StorageError(f"Board {name!r} has no champion. Next: assay promote ID --board {name}")
        return name, state.champion

    def step_back(
        self, specs: SpecFiles, board: str = "", experiment_id: str = "", waiting: Waiting | None = None
    ) -> str:
        """Make the champion before the present one the champion again, and return the name of the board.

        Args:
            specs: The spec files.
            board: Name of the board, see ``find``.
            experiment_id: The champion that is taken back; empty: whoever it is.
            waiting: Called with who changes the board, if that has to be waited for.

        Raises:
            StorageError: There is no such board or no former champion, another one is champion, or the results of the
                former one are gone.
        """
        name = self.find(board)
        with self.changing(name, waiting) as state:
            champion = state.champion if state else None
            if state is None or champion is None:
                raise StorageError(f"Board {name!r} has no champion. Next: assay promote ID --board {name}")
            if experiment_id not in ("", champion.experiment_id):
                raise StorageError(
                    f"The champion of board {name!r} is {champion.experiment_id!r}, not {experiment_id!r}. Next: assay "
                    f"promote --back --board {name}"
                )
            if state.former is None:
                raise StorageError(
                    f"Board {name!r} had no champion before {champion.experiment_id!r}, so that there is no step back. "
                    "Next: assay promote ID"
                )
            self.results(name, state.former)  # refused before anything is written
            taken = champion.model_copy(update={"withdrawn": now()})
            history = tuple(taken if each is champion else each for each in state.history)
            passed = tuple(analyses_there(self.root, specs, name))
            self.store(name, state.model_copy(update={"history": history, "passed_over": passed}))
        return name

    def results(self, board: str, promotion: Promotion) -> dict[str, Result]:
        """Return the results of a champion as it was promoted, by stage; of its data, those that are stored here.

        Raises:
            StorageError: Its model, predictions or analysis are gone.
        """
        store, who = ResultStore(self.root), f"{promotion.experiment_id!r}, promoted on board {board!r}"
        analysis = store.find("analysis", promotion.analysis)
        wanted = {**(analysis.manifest["ancestors"] if analysis else {}), "trained_model": promotion.model}
        found = {stage: result for stage, each in wanted.items() if (result := store.find(stage, each)) is not None}
        lacks = [stage for stage in ("trained_model", "predictions") if stage not in found]
        if analysis is None or lacks:
            raise StorageError(
                f"The results of {who}, are gone ({', '.join(lacks) if analysis else 'analysis'}). Next: "
                f"assay promote ID --board {board}, or one step back: assay promote --back --board {board}"
            )
        return {**found, "analysis": analysis}

    def is_present(self, promotion: Promotion) -> bool:
        """Return whether the experiment's folder holds what was promoted, and no later training."""
        folder = ExperimentFolders(self.root).find(promotion.experiment_id)
        results = (read_folder_manifest(folder.path) if folder else None) or {"results": {}}
        made: dict[str, Any] = results["results"]
        return (made.get("trained_model"), made.get("analysis")) == (promotion.model, promotion.analysis)


def entered(specs: SpecFiles) -> tuple[dict[str, dict[str, Board]], list[str]]:
    """Return the experiments of each board that a spec names, and why others can't be read.

    Files that do not hold the word are not parsed: a thousand take 20 ms.
    """
    found: dict[str, dict[str, Board]] = {}
    problems = []
    for name in specs.ids():
        try:
            if b"board" in read_bytes(specs.path(name)) and (board := specs.load(name).board) is not None:
                found.setdefault(board.name, {})[name] = board
        except FileNotFoundError:
            continue  # it was removed just now
        except AssayError as error:
            problems.append(f"{name}: {error}")
    return found, problems


def analyses_there(root: Path, specs: SpecFiles, board: str) -> list[str]:
    """Return the fingerprints of the analyses that the experiments of a board have now, sorted."""
    found = set()
    for name in entered(specs)[0].get(board, {}):
        with suppress(StorageError):  # whoever compares it tells what is wrong
            folder = ExperimentFolders(root).find(name)
            manifest = read_folder_manifest(folder.path) if folder else None
            found |= {manifest["results"].get("analysis", "")} if manifest else set()
    return sorted(found - {""})


def board_meant(root: Path, name: str, specs: SpecFiles) -> str | None:
    """Return the board in ``champion:NAME``, empty for ``champion`` alone; None for any other name.

    An experiment of this very ID, from before there were boards, keeps its name until a board has a champion.

    Raises:
        StorageError: ``champion`` may mean either.
    """
    if name != CHAMPION:
        return name.removeprefix(_PREFIX) if name.startswith(_PREFIX) else None
    if not specs.exists(name) and ExperimentFolders(root).find(name) is None:
        return ""
    if not Boards(root).names():
        return None
    raise StorageError(
        f"{name!r} is an experiment, and also stands for the champion of a board. Say {_PREFIX}NAME for the champion "
        f"of board NAME; for the experiment, give the folder that 'assay path {name}' prints."
    )


def experiment_meant(root: Path, name: str, specs: SpecFiles) -> str:
    """Return the experiment that ``champion`` or ``champion:NAME`` means; any other name as it is.

    Raises:
        StorageError: There is no such champion, or its experiment was trained anew since, or removed.
    """
    board = board_meant(root, name, specs)
    if board is None:
        return name
    found, promotion = Boards(root).champion(board)
    if not Boards(root).is_present(promotion):
        experiment_id = promotion.experiment_id
        raise StorageError(
            f"{experiment_id!r} was trained anew, or removed, since it became champion of board {found!r}. Only "
            f"predict and export of its model take what was promoted. Next: assay promote {experiment_id}"
        )
    return promotion.experiment_id
