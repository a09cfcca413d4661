"""Compares what specs, data and code want with what is recorded, and asks for what is out of date.

Level-triggered: an experiment stays dirty until it was compared, at rest, with what is recorded. A change during a
run, a lost request or a stopped daemon delays a comparison and never skips it.

Belongs here: the order of events. Does not belong here: looking (``watching``), comparing versions (``wanted``).
"""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from assay.automation.state import Memory, SeenFile, known_digest, watched_place
from assay.automation.watch import notice_files, notice_sources, signature_of
from assay.errors import AssayError, NotThereYetError
from assay.experiments.contents import recorded_spec
from assay.experiments.specs import SpecFiles
from assay.pipeline import STAGES, digest_of, needed_stages, stage_config, used_inputs
from assay.spec.experiment import ExperimentSpec
from assay.spec.ids import validate_id
from assay.spec.secrets import without_keys
from assay.spec.yaml_text import flatten

MOST_LOOKS = 200
"""Specs read at one look: 0.4 s. The others stay dirty; those saved last come first."""

MOST_RUNS = 200
"""Runs queued or running, whoever started them, beyond which nothing more is asked for."""

Versions = Mapping[str, str]
"""Data version by asset: of ``experiment``, of ``spec/exptests`` and of the stages."""


class Ledger(Protocol):
    """What the orchestrator knows."""

    def active(self, experiment_ids: Collection[str]) -> set[str]:
        """Return those that have a run queued or running."""

    def active_count(self) -> int:
        """Return how many runs are queued or running."""

    def cancelled(self, experiment_ids: Collection[str]) -> Mapping[str, float]:
        """Return when the latest run was made, in s since the epoch, of each experiment whose latest was cancelled."""

    def recorded(self, experiment_ids: Collection[str]) -> Mapping[str, Versions]:
        """Return the latest data version of every watched asset, by experiment."""


@dataclass(frozen=True)
class Request:
    """One run.

    Attributes:
        experiment_id: For which experiment.
        spec: What its file says now.
        assets: What is out of date, in the order of the chain.
        reasons: One line per key that changed, or what else is the matter.
        key: Names the request: the same key is never run twice.
    """

    experiment_id: str
    spec: ExperimentSpec
    assets: tuple[str, ...]
    reasons: tuple[str, ...]
    key: str


@dataclass
class Plan:
    """The outcome of one look.

    Attributes:
        requests: The runs to start.
        problems: Why an experiment can't be run, by the name of its file.
        mended: Experiments that had a problem before and have none now.
        notes: Everything else worth a line.
    """

    requests: list[Request] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    mended: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """One line for a look that asks for nothing."""
        lines = [*self.problems.values(), *self.notes]
        return lines[0] if lines else "Every experiment is up to date."


class Reconciliation:
    """One look at all experiments.

    Attributes:
        plan: What to do; complete after ``look`` or ``compare_dirty``.

    Args:
        memory: What was remembered; becomes the new state.
        specs: The spec files.
        ledger: What the orchestrator knows.
        most_runs: Runs queued or running beyond which nothing more is asked for.
    """

    def __init__(self, memory: Memory, specs: SpecFiles, ledger: Ledger, most_runs: int = MOST_RUNS) -> None:
        self.memory = memory
        self.plan = Plan()
        self._specs = specs
        self._ledger = ledger
        self._most_runs = most_runs

    def look(self, code: str) -> Plan:
        """Notice what changed in files, data and code, and compare the experiments that it concerns.

        Args:
            code: Hash of the code: when it is another one, what did not come about before is asked for again.
        """
        removed = notice_files(self.memory, self._specs.folder, time.time_ns())
        notice_sources(self.memory, time.time())
        if self.memory.code != code:
            self.memory.dirty.update(self.memory.asked)
            self.memory.code = code
        for name in removed:
            self._bury(name)
        return self.compare_dirty()

    def look_at_everything(self, code: str) -> Plan:
        """Compare all experiments, once for each value of ``code``."""
        if self.memory.code != code:
            self.memory = Memory(code=code)
            notice_files(self.memory, self._specs.folder, time.time_ns())
        return self.compare_dirty()

    def compare_dirty(self) -> Plan:
        """Compare the dirty experiments that are at rest with what is recorded of them."""
        loaded = {name: spec for name in self._choose() if (spec := self._load(name)) is not None}
        recorded = self._ledger.recorded(loaded) if loaded else {}
        cancelled = self._ledger.cancelled(loaded) if loaded else {}
        for name, spec in loaded.items():
            self.memory.dirty.discard(name)
            self._compare(name, spec, recorded.get(name, {}))
        self.plan.requests = [request for request in self.plan.requests if not self._was_cancelled(request, cancelled)]
        return self.plan

    def _was_cancelled(self, request: Request, cancelled: Mapping[str, float]) -> bool:
        """Whether the latest run was of what the file says now, and somebody cancelled it: then it stays cancelled."""
        name = request.experiment_id
        if cancelled.get(name, 0.0) * 1e9 <= self.memory.files[name].mtime_ns:
            return False
        del self.memory.asked[name]
        self.plan.notes.append(f"{name}: a run of it was cancelled; it is asked for again when its file is saved.")
        return True

    def _choose(self) -> list[str]:
        """Return the dirty experiments to compare now: at rest, saved last first, as many as there is room for."""
        # A file that was gone just now is told as removed at the next look, or is back by then.
        dirty, files = self.memory.dirty - self.memory.missing, self.memory.files
        if not dirty:
            return []
        room = self._most_runs - self._ledger.active_count()
        if room <= 0:
            self.plan.notes.append(
                f"{self._most_runs} runs are waiting or running; {len(dirty)} experiments wait for them."
            )
            return []
        newest = sorted(dirty, key=lambda name: (-files[name].mtime_ns, name))[:MOST_LOOKS]
        active = self._ledger.active(newest)
        if active:
            self.plan.notes.append(f"Looked at again when their run is over: {', '.join(sorted(active))}.")
        return [name for name in newest if name not in active][:room]

    def _load(self, name: str) -> ExperimentSpec | None:
        try:
            spec = self._specs.load(validate_id(name))
        except NotThereYetError as error:
            self.plan.notes.append(str(error))  # stays dirty: looked at again until it is there
            return None
        except AssayError as error:
            self.plan.problems[name] = str(error)
            self.memory.dirty.discard(name)
            self.memory.invalid.add(name)
            return None
        if name in self.memory.invalid:
            self.memory.invalid.discard(name)
            self.plan.mended.append(name)
        if self._specs.tombstones.restore(name):
            self.plan.notes.append(f"{name}: its file is back, unchanged; it no longer counts as removed.")
        return spec

    def _compare(self, name: str, spec: ExperimentSpec, recorded: Versions) -> None:
        seen, root = self.memory.files[name], self._specs.root
        path = watched_place(spec.generated_images.source)
        digest = known_digest(spec.generated_images, root, recorded.get("generated_images", ""))
        wanted = wanted_versions(spec, name, UNKNOWN_SOURCE if digest is None else digest)
        self.memory.files[name] = SeenFile(*seen.stamp, wanted["experiment"], path)
        asked = digest_of([wanted, self.memory.code, signature_of(self.memory, path)])
        assets = outdated(wanted, recorded)
        if not assets:
            self.memory.asked.pop(name, None)
        elif self.memory.asked.get(name) == asked:
            self.plan.notes.append(
                f"{name}: {', '.join(assets)} did not come about when asked for; see the experiment's last run. It is "
                "tried again when its spec, its data or the code changes."
            )
        else:
            self.memory.asked[name] = asked
            reasons = reasons_for(name, spec, assets, recorded, root)
            self.plan.requests.append(Request(name, spec, assets, reasons, f"{name}:{seen.mtime_ns}:{asked}"))

    def _bury(self, name: str) -> None:
        seen = self.memory.files.pop(name)
        self.memory.asked.pop(name, None)
        self.memory.invalid.discard(name)
        if seen.digest:
            self._specs.tombstones.bury(name, seen.digest)
            self.plan.problems[name] = (
                f"The file of experiment {name!r} was removed. Its results stay until 'assay gc', its ID is not used "
                "again; the same file put back restores it."
            )


