"""Reconciliation: compare the versions that specs, data and code call for with those recorded, and request runs.

Reconciliation is level-triggered: an experiment stays dirty until it has been compared with the recorded versions while
no run is at work on it. A change during a run, a lost request or a stopped daemon delays a comparison, but never skips
it.

Belongs here: which experiments are compared, what is out of date, the requests that follow. Does not belong here:
noticing changes of files (``watch``), naming them (``reasons``), the state between two passes (``state``).
"""

import logging
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from assay.automation.reasons import NOT_THERE, data_changes, reasons_for
from assay.automation.state import AutomationState, SeenFile, known_digest, watched_path
from assay.automation.watch import file_signature, last_change, update_files, update_sources
from assay.datasets.inspection import walking_until
from assay.errors import AssayError, NotThereYetError, printable
from assay.experiments.folders import experiments_with_folder
from assay.experiments.specs import SpecFiles, load_run_config, removal_notice, was_forgotten
from assay.pipeline import STAGES, digest_of, needed_stages, stage_config, used_inputs
from assay.spec.experiment import ExperimentSpec
from assay.spec.ids import is_id, validate_id
from assay.utils.text import pluralize

MAX_SPECS = 200
"""Specs read in one pass (0.4 s), the most recently saved first; the others stay dirty."""

MOST_SHOWN = 5
"""Number of experiments that a sentence names."""

MAX_RUNS = 200
"""Number of queued and running runs, whoever started them, above which no more are requested."""

LONGEST_PASS_S = 25.0
"""Longest time for a pass in seconds, half of it for listing users' data: Dagster gives up a sensor after a minute."""

AGAIN = "It is run again when its spec, its data or the code changes."

_log = logging.getLogger(__name__)

Versions = Mapping[str, str]
"""Data version by asset: of ``experiment``, of ``spec_exptests`` and of the stages."""


@dataclass(frozen=True)
class EndedRun:
    """The latest run of an experiment that was to make something, if it ended without success.

    Attributes:
        run_id: The orchestrator's ID of the run.
        created: Time of its request, in seconds since the epoch.
        cancelled: Whether somebody cancelled it; otherwise it failed.
        stage: The asset that could not be made; empty if nothing said no, as when its process was killed.
        assets: The assets that it was to make; None for all of them.
    """

    run_id: str
    created: float
    cancelled: bool = False
    stage: str = ""
    assets: frozenset[str] | None = None

    def was_to_make(self, assets: Iterable[str]) -> bool:
        """Return whether it was to make all of these."""
        return self.assets is None or self.assets.issuperset(assets)


class RunRecords(Protocol):
    """The orchestrator's records of runs and materializations."""

    def active(self, experiment_ids: Collection[str]) -> set[str]:
        """Return the experiments that have a queued or running run."""

    def active_count(self) -> int:
        """Return the number of queued and running runs."""

    def unsuccessful(self, experiment_ids: Collection[str]) -> Mapping[str, EndedRun]:
        """Return the experiments whose latest run was cancelled or failed, with this run."""

    def recorded(self, experiment_ids: Collection[str]) -> Mapping[str, Versions]:
        """Return the latest data version of every watched asset, by experiment."""


@dataclass(frozen=True)
class Request:
    """A run to start.

    Attributes:
        experiment_id: The experiment.
        spec: Its current spec.
        assets: The assets that are out of date, in pipeline order.
        reasons: One line per change that it follows, or one line with another reason.
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
        recovered: IDs of experiments that had a problem before, or were removed, and have none now.
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
        code_since: Time of the last change of the code, in seconds since the epoch.
    """

    def __init__(
        self,
        state: AutomationState,
        specs: SpecFiles,
        records: RunRecords,
        max_runs: int = MAX_RUNS,
        pass_s: float = LONGEST_PASS_S,
        code_since: float = 0.0,
    ) -> None:
        self.state = state
        self.plan = Plan()
        self._specs = specs
        self._records = records
        self._max_runs = max_runs
        self._pass_s = pass_s
        self._code_since = code_since
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
        ended = self._records.unsuccessful(loaded) if loaded else {}
        for number, (name, spec) in enumerate(loaded.items()):
            if number and time.monotonic() > self._until:
                break  # the others stay dirty
            self.state.dirty.discard(name)
            with self._only_for(name), walking_until(time.monotonic() + self._walk_s):
                self._compare(name, spec, recorded.get(name, {}), ended.get(name))
        self._postpone_begun(ended)
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

    def _postpone_begun(self, ended: Mapping[str, EndedRun]) -> None:
        """Leave experiments for the next pass whose run began, or ended, during this one: somebody was faster."""
        names = [request.experiment_id for request in self.plan.requests]
        if not names:
            return
        latest = self._records.unsuccessful(names)
        begun = self._records.active(names) | {name for name in names if latest.get(name) != ended.get(name)}
        self.plan.requests = [request for request in self.plan.requests if request.experiment_id not in begun]
        self.state.dirty |= begun
        for name in begun:
            del self.state.asked[name]

    def _ended_already(self, request: Request, expected: Versions, path: str, run: EndedRun) -> bool:
        """Return whether somebody cancelled this work, or it failed in a run that anybody started: not once more."""
        name = request.experiment_id
        if run.cancelled:
            if run.created * 1e9 <= self.state.files[name].mtime_ns:
                return False
            self.state.asked.pop(name, None)
            self.plan.notes.append(f"{name}: its last run was cancelled; it is run again when its file is saved.")
            return True
        changed_at = max(self._code_since, last_change(self.state, path))
        if not run.stage or not run.was_to_make(request.assets) or changed_at >= run.created:
            return False
        frozen = load_run_config(self._specs.root, run.run_id, name)
        if frozen is None or digest_of(frozen.as_dict()) != expected[EXPERIMENT]:
            return False
        self.plan.notes.append(f"{name}: {run.stage} failed in its last run, and nothing has changed since. {AGAIN}")
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
                f"{self._max_runs} runs are waiting or running; "
                f"{pluralize(len(dirty), 'experiment waits', 'experiments wait')} for them."
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
        is_restored = self._specs.tombstones.restore(name)
        if is_restored:
            self.plan.notes.append(f"{name}: its file is back, unchanged; it no longer counts as removed.")
        if is_restored or name in self.state.invalid:
            self.state.invalid.discard(name)
            self.plan.recovered.append(name)
        return spec

    def _compare(self, name: str, spec: ExperimentSpec, recorded: Versions, ended: EndedRun | None) -> None:
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
                f"{name}: {', '.join(assets)} did not come about when asked for; see the experiment's last run. {AGAIN}"
            )
        else:
            reasons = reasons_for(name, spec, assets, recorded, root, self._data_changes(spec, path))
            if name in self.state.asked and reasons[0].startswith(NOT_THERE):
                reasons = ("tried again, because its data or the code changed", *reasons)
            request = Request(name, spec, assets, reasons, f"{name}:{seen.mtime_ns}:{request_digest}")
            self.state.asked[name] = request_digest
            if ended is None or not self._ended_already(request, expected, path, ended):
                self.plan.requests.append(request)

    def _data_changes(self, spec: ExperimentSpec, path: str) -> str:
        """Return which of the user's files changed; also after the run of another experiment has read them again."""
        changes, known = data_changes(spec.generated_images, self._specs.root), self.state.sources.get(path)
        if known is None:
            return changes
        if changes:
            self.state.sources[path] = replace(known, changes=changes)
        return changes or known.changes

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
