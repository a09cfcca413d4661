"""Compares what specs, data and code want with what is recorded, and asks for what is out of date.

Level-triggered: an experiment stays dirty until it was compared, at rest, with what is recorded. A change during a
run, a lost request or a stopped daemon delays a comparison and never skips it.

Belongs here: the order of events. Does not belong here: looking (``watching``), comparing versions (``wanted``).
"""

import time
from collections.abc import Mapping

from assay.automation.memory import Memory, SeenFile
from assay.automation.plan import Ledger, Plan, Request
from assay.automation.reasons import reasons_for
from assay.automation.sources import known_digest, watched_place
from assay.automation.wanted import UNKNOWN_SOURCE, Versions, outdated, wanted_versions
from assay.automation.watching import notice_files, notice_sources, signature_of
from assay.errors import AssayError, NotThereYetError
from assay.experiments.specs import SpecFiles
from assay.ids import validate_id
from assay.pipeline import digest_of
from assay.spec.experiment import ExperimentSpec

MOST_LOOKS = 200
"""Specs read at one look: 0.4 s. The others stay dirty; those saved last come first."""

MOST_RUNS = 200
"""Runs queued or running, whoever started them, beyond which nothing more is asked for."""


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