def reasons_for(
    experiment_id: str, spec: ExperimentSpec, assets: Sequence[str], recorded: Versions, root: Path
) -> tuple[str, ...]:
    """Return one line per key that changed since the experiment's last run; else what is missing or made otherwise."""
    former = recorded_spec(root, experiment_id)
    if former is None or not recorded:
        return ("new experiment",)
    changes = changes_between(former, spec.as_dict(), hidden=spec.remove_key_list)
    if changes:
        return tuple(str(change) for change in changes)
    missing = [asset for asset in assets if asset not in recorded]
    if missing:
        return (f"not there yet: {', '.join(missing)}",)
    return (f"the data or the code behind {assets[0]} changed",)


EXPERIMENT = "experiment"

TESTS = "spec/exptests"

WATCHED = (EXPERIMENT, TESTS, *STAGES)
"""The assets whose versions are compared; all others are made together with one of these."""

UNKNOWN_SOURCE = "unknown"
"""Stands for the content of data that have not been read yet: no result was made from it."""


def wanted_versions(spec: ExperimentSpec, experiment_id: str, source_digest: str) -> dict[str, str]:
    """Return the data version of every asset that the experiment needs, as its stages would compute it.

    Args:
        spec: The resolved spec.
        experiment_id: Whose it is.
        source_digest: Content hash of the user's own data, from ``assay.stages.generated_images.content_digest``.
    """
    versions = {EXPERIMENT: digest_of(spec.as_dict()), TESTS: stage_config(spec, experiment_id, "exptests").digest}
    for stage in needed_stages(spec):
        part = stage_config(spec, experiment_id, stage)
        inputs = {name: versions[name] for name in used_inputs(spec, stage)}
        versions[stage] = part.fingerprint(inputs if stage != "generated_images" else {"source": source_digest})
    return versions


def outdated(wanted: Versions, recorded: Versions) -> tuple[str, ...]:
    """Return the assets whose recorded version is missing or another one, in the order of the chain."""
    return tuple(name for name in WATCHED if name in wanted and recorded.get(name) != wanted[name])


LONGEST_VALUE = 60
"""Characters of a value that a message shows."""

ABSENT = object()


class Change(NamedTuple):
    """One key whose value is another one."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {_shown(self.old)} → {_shown(self.new)}"


def changes_between(
    old: Mapping[str, Any], new: Mapping[str, Any], hidden: Collection[str] = frozenset()
) -> list[Change]:
    """Return the keys that differ, with dots between levels, in the order of ``new``; lists count as one value.

    Args:
        old: Plain values, mappings at any depth.
        new: The same, later.
        hidden: Names of keys, at any depth, that are left out, as are those that look like secrets.
    """
    before, after = (flatten(without_keys(dict(values), frozenset(hidden))) for values in (old, new))
    keys = [*after, *(key for key in before if key not in after)]
    pairs = [Change(key, before.get(key, ABSENT), after.get(key, ABSENT)) for key in keys]
    return [change for change in pairs if change.old != change.new]


def _shown(value: Any) -> str:
    if value is ABSENT:
        return "(none)"
    text = value if isinstance(value, str) and value.isprintable() and value else repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
