"""Studies: searches for the best values of some keys, on Optuna, whose records are shared and outlive processes.

A trial is an experiment. Its lock says who is at work on it: the lock of a killed process is free, and the next process
goes on with that trial where it was.

Belongs here: what a study is, the next trial, what became of each. Does not belong here: running experiments and
reading their metrics (``assay.cli.tune``), values of keys (``search_space``).
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.errors import AssayError, DataError, InUseError, SpecError, StorageError, UnreachableError
from assay.experiments.profiles import (
    database_url,
    keeps_records_elsewhere,
    open_database,
    settings_of,
    without_login,
)
from assay.experiments.search_space import Dimension, Space
from assay.experiments.specs import SpecFiles
from assay.experiments.sweeps import free_ids
from assay.spec.experiment import SECTION_NAMES, ExperimentSpec
from assay.spec.loading import spec_from
from assay.spec.yaml_text import flatten, shown
from assay.storage.locks.acquire import hold
from assay.utils.text import canonical_json

if TYPE_CHECKING:  # of the extra `tune`, imported when a study is opened
    import optuna

FOLDER, FILE = "tuning", "studies.db"

SCHEMA = "assay_tune"
"""Schema of a PostgreSQL database with the studies: Dagster's own tables beside them also count their versions."""

SAMPLERS = ("tpe", "gp", "random")

PRUNERS = ("none", "halving", "hyperband")

REDUCTION = 3
"""Of the trials that come so far, one in so many goes on; each rung is so many times as long as the one before."""

MOST_ATTEMPTS = 3
"""Processes that may die on a trial before it counts as failed."""

DATA_SECTION = SECTION_NAMES[0]

MOST_TOLD = 5
"""Changed keys that a message names."""

EXPERIMENT, ATTEMPTS, PROBLEM, ITEMS, SOURCE, PLAN = "experiment", "attempts", "problem", "items", "source", "plan"
"""Names of what Optuna keeps for us."""


def require_optuna() -> None:
    """Refuse to go on without the extra.

    Raises:
        AssayError: Optuna is not installed.
    """
    if find_spec("optuna") is None:
        raise AssayError("assay tune needs optuna. Next: pip install 'assay[tune]'")


@dataclass(frozen=True)
class StudyPlan:
    """What a study is: with any of it changed, its trials could not be compared.

    Attributes:
        name: Its name, the value of its experiments' tag and the beginning of their IDs.
        space: The keys that vary, and the base.
        metric: The metric that is to be best.
        higher_is_better: Whether higher values of it are better.
        subset: The validation subset, on which it is measured.
        sampler: One of ``SAMPLERS``.
        pruner: One of ``PRUNERS``.
        min_epochs: Epochs after which a trial may be pruned first.
    """

    name: str
    space: Space
    metric: str
    higher_is_better: bool
    subset: str
    sampler: str = "tpe"
    pruner: str = "none"
    min_epochs: int = 1

    @property
    def seed(self) -> int:
        """The seed of the base, from which the proposals follow."""
        return int(self.space.resolved["seed"])

    @property
    def rungs(self) -> Iterator[int]:
        """Epochs after which trials are compared, without an end."""
        epochs = self.min_epochs
        while self.pruner != "none":
            yield epochs
            epochs *= REDUCTION

    def record(self) -> dict[str, Any]:
        """Return everything as plain values, to be compared when the study goes on."""
        spec = spec_from(self.space.base, f"the base of {self.name}")
        varied = tuple(each.key for each in self.space.dimensions)
        return {
            "space": {each.key: each.text.partition("=")[2] for each in self.space.dimensions},
            "base": {
                key: shown(value)
                for key, value in _content(spec).items()
                if not any(key == other or key.startswith(f"{other}.") for other in varied)
            },
            "--metric": self.metric,
            "subset": self.subset,
            "--sampler": self.sampler,
            "--pruner": self.pruner if self.pruner == "none" else f"{self.pruner}:{self.min_epochs}",
        }


def _content(spec: ExperimentSpec) -> dict[str, Any]:
    """Return the values on which results depend, by dotted key; a section's seed only where it has its own."""
    sections = {name: spec.section(name).content() for name in SECTION_NAMES}
    values = flatten({"task": spec.task, "seed": spec.seed, **sections})
    own = {f"{name}.seed" for name in SECTION_NAMES}
    return {key: value for key, value in values.items() if key not in own or value != spec.seed}


