"""Reconciliation: compare the versions that specs, data and code call for with those recorded, and request runs.

Reconciliation is level-triggered: an experiment stays dirty until it has been compared with the recorded versions while
no run is at work on it. A change during a run, a lost request or a stopped daemon delays a comparison, but never skips
it.

Belongs here: which experiments are compared, what is out of date and why, the requests that follow. Does not belong
here: noticing changes of files (``watch``), the state between two passes (``state``).
"""

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from assay.automation.state import AutomationState, SeenFile, known_digest, watched_path
from assay.automation.watch import file_signature, update_files, update_sources
from assay.datasets.inspection import walking_until
from assay.errors import AssayError, NotThereYetError, SpecError, printable
from assay.experiments.contents import recorded_spec
from assay.experiments.folders import experiments_with_folder
from assay.experiments.specs import SpecFiles, was_forgotten
from assay.pipeline import STAGES, digest_of, needed_stages, stage_config, used_inputs
from assay.spec.experiment import ExperimentSpec
from assay.spec.ids import is_id, validate_id
from assay.spec.secrets import without_removed_keys
from assay.spec.yaml_text import flatten

MAX_SPECS = 200
"""Specs read in one pass (0.4 s), the most recently saved first; the others stay dirty."""

MOST_SHOWN = 5
"""Number of experiments that a sentence names."""

MAX_RUNS = 200
"""Number of queued and running runs, whoever started them, above which no more are requested."""

LONGEST_PASS_S = 25.0
"""Longest time for a pass in seconds, half of it for listing users' data: Dagster gives up a sensor after a minute."""

_log = logging.getLogger(__name__)

Versions = Mapping[str, str]
"""Data version by asset: of ``experiment``, of ``spec_exptests`` and of the stages."""


class RunRecords(Protocol):
    """The orchestrator's records of runs and materializations."""

    def active(self, experiment_ids: Collection[str]) -> set[str]:
        """Return the experiments that have a queued or running run."""

    def active_count(self) -> int:
        """Return the number of queued and running runs."""

    def cancelled(self, experiment_ids: Collection[str]) -> Mapping[str, float]:
        """Return the experiments whose latest run was cancelled, with its creation time in seconds since the epoch."""

    def recorded(self, experiment_ids: Collection[str]) -> Mapping[str, Versions]:
        """Return the latest data version of every watched asset, by experiment."""


@dataclass(frozen=True)
class Request:
    """A run to start.

    Attributes:
        experiment_id: The experiment.
        spec: Its current spec.
        assets: The assets that are out of date, in pipeline order.
        reasons: One line per key that changed, or one line with another reason.
        key: Identifies the request: a run with the same key is never started twice.
    """

    experiment_id: str
    spec: ExperimentSpec
    assets: tuple[str, ...]
    reasons: tuple[str, ...]
    key: str


@dataclass
class Plan:
    """The outcome of one pass.

    Attributes:
        requests: The runs to start.
        problems: Why an experiment can't be run, by experiment ID.
        recovered: IDs of experiments that had a problem before and have none now.
        unusable: IDs of experiments whose file can't be used, also if that was told before.
        gone: IDs of experiments of which nothing is left: never valid and removed, or forgotten.
        notes: Messages about everything else.
    """

    requests: list[Request] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    recovered: list[str] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """One line for a pass that requests no run."""
        lines = [*self.problems.values(), *self.notes]
        if lines:
            return lines[0]
        if not self.unusable:
            return "Every experiment is up to date."
        shown = ", ".join(self.unusable[:MOST_SHOWN]) + (", …" if len(self.unusable) > MOST_SHOWN else "")
        return f"Every experiment is up to date, except those whose file can't be used: {shown}."


