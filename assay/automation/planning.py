"""What to ask for now: one request per experiment that is out of date, and a sentence for each that can't be helped.

Level-triggered: an experiment stays dirty until it was compared, at rest, with what is recorded. A change during a
run, a lost request or a stopped daemon delays a comparison and never skips it.

Belongs here: deciding. Does not belong here: looking (``watching``), asking Dagster (the caller's ledger).
"""

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from assay.automation.differences import changes_between
from assay.automation.memory import Memory, SeenFile
from assay.automation.sources import known_digest, watched_path
from assay.automation.wanted import UNKNOWN_SOURCE, Versions, outdated, wanted_versions
from assay.automation.watching import notice_files, notice_sources
from assay.errors import AssayError
from assay.experiments.contents import recorded_spec
from assay.experiments.specs import SpecFiles
from assay.ids import validate_id
from assay.pipeline import digest_of
from assay.spec.experiment import ExperimentSpec

MOST_LOOKS = 200
"""Specs read in one look: 0.4 s. The others stay dirty; those saved last come first."""

MOST_RUNS = 200
"""Runs queued or running, whoever started them, beyond which nothing more is asked for."""


class Ledger(Protocol):
    """What the orchestrator knows."""

    def active(self, experiment_ids: Collection[str]) -> set[str]:
        """Return those that have a run queued or running."""

    def active_count(self) -> int:
        """Return how many runs are queued or running."""

    def recorded(self, experiment_ids: Collection[str]) -> Mapping[str, Versions]:
        """Return the latest data version of every watched asset, by experiment."""


@dataclass(frozen=True)
class Request:
    """One run.

    Attributes:
        experiment_id: For which experiment.
        assets: What is out of date, in the order of the chain.
        reasons: One line per key that changed, or what else is the matter.
        key: Names the request: the same key is never run twice.
    """

    experiment_id: str
    assets: tuple[str, ...]
    reasons: tuple[str, ...]
    key: str


@dataclass
class Plan:
    """The outcome of one look.

    Attributes:
        requests: The runs to start.
        problems: Why an experiment can't be run, by ID.
        mended: Experiments that had a problem before and have none now.
        notes: Everything else worth a line.
    """

    requests: list[Request] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    mended: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def look_and_plan(memory: Memory, specs: SpecFiles, ledger: Ledger, code: str) -> Plan:
    """Look at the spec files and the users' data and return what to do; ``memory`` becomes the new state.

    Args:
        memory: What was remembered; changed in place.
        specs: The spec files.
        ledger: What the orchestrator knows.
        code: Hash of the code: when it is another one, what did not come about before is asked for again.
    """
    removed = notice_files(memory, specs.folder, time.time_ns())
    notice_sources(memory, time.time())
    if memory.code != code:
        memory.dirty.update(memory.asked)
        memory.code = code
    plan = plan_dirty(memory, specs, ledger)
    for name in removed:
        _bury(memory, specs, name, plan)
    return plan


def plan_dirty(memory: Memory, specs: SpecFiles, ledger: Ledger) -> Plan:
    """Return what to do for the dirty experiments, without looking for new changes."""
    plan = Plan()
    if memory.dirty:
        names = _choose(memory, ledger, plan)
        _plan_for(names, memory, specs, ledger, plan)
    return plan


def all_dirty(specs: SpecFiles, code: str) -> Memory:
    """Return a memory in which every experiment waits to be compared."""
    memory = Memory(code=code)
    notice_files(memory, specs.folder, time.time_ns())
    return memory


def _plan_for(names: Iterable[str], memory: Memory, specs: SpecFiles, ledger: Ledger, plan: Plan) -> None:
    loaded = {name: spec for name in names if (spec := _load(name, memory, specs, plan)) is not None}
    recorded = ledger.recorded(loaded) if loaded else {}
    for name, spec in loaded.items():
        memory.dirty.discard(name)
        _compare(name, spec, recorded.get(name, {}), memory, specs.root, plan)


def _choose(memory: Memory, ledger: Ledger, plan: Plan) -> list[str]:
    """Return the dirty experiments to compare now: at rest, saved last first, no more than there is room for."""
    room = MOST_RUNS - ledger.active_count()
    if room <= 0:
        plan.notes.append(f"{MOST_RUNS} runs are waiting or running; {len(memory.dirty)} experiments wait for them.")
        return []
    newest = sorted(memory.dirty, key=lambda name: (-memory.files[name].mtime_ns, name))[:MOST_LOOKS]
    active = ledger.active(newest)
    if active:
        plan.notes.append(f"Looked at again when their run is over: {', '.join(sorted(active))}.")
    return [name for name in newest if name not in active][:room]


def _load(name: str, memory: Memory, specs: SpecFiles, plan: Plan) -> ExperimentSpec | None:
    try:
        spec = specs.load(validate_id(name))
    except AssayError as error:
        plan.problems[name] = str(error)
        memory.dirty.discard(name)
        memory.invalid.add(name)
        return None
    if name in memory.invalid:
        memory.invalid.discard(name)
        plan.mended.append(name)
    if specs.tombstones.restore(name):
        plan.notes.append(f"{name}: its file is back, unchanged; it is no longer counted as removed.")
    return spec


def _compare(name: str, spec: ExperimentSpec, recorded: Versions, memory: Memory, root: Path, plan: Plan) -> None:
    path = watched_path(spec.generated_images.source)
    seen = memory.files[name]
    digest = known_digest(spec.generated_images, root, recorded.get("generated_images", ""))
    wanted = wanted_versions(spec, name, UNKNOWN_SOURCE if digest is None else digest)
    memory.files[name] = SeenFile(*seen.stamp, wanted["experiment"], str(path or ""))
    look = memory.sources.get(str(path))
    asked = digest_of([wanted, memory.code, look.signature if look else ""])
    assets = outdated(wanted, recorded)
    if not assets:
        memory.asked.pop(name, None)
    elif memory.asked.get(name) == asked:
        plan.notes.append(
            f"{name}: {', '.join(assets)} did not come about when asked for; see the experiment's last run. It is "
            "tried again when its spec, its data or the code changes."
        )
    else:
        memory.asked[name] = asked
        reasons = _reasons(name, spec, recorded, assets, root)
        plan.requests.append(Request(name, assets, reasons, f"{name}:{seen.mtime_ns}:{asked}"))


def _reasons(
    name: str, spec: ExperimentSpec, recorded: Versions, assets: tuple[str, ...], root: Path
) -> tuple[str, ...]:
    former = recorded_spec(root, name)
    if former is None or not recorded:
        return ("new experiment",)
    changes = changes_between(former, spec.as_dict())
    if changes:
        return tuple(str(change) for change in changes)
    missing = [asset for asset in assets if asset not in recorded]
    if missing:
        return (f"not there yet: {', '.join(missing)}",)
    return (f"the data or the code behind {assets[0]} changed",)


def _bury(memory: Memory, specs: SpecFiles, name: str, plan: Plan) -> None:
    seen = memory.files.pop(name)
    memory.asked.pop(name, None)
    memory.invalid.discard(name)
    if seen.digest:
        specs.tombstones.bury(name, seen.digest)
        plan.problems[name] = (
            f"The file of experiment {name!r} was removed. Its results stay until 'assay gc', its ID is not used "
            "again; the same file put back restores it."
        )