def require_same_study(former: Mapping[str, Any], now: Mapping[str, Any], name: str) -> None:
    """Refuse to go on with a study that was another one.

    Args:
        former: Its record when it was begun.
        now: The record of its plan.
        name: Its name.

    Raises:
        SpecError: Says what changed, and how to begin another study.
    """
    # A key that one of them lacks is set in the other: the record leaves out what a later version adds at its default.
    others = [key for key in now if key not in ("space", "base")]
    changed = [
        *_changes("the space: ", former["space"], now["space"]),
        *_changes("the base: ", former["base"], now["base"]),
        *_changes("", _only(former, others), _only(now, others)),
    ]
    if changed:
        more = f", and {len(changed) - MOST_TOLD} more" if len(changed) > MOST_TOLD else ""
        remedy = f"Take that back to go on, or begin another study: --name {name}-2"
        raise SpecError(
            f"study {name}", [f"was begun with another plan: {'; '.join(changed[:MOST_TOLD])}{more}. {remedy}"]
        )


def _only(values: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: values.get(key) for key in keys}


def _changes(what: str, former: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for key in dict.fromkeys((*former, *now)):
        before, after = former.get(key, "nothing"), now.get(key, "nothing")
        if before != after:
            yield f"{what}{key} was {before}, now {after}"


@dataclass(frozen=True)
class Trial:
    """One proposal, and its experiment.

    Attributes:
        number: From 0.
        experiment_id: Its experiment, which it may share with a trial of equal values.
        changes: Value of each key that varies.
        state: ``complete``, ``pruned``, ``failed`` or ``running``.
        value: The metric; None if it is not known. Of a pruned one, that of its last epoch.
        epoch: The last epoch that was reported to the pruner; 0 if none was.
        problem: Why it failed, or which tests of a complete one did.
    """

    number: int
    experiment_id: str
    changes: Mapping[str, Any]
    state: str = "running"
    value: float | None = None
    epoch: int = 0
    problem: str = ""

    @property
    def status(self) -> str:
        """The state as it is shown."""
        if self.state == "complete":
            return self.problem or self.state
        return f"pruned at epoch {self.epoch}" if self.state == "pruned" else self.state


class Study:
    """A study in the storage, of which several processes may run trials at the same time.

    Args:
        plan: What it is.
        store: The spec files; its storage root has the records, unless the settings name a database.
        home: The Dagster home with these settings.

    Raises:
        AssayError: Optuna is not installed.
        SpecError: A study of this name exists, and is another one.
        StorageError: The records can't be read or written.
    """

    def __init__(self, plan: StudyPlan, store: SpecFiles, home: Path) -> None:
        require_optuna()
        self.plan, self._store, self._home = plan, store, home
        self._locks = store.root / "locks"
        with hold(self._locks, "tuning/records", "write", f"opening study {plan.name}"):
            former = self._study.user_attrs.get(PLAN)
            if former is None:
                self._study.set_user_attr(PLAN, plan.record())
        if former is not None:
            require_same_study(former, plan.record(), plan.name)

    @cached_property
    def _study(self) -> "optuna.Study":
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            storage=_records(self._store.root, self._home),
            study_name=self.plan.name,
            direction="maximize" if self.plan.higher_is_better else "minimize",
            pruner=_pruner(self.plan),
            load_if_exists=True,
        )
        # Hyperband divides trials into brackets only from the first question on, so that the proposals of a study that
        # goes on would differ.
        study.pruner.prune(study, optuna.trial.create_trial(state=optuna.trial.TrialState.WAITING))
        return study

    @contextmanager
    def next_trial(self, total: int) -> Iterator[Trial | None]:
        """Yield the next trial to the block, which is alone with its experiment; None if there is nothing left to do.

        It is one that a process left behind, or else a new one.

        Args:
            total: Number of trials after which there is no new one.

        Raises:
            StorageError: The records can't be read or written.
        """
        with ExitStack() as held:
            while True:
                with hold(self._locks, f"tuning/studies/{self.plan.name}", "write", "choosing the next trial"):
                    trial, is_mine = self._left_behind(held), True
                    if trial is None and (trial := self._proposed(total)) is not None:
                        is_mine = self._is_free(trial.experiment_id, held)
                if trial is None or is_mine:
                    break
                # Equal to a trial at work: when that is done, there is nothing to train.
                held.enter_context(hold(self._locks, _lock_of(trial.experiment_id), "write", self.plan.name))
                if self.trials()[trial.number].state == "running":
                    break
                held.close()
            yield trial

    def _left_behind(self, held: ExitStack) -> Trial | None:
        """Return a trial that nobody works on any more, and hold its lock; those that never began become failed."""
        for each in self.trials():
            if each.state != "running":
                continue
            if not each.experiment_id:
                self.fail(each, "its process was killed before it began")
            elif self._is_free(each.experiment_id, held):
                if self._begun_again(each):
                    return each
                self.fail(each, f"{MOST_ATTEMPTS} processes were killed while it ran")
                held.close()
        return None

    def _begun_again(self, trial: Trial) -> bool:
        opened = self._opened(trial.number)
        attempts = int(opened.user_attrs.get(ATTEMPTS, 1))
        opened.set_user_attr(ATTEMPTS, attempts + 1)
        return attempts < MOST_ATTEMPTS

    def _is_free(self, experiment_id: str, held: ExitStack) -> bool:
        """Return whether nobody works on an experiment, whose lock is then held."""
        purpose = f"a trial of {self.plan.name}"
        try:
            held.enter_context(hold(self._locks, _lock_of(experiment_id), "write", purpose, timeout_s=0))
        except InUseError:
            return False
        return True

    def _proposed(self, total: int) -> Trial | None:
        known = self.trials()
        if sum(bool(each.experiment_id) for each in known) >= total:
            return None
        # One generator per trial: a study that goes on in another process proposes what it would have proposed.
        self._study.sampler = _sampler(self.plan.sampler, self.plan.seed, len(known))
        proposed = self._study.ask({each.key: _distribution(each) for each in self.plan.space.dimensions})
        changes = self.plan.space.changes(proposed.params)
        same = (each.experiment_id for each in known if canonical_json(each.changes) == canonical_json(changes))
        used = self._store.used_ids() | {each.experiment_id for each in known}
        experiment_id = next((each for each in same if each), None) or next(free_ids(self.plan.name, total, used))
        proposed.set_user_attr(EXPERIMENT, experiment_id)
        return Trial(proposed.number, experiment_id, changes)

    def trials(self) -> list[Trial]:
        """Return all trials by number."""
        return [self._as_trial(each) for each in self._study.get_trials(deepcopy=False)]

    def same_as(self, trial: Trial) -> Trial | None:
        """Return a trial of equal values that was trained to its end; None if there is none."""
        others = (each for each in self.trials() if each.experiment_id == trial.experiment_id)
        return next((each for each in others if each.state == "complete"), None)

    def _opened(self, number: int) -> "optuna.trial.Trial":
        import optuna

        return optuna.trial.Trial(self._study, self._study.get_trials(deepcopy=False)[number]._trial_id)

    def _as_trial(self, frozen: "optuna.trial.FrozenTrial") -> Trial:
        keys = {each.key for each in self.plan.space.dimensions}
        is_whole = keys == frozen.params.keys()
        return Trial(
            frozen.number,
            frozen.user_attrs.get(EXPERIMENT, ""),
            self.plan.space.changes(frozen.params) if is_whole else {},
            {"FAIL": "failed"}.get(frozen.state.name, frozen.state.name.lower()),
            frozen.values[0] if frozen.values else None,
            frozen.last_step or 0,
            frozen.user_attrs.get(PROBLEM, ""),
        )

    def is_to_be_pruned(self, trial: Trial, epoch: int, value: float) -> bool:
        """Report the metric after an epoch, and return whether others are so much better that the trial ends here."""
        opened = self._opened(trial.number)
        if self.trials()[trial.number].epoch < epoch:
            opened.report(value, epoch)
        return opened.should_prune()

    def complete(self, trial: Trial, value: float, problem: str = "") -> None:
        """Record the metric of a trial that was trained to its end, and which of its tests failed, if any did."""
        if problem:
            self._opened(trial.number).set_user_attr(PROBLEM, problem)
        self._study.tell(trial.number, value)

    def prune(self, trial: Trial) -> None:
        """Record that a trial ends at the epoch that was reported last."""
        import optuna

        self._study.tell(trial.number, state=optuna.trial.TrialState.PRUNED)

    def fail(self, trial: Trial, problem: str) -> None:
        """Record that a trial has no metric, and why."""
        import optuna

        self._opened(trial.number).set_user_attr(PROBLEM, problem)
        self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)

    def require_same_items(self, items: str, experiment_id: str) -> None:
        """Refuse a metric of other validation items than those of the study's first trial.

        Args:
            items: Digest of the items.
            experiment_id: The experiment that was measured on them.

        Raises:
            DataError: They differ.
        """
        if not self._is_as_before(ITEMS, items):
            raise DataError(
                f"{experiment_id} was measured on other items of {self.plan.subset} than the first trial of study "
                f"{self.plan.name}, so that their metrics can't be compared: a key of --space divides or changes the "
                "data, or the data changed since. Leave that key out, or begin another study: "
                f"--name {self.plan.name}-2"
            )

    def require_same_source(self, source: str, experiment_id: str) -> None:
        """Refuse a trial that learned from other data than the study's first trial, unless the space varies the data.

        Args:
            source: Digest of the user's files.
            experiment_id: The experiment that was made from them.

        Raises:
            DataError: They differ.
        """
        is_varied = any(each.key.partition(".")[0] == DATA_SECTION for each in self.plan.space.dimensions)
        if not is_varied and not self._is_as_before(SOURCE, source):
            raise DataError(
                f"{experiment_id} was made from other files than the first trial of study {self.plan.name}: the data "
                "changed since, so that trials of before and after can't be compared. Put the former files back, or "
                f"begin another study: --name {self.plan.name}-2"
            )

    def _is_as_before(self, name: str, digest: str) -> bool:
        """Return whether a digest is that of the study's first trial, which this one is if there was none."""
        with hold(self._locks, f"tuning/studies/{self.plan.name}", "write", "comparing the data of trials"):
            former = self._study.user_attrs.get(name)
            if former is None:
                self._study.set_user_attr(name, digest)
        return former is None or former == digest