class Reconciliation:
    """One pass over all experiments.

    Attributes:
        state: The state after the pass, to be stored for the next one.
        plan: What to do.

    Args:
        state: The state after the last pass; it is changed in place.
        specs: The spec files.
        records: The orchestrator's records.
        max_runs: Runs queued or running beyond which nothing more is requested.
        pass_s: Time for the pass in seconds, after which whatever is left waits for the next one.
    """

    def __init__(
        self,
        state: AutomationState,
        specs: SpecFiles,
        records: RunRecords,
        max_runs: int = MAX_RUNS,
        pass_s: float = LONGEST_PASS_S,
    ) -> None:
        self.state = state
        self.plan = Plan()
        self._specs = specs
        self._records = records
        self._max_runs = max_runs
        self._pass_s = pass_s
        self._until = time.monotonic() + pass_s
        self._walk_s = pass_s / 3  # one source that has no end leaves time for others

    def reconcile(self, code: str) -> Plan:
        """Detect changes of spec files, data and code, and compare the experiments that they affect.

        Args:
            code: Hash of the code; when it changes, requests that were not fulfilled are made again.
        """
        removed = update_files(self.state, self._specs.folder, time.time_ns())
        self.plan.notes += update_sources(self.state, time.time(), self._until - self._pass_s / 2, self._walk_s)
        if self.state.code != code:
            self.state.dirty.update(self.state.asked)
            self.state.code = code
        for name in removed:
            with self._only_for(name):
                self._record_removal(name)
        return self.compare_dirty()

    def reconcile_all(self, code: str) -> Plan:
        """Compare all experiments, once per value of ``code``."""
        if self.state.code != code:
            self.state = AutomationState(code=code)
            update_files(self.state, self._specs.folder, time.time_ns())
        return self.compare_dirty()

    def compare_dirty(self) -> Plan:
        """Compare the dirty experiments that have no active run with their recorded versions."""
        loaded = dict(self._loaded(self._choose()))
        recorded = self._records.recorded(loaded) if loaded else {}
        cancelled = self._records.cancelled(loaded) if loaded else {}
        for number, (name, spec) in enumerate(loaded.items()):
            if number and time.monotonic() > self._until:
                break  # the others stay dirty
            self.state.dirty.discard(name)
            with self._only_for(name), walking_until(time.monotonic() + self._walk_s):
                self._compare(name, spec, recorded.get(name, {}))
        self.plan.requests = [request for request in self.plan.requests if not self._was_cancelled(request, cancelled)]
        self.plan.unusable = sorted(self.state.invalid)
        return self.plan

    def _loaded(self, names: Iterable[str]) -> Iterator[tuple[str, ExperimentSpec]]:
        """Yield the experiments whose files are valid; those that there is no time for stay dirty."""
        for number, name in enumerate(names):
            if number and time.monotonic() > self._until - self._pass_s / 4:
                return
            spec = None
            with self._only_for(name):
                spec = self._load(name)
            if spec is not None:
                yield name, spec

    @contextmanager
    def _only_for(self, name: str) -> Iterator[None]:
        """Turn any error in the block into a problem of one experiment: all others go on."""
        try:
            yield
        except Exception as error:
            if not isinstance(error, AssayError):
                _log.exception("Experiment %s could not be compared.", printable(name))
            self._report(name, error)

    def _report(self, name: str, error: Exception) -> None:
        text = str(error) if isinstance(error, AssayError) else printable(f"{type(error).__name__}: {error}")
        self.plan.problems[name] = text if name in text else f"Experiment {name}: {text}"
        self.state.dirty.discard(name)
        self.state.invalid.add(name)

    def _was_cancelled(self, request: Request, cancelled: Mapping[str, float]) -> bool:
        """Return whether the latest run was cancelled after the file was saved; it is not repeated then."""
        name = request.experiment_id
        if cancelled.get(name, 0.0) * 1e9 <= self.state.files[name].mtime_ns:
            return False
        del self.state.asked[name]
        self.plan.notes.append(f"{name}: its last run was cancelled; it is run again when its file is saved.")
        return True

    def _choose(self) -> list[str]:
        """Return the dirty experiments without an active run, the last saved first, as many as may be run."""
        # A missing file is reported as removed in the next pass, or is back by then.
        dirty, files = self.state.dirty - self.state.missing, self.state.files
        if not dirty:
            return []
        room = self._max_runs - self._records.active_count()
        if room <= 0:
            self.plan.notes.append(
                f"{self._max_runs} runs are waiting or running; {len(dirty)} experiments wait for them."
            )
            return []
        newest = sorted(dirty, key=lambda name: (-files[name].mtime_ns, name))[:MAX_SPECS]
        active = self._records.active(newest)
        if active:
            self.plan.notes.append(f"Compared again when their run is over: {', '.join(sorted(active))}.")
        return [name for name in newest if name not in active][:room]

    def _load(self, name: str) -> ExperimentSpec | None:
        try:
            spec = self._specs.load(validate_id(name))
        except NotThereYetError as error:
            self.plan.notes.append(str(error))  # stays dirty: compared again until it is there
            return None
        if name in self.state.invalid:
            self.state.invalid.discard(name)
            self.plan.recovered.append(name)
        if self._specs.tombstones.restore(name):
            self.plan.notes.append(f"{name}: its file is back, unchanged; it no longer counts as removed.")
        return spec

    def _compare(self, name: str, spec: ExperimentSpec, recorded: Versions) -> None:
        seen, root = self.state.files[name], self._specs.root
        path = watched_path(spec.generated_images.source)
        digest = known_digest(spec.generated_images, root, recorded.get("generated_images", ""))
        expected = expected_versions(spec, name, UNKNOWN_SOURCE if digest is None else digest)
        self.state.files[name] = SeenFile(*seen.stamp, expected["experiment"], path)
        request_digest = digest_of([expected, self.state.code, file_signature(self.state, path)])
        assets = outdated(expected, recorded)
        if not assets:
            self.state.asked.pop(name, None)
        elif self.state.asked.get(name) == request_digest:
            self.plan.notes.append(
                f"{name}: {', '.join(assets)} did not come about when asked for; see the experiment's last run. It is "
                "run again when its spec, its data or the code changes."
            )
        else:
            reasons = reasons_for(name, spec, assets, recorded, root)
            self.state.asked[name] = request_digest
            self.plan.requests.append(Request(name, spec, assets, reasons, f"{name}:{seen.mtime_ns}:{request_digest}"))

    def _record_removal(self, name: str) -> None:
        seen = self.state.files.pop(name)
        self.state.asked.pop(name, None)
        self.state.invalid.discard(name)
        if is_id(name) and was_forgotten(self._specs.root, name, seen.mtime_ns):
            self.plan.notes.append(f"{name}: it was forgotten.")
            self.plan.gone.append(name)
        elif seen.digest:
            self._specs.tombstones.add(name, seen.digest)
            self.plan.problems[name] = removal_notice(name)
        elif not is_id(name) or name not in experiments_with_folder(self._specs.root):
            self.plan.notes.append(f"{name}: its file, which was never valid, was removed; nothing is left of it.")
            self.plan.gone.append(name)


