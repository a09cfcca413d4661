"""What results cost: measured while they are built, and kept beside them, in a file of its own per result.

A cost differs from build to build, so that it is no part of a result, whose bytes don't. It is good to know, but
nothing depends on it: a record that is missing or damaged is "not recorded", and none that can't be written stops a
build.

Belongs here: measuring, and the records. Does not belong here: which experiments share a result, or what they cost
together (``assay.experiments.costs``).
"""

import json
import os
import platform
import resource
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from assay.errors import AssayError, StorageError
from assay.spec.ids import ID_PATTERN
from assay.storage.files import write_soon
from assay.storage.records import Fingerprint, Record, StageName, read_stored
from assay.utils.concurrency import usable_cores
from assay.utils.reading import open_regular, read_bytes

COSTS = ".costs"
"""Folder below the storage root; no location can have this name."""

COST = "cost.json"
"""File with the cost of a result in the folder of an experiment, and of interrupted attempts in a scratch folder."""

MOST_BYTES = 2**16

SECONDS_BETWEEN_SAMPLES = 0.1
"""Peaks of memory that are shorter may be missed, unless they are the highest of the whole process."""

SECONDS_BETWEEN_NOTES = 2.0
"""How much of an attempt is not counted if its process is killed."""

SECONDS_BETWEEN_LOOKS = 1.0
"""How often this process's children are looked for."""

NOT_RECORDED = "not recorded"

_Amount = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]


_MOMENT = r"^[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}\+00:00$"


def _moment(text: str) -> str:
    datetime.fromisoformat(text)  # raises ValueError for the 99th of a month
    return text


class Spent(Record):
    """What something took.

    Attributes:
        wall_s: Seconds from beginning to end, without waiting for locks and for other trainings.
        cpu_s: Seconds of all cores together, of the process and of those that it started.
        gpu_s: Seconds from beginning to end times the number of GPUs that were used; 0 without one.
        peak_memory_mb: Most memory at a time in 10^6 bytes, of all these processes together; None if unknown.
        attempts: How many times it was begun; more than one where attempts were interrupted. Seconds are their sum.
    """

    wall_s: _Amount = 0.0
    cpu_s: _Amount = 0.0
    gpu_s: _Amount = 0.0
    peak_memory_mb: _Amount | None = None
    attempts: Annotated[int, Field(ge=0, le=10**9)] = 0

    def plus(self, other: "Spent") -> "Spent":
        """Return what both took together, one after the other."""
        peaks = [each.peak_memory_mb for each in (self, other) if each.peak_memory_mb is not None]
        return Spent(
            wall_s=round(self.wall_s + other.wall_s, 3),
            cpu_s=round(self.cpu_s + other.cpu_s, 3),
            gpu_s=round(self.gpu_s + other.gpu_s, 3),
            peak_memory_mb=max(peaks, default=None),
            attempts=self.attempts + other.attempts,
        )


class Cost(Spent):
    """What a result cost when it was built; its file in ``.costs/``.

    Attributes:
        stage: Its stage.
        fingerprint: Its fingerprint.
        experiment_id: The experiment that it was built for; others may use it as well.
        built: When it was complete, as text in UTC.
        size_bytes: Total size of its files.
        machine: Processor, cores, memory and GPUs of the machine of the last attempt; no name.
    """

    stage: StageName
    fingerprint: Fingerprint
    experiment_id: Annotated[str, Field(pattern=rf"^{ID_PATTERN.pattern}$")]
    built: Annotated[str, Field(pattern=_MOMENT), AfterValidator(_moment)]
    size_bytes: Annotated[int, Field(ge=0, lt=2**63)]
    machine: Annotated[str, Field(pattern=r"^[ -~]*$", max_length=300)]


def cost_path(root: Path, stage: str, fingerprint: str) -> Path:
    """Return where the cost of a result is kept."""
    return root / COSTS / stage / f"{fingerprint}.json"