def _lock_of(experiment_id: str) -> str:
    return f"tuning/trials/{experiment_id}"


def _records(root: Path, home: Path) -> "optuna.storages.RDBStorage":
    """Return the database of all studies: that of Dagster's records where the settings name one, or else a file."""
    import sqlalchemy
    from optuna.storages import RDBStorage

    path, address = root / FOLDER / FILE, None
    if keeps_records_elsewhere(home):
        address = database_url(settings_of(home) or {})
    if address is not None:
        open_database(address).close()  # tells best what is wrong with it
    try:
        if address is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            url = sqlalchemy.URL.create("sqlite", database=str(path)).render_as_string()
            return RDBStorage(_literal(url), engine_kwargs={"connect_args": {"timeout": 60}})
        with sqlalchemy.create_engine(address).begin() as connection:
            connection.execute(sqlalchemy.text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        return RDBStorage(_literal(address), engine_kwargs={"connect_args": {"options": f"-csearch_path={SCHEMA}"}})
    except (sqlalchemy.exc.SQLAlchemyError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        if address is not None:
            raise UnreachableError(
                f"The studies can't be kept in Dagster's database: {without_login(reason, address)}"
            ) from None
        raise StorageError(
            f"{path}, the records of all studies, can't be used: {reason.rstrip('.')}. Move it away: studies begin "
            "anew, and find the results of equal experiments."
        ) from error


def _literal(url: str) -> str:
    """Return an address as Optuna takes it, which formats it as a template."""
    return url.replace("{", "{{").replace("}", "}}")


def _distribution(each: Dimension) -> "optuna.distributions.BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if each.choices:
        return CategoricalDistribution([shown(value) for value in each.choices])
    if each.whole:
        return IntDistribution(int(each.low), int(each.high), log=each.log)
    return FloatDistribution(float(each.low), float(each.high), log=each.log)


def _sampler(kind: str, seed: int, number: int) -> "optuna.samplers.BaseSampler":
    from optuna.samplers import GPSampler, RandomSampler, TPESampler

    own = int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:4])
    samplers: dict[str, Any] = {"tpe": TPESampler, "gp": GPSampler, "random": RandomSampler}
    sampler: optuna.samplers.BaseSampler = samplers[kind](seed=own)
    return sampler


def _pruner(plan: StudyPlan) -> "optuna.pruners.BasePruner":
    from optuna.pruners import HyperbandPruner, NopPruner, SuccessiveHalvingPruner

    if plan.pruner == "halving":
        return SuccessiveHalvingPruner(min_resource=plan.min_epochs, reduction_factor=REDUCTION)
    if plan.pruner == "hyperband":
        return HyperbandPruner(plan.min_epochs, plan.min_epochs * REDUCTION**2, REDUCTION)
    return NopPruner()


def best_first(trials: Sequence[Trial], higher_is_better: bool) -> list[Trial]:
    """Return the trials with a value, best first: pruned ones, and those of which a test failed, after all others."""
    measured = [each for each in trials if each.value is not None]
    sign = -1 if higher_is_better else 1
    return sorted(measured, key=lambda each: (each.status != "complete", sign * (each.value or 0.0), each.number))