def removal_notice(experiment_id: str) -> str:
    """Return what to tell of an experiment whose file was removed."""
    return (
        f"The file of experiment {experiment_id!r} was removed. Its results stay until 'assay gc', its ID is not used "
        "again; the same file put back restores it."
    )


def reasons_for(
    experiment_id: str, spec: ExperimentSpec, assets: Sequence[str], recorded: Versions, root: Path
) -> tuple[str, ...]:
    """Return one line per key that changed since the experiment's last run, or one line with another reason.

    Args:
        experiment_id: The experiment.
        spec: Its current spec.
        assets: Its assets that are out of date.
        recorded: Recorded data versions.
        root: Storage root.

    Raises:
        StorageError: Nobody knows where its folder is.
    """
    try:
        former = recorded_spec(root, experiment_id)
    except SpecError:
        return ("the configuration in its folder can't be read",)
    if former is None or not recorded:
        return ("new experiment",)
    changes = changes_between(former, spec.as_dict())
    if changes:
        return tuple(str(change) for change in changes)
    missing = [asset for asset in assets if asset not in recorded]
    if missing:
        return (f"not there yet: {', '.join(missing)}",)
    return (f"the data or the code behind {assets[0]} changed",)


EXPERIMENT = "experiment"

TESTS = "spec_exptests"

WATCHED = (EXPERIMENT, TESTS, *STAGES)
"""The assets whose versions are compared; every other asset is made together with one of these."""

NOT_NEEDED = "not needed"
"""Data version of a stage that nothing in the experiment reads."""

UNKNOWN_SOURCE = "unknown"
"""Stands for the content hash of data that have not been read yet; no result was made from it."""


def expected_versions(spec: ExperimentSpec, experiment_id: str, source_digest: str) -> dict[str, str]:
    """Return the data version of every asset that the experiment needs, as its stages would compute them.

    Args:
        spec: The resolved spec.
        experiment_id: The experiment.
        source_digest: Content hash of the user's own data, from ``assay.stages.generated_images.content_digest``.
    """
    versions = {EXPERIMENT: digest_of(spec.as_dict()), TESTS: stage_config(spec, experiment_id, "exptests").digest}
    for stage in needed_stages(spec):
        part = stage_config(spec, experiment_id, stage)
        inputs = {name: versions[name] for name in used_inputs(spec, stage)}
        versions[stage] = part.fingerprint(inputs if stage != "generated_images" else {"source": source_digest})
    return versions


def outdated(expected: Versions, recorded: Versions) -> tuple[str, ...]:
    """Return the assets whose recorded version is missing or differs from the expected one, in pipeline order."""
    return tuple(name for name in WATCHED if name in expected and recorded.get(name) != expected[name])


LONGEST_VALUE = 60
"""Number of characters of a value that messages show."""

ABSENT = object()


class Change(NamedTuple):
    """A key whose value changed."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {_shown(self.old)} → {_shown(self.new)}"


def changes_between(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Return the keys that differ, as dotted paths in the order of ``new``; a list counts as one value.

    Args:
        old: Plain values of a spec.
        new: The same, at a later time; what its lists remove from records, and what looks like a secret, is left out.
    """
    before, after = (flatten(without_removed_keys(values, new)) for values in (old, new))
    keys = [*after, *(key for key in before if key not in after)]
    pairs = [Change(key, before.get(key, ABSENT), after.get(key, ABSENT)) for key in keys]
    return [change for change in pairs if change.old != change.new]


def _shown(value: Any) -> str:
    if value is ABSENT:
        return "(none)"
    text = value if isinstance(value, str) and value.isprintable() and value else repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