def read_cost(path: Path, stage: str, fingerprint: str) -> tuple[Cost | None, str]:
    """Return the cost of a result, or None and why it is not known; its record may have been written elsewhere."""
    try:
        cost = Cost.model_validate(read_stored(path, Cost, MOST_BYTES))
    except FileNotFoundError:
        return None, NOT_RECORDED
    except StorageError as error:
        return None, f"{NOT_RECORDED}: {error}"
    if (cost.stage, cost.fingerprint) != (stage, fingerprint):
        return None, f"{NOT_RECORDED}: {path} is the record of {cost.stage} {cost.fingerprint}"
    return cost, ""


def write_cost(path: Path, cost: Spent) -> None:
    """Write a record, or log why it can't be written: nothing depends on it."""
    with suppress(OSError):
        write_soon(path, json.dumps(cost.model_dump(), sort_keys=True, indent=2, allow_nan=False) + "\n")


def cost_of(spent: Spent, stage: str, fingerprint: str, experiment_id: str, size_bytes: int) -> Cost:
    """Return the record of a result that was built just now, on this machine."""
    return Cost(
        **spent.model_dump(),
        stage=stage,
        fingerprint=fingerprint,
        experiment_id=experiment_id,
        built=datetime.now(UTC).isoformat(timespec="seconds"),
        size_bytes=size_bytes,
        machine=", ".join([_machine(), *_gpu_names()])[:300],
    )


class Meter:
    """Measures what the build of a result takes, from its creation until ``stop``.

    A thread looks at the memory, and notes from time to time what was spent so far, so that an attempt counts even if
    its process is killed. The next attempt begins with what earlier ones took.

    Args:
        notes: File of the notes; need not exist. It is not removed here.
        every_s: Seconds between two notes.

    Attributes:
        size_bytes: Size of the result's files, as soon as they are complete.
    """

    size_bytes = 0

    def __init__(self, notes: Path, every_s: float = SECONDS_BETWEEN_NOTES) -> None:
        self._notes = notes
        self._every_s = every_s
        self._former = _noted(notes)
        self.restart()
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="assay-cost", daemon=True)
        self._watcher.start()

    def pause(self) -> None:
        """Begin to wait, for which nobody pays; ``restart`` ends it."""
        self._is_waiting = True

    def restart(self) -> None:
        """Count from now: what was before was waiting."""
        self._is_waiting = False
        self._start = _now()
        self._memory_mb = _memory_mb()
        self._children = _Children()

    def stop(self) -> Spent:
        """End measuring and return what all attempts took."""
        self._ended.set()
        self._watcher.join()
        return self._spent()

    def keep(self) -> None:
        """End measuring an attempt that was interrupted; a short one is not worth a note."""
        spent = self.stop()
        if time.monotonic() - self._start.wall_s >= self._every_s and not self._is_waiting:
            write_cost(self._notes, spent)

    def _spent(self, unfinished_s: float = 0.0) -> Spent:
        """Return what all attempts took; ``unfinished_s``: what the children who still live did in this one."""
        now, start = _now(), self._start
        wall_s = now.wall_s - start.wall_s
        # Where the peak of the whole process rose, that is when; elsewhere the samples tell.
        own_mb = now.peak_mb if now.peak_mb > start.peak_mb else self._memory_mb
        peak_mb = None if own_mb is None else round(own_mb + self._children.peak_mb, 1)
        gpus = sum(count > start.allocations.get(number, 0) for number, count in now.allocations.items())
        gpus += self._children.most if gpus else 0  # each of those that train together has one of its own
        this = Spent(
            wall_s=wall_s,
            cpu_s=max(now.cpu_s - start.cpu_s, 0.0) + unfinished_s,
            gpu_s=wall_s * gpus,
            peak_memory_mb=peak_mb,
            attempts=1,
        )
        return self._former.plus(this)

    def _watch(self) -> None:
        looked = 0.0
        noted = time.monotonic()
        while not self._ended.wait(SECONDS_BETWEEN_SAMPLES):
            with suppress(Exception):  # whatever happens here, the build goes on
                now = time.monotonic()
                self._memory_mb = max(self._memory_mb or 0.0, _memory_mb() or 0.0) or None
                if now - looked >= SECONDS_BETWEEN_LOOKS:
                    self._children, looked = self._children.and_now(), now
                if now - noted >= self._every_s and not self._is_waiting:
                    write_cost(self._notes, self._spent(self._children.cpu_s))
                    noted = now


def _noted(notes: Path) -> Spent:
    try:
        return Spent.model_validate(read_stored(notes, Spent, MOST_BYTES))
    except (FileNotFoundError, StorageError):
        return Spent()


@dataclass(frozen=True)
class _Moment:
    """What the process had used at a moment: seconds, most memory in 10^6 bytes, allocations on each GPU so far."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    allocations: dict[int, int]


def _now() -> _Moment:
    own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
    unit = 1 if sys.platform == "darwin" else 1024
    return _Moment(time.monotonic(), cpu_s, own.ru_maxrss * unit / 1e6, _allocations())


def _allocations() -> dict[int, int]:
    cuda = _cuda()
    numbers = range(cuda.device_count()) if cuda else ()
    return {number: int(cuda.memory_stats(number).get("allocation.all.allocated", 0)) for number in numbers}


def _cuda() -> Any:
    """Return ``torch.cuda`` if this process uses a GPU; torch is not imported for it."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    return cuda if cuda is not None and cuda.is_initialized() else None


def _gpu_names() -> list[str]:
    cuda = _cuda()
    return [_plain(str(cuda.get_device_name(number))) for number in range(cuda.device_count())] if cuda else []


def _memory_mb() -> float | None:
    """Return the memory of this process in 10^6 bytes; None where the system does not tell."""
    try:
        file = os.open("/proc/self/statm", os.O_RDONLY)  # the system's own: no check is needed
        try:
            return int(os.read(file, 256).split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        finally:
            os.close(file)
    except (OSError, ValueError, IndexError):
        return None


@dataclass(frozen=True)
class _Children:
    """The processes that this one started and that still live, such as those that train together with it.

    Attributes:
        cpu_s: Seconds that they have used by now.
        peak_mb: Sum of the most memory that each of them needed, the largest such sum so far.
        most: The largest number of them so far.
    """

    cpu_s: float = 0.0
    peak_mb: float = 0.0
    most: int = 0

    def and_now(self) -> "_Children":
        """Return this with what is seen now; where the system tells nothing, it stays as it is."""
        found = [each for number in _child_numbers() if (each := _child(number)) is not None]
        peak_mb = sum(peak for _, peak in found)
        return _Children(sum(cpu for cpu, _ in found), max(self.peak_mb, peak_mb), max(self.most, len(found)))


def _child_numbers() -> list[int]:
    files = Path("/proc/self/task").glob("*/children")
    numbers = []
    for file in files:
        with suppress(OSError, AssayError):
            numbers += [int(number) for number in read_bytes(file, MOST_BYTES).split()]
    return numbers


def _child(number: int) -> tuple[float, float] | None:
    """Return seconds of CPU and most memory in 10^6 bytes of a process; None if it has ended."""
    try:
        folder = Path("/proc") / str(number)
        times = read_bytes(folder / "stat", MOST_BYTES).rpartition(b")")[2].split()
        cpu_s = (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
        peak = read_bytes(folder / "status", MOST_BYTES).partition(b"VmHWM:")[2].split()[0]
        return cpu_s, int(peak) * 1024 / 1e6
    except (OSError, AssayError, ValueError, IndexError):
        return None


@cache
def _machine() -> str:
    """Return processor, cores and memory; not the machine's name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{_processor()}, {usable_cores()} cores, {memory:.0f} GB"


def _processor() -> str:
    with suppress(OSError, AssayError), open_regular(Path("/proc/cpuinfo")) as file:
        for line in file.read(MOST_BYTES).decode("ascii", "ignore").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return _plain(value)
    return _plain(platform.processor() or platform.machine()) or "unknown processor"


def _plain(text: str) -> str:
    return " ".join("".join(char for char in text if " " <= char <= "~").split())
