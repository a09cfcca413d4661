"""The command ``tune``: a search for the best values of some keys, whose trials are experiments run in this process.

Belongs here: the options, running one trial after the other, what is printed. Does not belong here: the study and its
trials (``assay.experiments.studies``), the space (``assay.experiments.search_space``).
"""

import json
import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assay.cli.run import run_job
from assay.cli.specs import path_of
from assay.errors import AssayError, DataError, SpecError, shorten, unknown
from assay.experiments.evaluation import KEY as EVALUATED
from assay.experiments.last_run import last_run
from assay.experiments.search_space import Space, read_space
from assay.experiments.specs import SpecFiles
from assay.experiments.studies import (
    DATA_SECTION,
    PRUNERS,
    REDUCTION,
    SAMPLERS,
    Study,
    StudyPlan,
    Trial,
    best_first,
    require_optuna,
)
from assay.experiments.workspace import dagster_home, spec_files
from assay.spec.analysis import OF_EACH_CLASS, TASK_METRICS
from assay.spec.defaults import of_features
from assay.spec.experiment import ExperimentSpec
from assay.spec.ids import suggest_id
from assay.spec.loading import load_values, merged, spec_from
from assay.spec.models import AutoModel, ModelSection
from assay.spec.yaml_text import brief, nest, short_names
from assay.utils.text import pluralize, text_table

if TYPE_CHECKING:
    from assay.checks.result import TestResult  # its package brings Polars

STOP_AFTER = "trained_model.train_params.stop_after"
EPOCHS = "trained_model.train_params.epochs"

FIRST_RUNG = REDUCTION**2
"""A trial may be pruned first after this part of its epochs."""

MOST_FAILURES = 3
"""Trials that may fail before any succeeded."""

SHOWN_TRIALS = 10
"""Trials in the table at the end."""

SHOWN_FAILURES = 3
"""Failed trials that are told of at the end."""


@dataclass(frozen=True)
class Search:
    """What a user asked for.

    Attributes:
        base: File or experiment that all trials start from.
        space: One ``KEY=…`` per key that varies.
        trials: How many trials the study is to have.
        name: Its name; empty for one made from the base.
        metric: Empty for the main one of the task.
        sampler: How values are proposed.
        pruner: How trials are ended early, such as ``halving:3``.
    """

    base: str
    space: tuple[str, ...]
    trials: int
    name: str
    metric: str
    sampler: str
    pruner: str


def tune(
    base: Annotated[str, typer.Argument(help="file or experiment ID that the trials start from")],
    space: Annotated[
        list[str] | None,
        typer.Option(help="learning_rate=log:1e-4..1e-2, epochs=5..40 or model.width=16|32|64; one per key"),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, max=10_000, help="how many in all, those of before included")] = 20,
    name: Annotated[str, typer.Option(help="name of the study; made from the base when left out")] = "",
    metric: Annotated[str, typer.Option(help="measured on the validation data; the task's main one by default")] = "",
    sampler: Annotated[str, typer.Option(help=f"what proposes values: {', '.join(SAMPLERS)}")] = "tpe",
    pruner: Annotated[
        str, typer.Option(help="end bad trials early: none, halving or hyperband; halving:3 from epoch 3 on")
    ] = "none",
    jobs: Annotated[int, typer.Option(min=1, max=64, help="processes that run trials at the same time")] = 1,
) -> None:
    """Search for the best values of some keys; each trial is an experiment, measured on the validation data.

    The same command again goes on with the study, after a kill in the middle of a trial, too.
    """
    require_optuna()
    search = Search(base, tuple(space or ()), trials, name, metric, sampler, pruner)
    store = spec_files()
    study = Study(planned_study(search, store), store, dagster_home())
    typer.echo(_begins(study, search))
    with _helpers(search, jobs - 1):
        _run_trials(study, search.trials, store)
    for line in _outcome(study):
        typer.echo(line)


def work() -> None:
    """Run trials of the study that another process began, which gave the search as JSON; its table is printed there."""
    values = json.loads(sys.argv[1])
    search, store = Search(**{**values, "space": tuple(values["space"])}), spec_files()
    _run_trials(Study(planned_study(search, store), store, dagster_home()), search.trials, store)


HELPER = "from assay.cli.main import run_program; from assay.cli.tune import work; run_program(work)"


@contextmanager
def _helpers(search: Search, count: int) -> Iterator[None]:
    """Run trials in other processes, too, while the block does; they are waited for."""
    command = [sys.executable, "-c", HELPER, json.dumps(asdict(search))]
    helpers = [subprocess.Popen(command) for _ in range(count)]  # noqa: S603 - our own program
    try:
        yield
    finally:
        ended = [helper.wait() for helper in helpers]
    if failed := sum(map(bool, ended)):
        typer.echo(f"{pluralize(failed, 'job')} of {count + 1} ended with an error, told above.", err=True)


def planned_study(search: Search, store: SpecFiles) -> StudyPlan:
    """Return the study that a user asked for, every part of it checked.

    Raises:
        AssayError: The base, the space, the metric, the sampler or the pruner can't be used.
    """
    path = path_of(search.base, store)
    values, name = dict(load_values(path)), search.name or suggest_id(f"{path.stem}-tune")
    values.pop("board", None)  # where the test data would choose among the trials
    if values.get(EVALUATED):
        raise SpecError(str(path), [f"{EVALUATED} is set: it trains nothing; expected a base that trains a model"])
    space = read_space(search.space, values, str(path), name)
    spec = spec_from(space.base, str(path))
    if search.sampler not in SAMPLERS:
        raise SpecError("--sampler", [unknown("Sampler", search.sampler, SAMPLERS)])
    pruner, min_epochs = _pruning(search.pruner, space, spec)
    chosen = _metric(search.metric, spec, path)
    from assay.metrics.registry import get_metric  # NumPy: only here

    better = get_metric(chosen, spec.learning).higher_is_better
    return StudyPlan(name, space, chosen, better, _subset(spec, path), search.sampler, pruner, min_epochs)


def _metric(metric: str, spec: ExperimentSpec, path: Path) -> str:
    """Return the metric of the search.

    Raises:
        SpecError: It does not exist, is not of this task, or has one value per class; or the analysis leaves it out.
    """
    from assay.metrics.registry import get_metric  # NumPy: only here

    measured = spec.analysis.result_analyzer.metrics_for(spec.learning)
    whole = [name for name in measured if name not in OF_EACH_CLASS]
    if not metric:
        return next((name for name in TASK_METRICS[spec.learning] if name in whole), whole[0] if whole else "")
    try:
        found = get_metric(metric, spec.learning)
    except AssayError as error:
        raise SpecError("--metric", [f"{error} Here: {', '.join(whole)}."]) from error
    if found.per_class:
        raise SpecError("--metric", [f"{metric} has one value per class; expected one of {', '.join(whole)}"])
    if metric not in measured:
        raise SpecError("--metric", [f"{metric} is not in analysis.result_analyzer.metrics of {path}; add it there"])
    return metric


def _subset(spec: ExperimentSpec, path: Path) -> str:
    """Return the validation subset, on which trials are measured: the test data choose nothing.

    Raises:
        SpecError: There is none, or it is not predicted.
    """
    validation = spec.trained_model.data_validation
    if validation is None:
        problem = "trained_model.data_validation is null: a search needs validation data, for test data choose nothing"
        raise SpecError(str(path), [f"{problem}; name a subset"])
    if validation.subset not in spec.predictions.datasets:
        listed = ", ".join(spec.predictions.datasets)
        problem = f"predictions.datasets is [{listed}], without {validation.subset!r}, on which trials are measured"
        raise SpecError(str(path), [f"{problem}; add it"])
    return validation.subset


def _pruning(text: str, space: Space, spec: ExperimentSpec) -> tuple[str, int]:
    """Return the pruner, and the epochs after which it may end a trial first.

    Raises:
        SpecError: The text can't be read, or there are no epochs to prune after.
    """
    kind, colon, number = text.partition(":")
    if kind not in PRUNERS:
        raise SpecError("--pruner", [unknown("Pruner", kind, PRUNERS)])
    if colon and not (number.isdecimal() and 0 < int(number) <= 100_000 and kind != "none"):
        raise SpecError("--pruner", [f"got {shorten(text)}; expected {PRUNERS[1]}:EPOCHS, such as {PRUNERS[1]}:3"])
    if kind == "none":
        return kind, 1
    if any(each.key == STOP_AFTER for each in space.dimensions):
        raise SpecError("--pruner", [f"{kind} sets {STOP_AFTER}, which is in the space; leave one of them out"])
    if (stop := spec.trained_model.train_params.stop_after) is not None:
        raise SpecError("--pruner", [f"{kind} sets {STOP_AFTER}, which is {stop} in the base; leave one of them out"])
    if any(model.is_fitted for model in _models(space)):
        raise SpecError("--pruner", ["the model is fitted at once, without epochs to prune after; leave --pruner out"])
    if any(isinstance(model, AutoModel) for model in _models(space)):
        problem = "the model is chosen by the data (model.kind: auto), also among some without epochs to prune after"
        raise SpecError("--pruner", [f"{problem}; leave --pruner out, or set trained_model.model: {{kind: mlp}}"])
    params = spec.trained_model.train_params
    varied = [value for each in space.dimensions if each.key == EPOCHS for value in each.probes] or [params.epochs]
    if colon and not params.least_steps and None not in varied and int(number) >= max(varied):
        problem = f"{text} would end no trial, since trainings have {max(varied)} epochs at most"
        raise SpecError("--pruner", [f"{problem}; expected fewer, such as {kind}:{max(1, max(varied) // FIRST_RUNG)}"])
    return kind, int(number) if colon else max(1, min((each for each in varied if each), default=1) // FIRST_RUNG)


def _models(space: Space) -> Iterator[ModelSection]:
    """Yield the models of the space; of a frozen network, what learns from its features."""
    kinds = [each for each in space.dimensions if each.key.startswith("trained_model.model")]
    for each in kinds or space.dimensions[:1]:
        for value in each.probes:
            model = of_features(spec_from(space.content({each.key: value}), "a trial").trained_model).model
            if model is not None:
                yield model


def _begins(study: Study, search: Search) -> str:
    plan, done = study.plan, [each for each in study.trials() if each.state != "running"]
    better = "highest" if plan.higher_is_better else "lowest"
    goal = f"Study {plan.name}: the {better} {plan.metric} on {plan.subset}; the test data choose nothing."
    return f"{goal} {len(done)} of {pluralize(search.trials, 'trial')} done."


def _run_trials(study: Study, total: int, store: SpecFiles) -> None:
    """Run trials until there are enough.

    Raises:
        AssayError: The first ones all failed, or were measured on different items.
    """
    while True:
        with study.next_trial(total) as trial:
            if trial is None:
                return
            values = ", ".join(f"{name}={brief(trial.changes[key])}" for key, name in _names(study).items())
            typer.echo(f"\nTrial {trial.number + 1} of {total}: {trial.experiment_id} ({values})")
            _run_trial(study, trial, store)
        _require_success(study)


def _names(study: Study) -> dict[str, str]:
    return short_names([each.key for each in study.plan.space.dimensions])


def _require_success(study: Study) -> None:
    states = [each for each in study.trials() if each.state != "running"]
    if len(states) >= MOST_FAILURES and all(each.state == "failed" for each in states):
        again = f"put it right, then the same command again; with another base: --name {study.plan.name}-2"
        raise AssayError(
            f"All {pluralize(len(states), 'trial')} failed. The last one: {states[-1].problem}\nNext: {again}"
        )


def _run_trial(study: Study, trial: Trial, store: SpecFiles) -> None:
    """Run the experiment of a trial, up to one rung after the other, until it is pruned or done."""
    if (twin := study.same_as(trial)) is not None and twin.value is not None:
        study.complete(trial, twin.value, twin.problem)
        typer.echo(f"The same values as in trial {twin.number + 1}.")
        return
    planned = 0
    for stop in [*_before_the_end(study), None]:
        if stop is not None and planned and stop >= planned:
            continue
        measured = _measured_run(study, trial, store, stop)
        if measured.value is None:
            study.fail(trial, measured.problem)
            typer.echo(f"Trial {trial.number + 1} failed.")
            return
        _require_same_data(study, trial, measured)
        # One that stopped by itself is not compared any more, and only gets its whole spec.
        planned = measured.epochs if stop and measured.epochs < stop else measured.planned
        if stop is None:
            study.complete(trial, measured.value, measured.problem)
            typer.echo(f"Trial {trial.number + 1}: {_told(study, measured.value)}.")
        elif stop < planned and study.is_to_be_pruned(trial, stop, measured.value):
            study.prune(trial)
            told = _told(study, measured.value)
            typer.echo(f"Trial {trial.number + 1} is pruned at epoch {stop}: {told}; others are better by then.")
            return


def _told(study: Study, value: float) -> str:
    return f"{study.plan.metric} {_number(value)} on {study.plan.subset}"


def _before_the_end(study: Study) -> Iterator[int]:
    for epochs in study.plan.rungs:
        if epochs > MOST_EPOCHS:
            return
        yield epochs


MOST_EPOCHS = 100_000
"""As many as a spec may ask for."""


@dataclass(frozen=True)
class TrialScore:
    """What became of a trial's experiment.

    Attributes:
        value: The metric on the validation data; None if there is none.
        epochs: Number of trained epochs.
        planned: Number of epochs that the training was planned for; 0 if it was to be trained to the end.
        items: Digest of the validation items.
        source: Digest of the user's files.
        problem: Why there is no value, or which tests failed.
    """

    value: float | None
    epochs: int = 0
    planned: int = 0
    items: str = ""
    source: str = ""
    problem: str = ""


def _require_same_data(study: Study, trial: Trial, measured: TrialScore) -> None:
    try:
        study.require_same_items(measured.items, trial.experiment_id)
        study.require_same_source(measured.source, trial.experiment_id)
    except DataError as error:
        study.fail(trial, str(error))
        raise


def _measured_run(study: Study, trial: Trial, store: SpecFiles, stop: int | None) -> TrialScore:
    """Run a trial's experiment, up to an epoch or to the end, and measure it."""
    content = study.plan.space.content(trial.changes)
    if stop is not None:
        content = merged(content, nest({STOP_AFTER: stop}))
    experiment_id = trial.experiment_id
    spec = spec_from(content, experiment_id)
    if not store.exists(experiment_id) or store.load(experiment_id) != spec:
        store.store(experiment_id, content)
    succeeded = run_job(experiment_id, spec, "job_experiment", tells_outcome=False)  # not of the test data
    found = _measured(store, experiment_id, spec, study.plan)
    if found.value is None and not succeeded:
        run = last_run(dagster_home(), experiment_id)
        return TrialScore(None, problem=(run.failure if run else "") or found.problem)
    if found.value is None:
        typer.echo(f"error: {found.problem}")
    return found


def _measured(store: SpecFiles, experiment_id: str, spec: ExperimentSpec, plan: StudyPlan) -> TrialScore:
    """Read the metric of an experiment, provided that its results are of this spec."""
    from assay.comparison.load import results_mismatch
    from assay.comparison.tested import items_digests  # Polars: only here
    from assay.experiments.checks import recorded_tests
    from assay.experiments.contents import TABLES, stage_results
    from assay.experiments.folders import ExperimentFolders
    from assay.storage.parquet import read_parquet

    folder, made = ExperimentFolders(store.root).find(experiment_id), stage_results(store.root, experiment_id)
    if folder is None or "analysis" not in made:
        return TrialScore(None, problem="it has no results")
    if mismatch := results_mismatch(store.root, folder.path, spec.as_dict()):
        return TrialScore(None, problem=mismatch)
    rows = read_parquet(made["analysis"].folder / TABLES["analysis"])
    chosen = rows.filter(**{"subset": plan.subset, "metric": plan.metric, "class": ""})
    value = chosen["value"][0] if len(chosen) else None
    report = made["trained_model"].report
    if value is None or not math.isfinite(value):
        what = "not defined" if value is None else "infinite"
        return TrialScore(None, problem=f"{plan.metric} is {what} for its {plan.subset} data; choose another --metric")
    items = items_digests(store.root, folder.path, [plan.subset])[plan.subset]
    source = str(made[DATA_SECTION].manifest["inputs"].get("source", "")) if DATA_SECTION in made else ""
    failed = [test for test in recorded_tests(store.root, experiment_id) if test.blocking and not test.passed]
    problem = _failures(failed, spec, plan.subset)
    planned = int(report.get("planned_epochs", 0))
    return TrialScore(float(value), int(report["epochs"]), planned, items, source, problem)


def _failures(failed: Sequence["TestResult"], spec: ExperimentSpec, subset: str) -> str:
    """Return which tests failed, without those about other data than the validation data: they choose nothing."""
    elsewhere = {test.name for test in spec.exptests.tests or () if getattr(test, "subset", subset) != subset}
    kinds = [test.kind for test in failed if test.name not in elsewhere]
    return f"failed: {', '.join(kinds)}" if kinds else ""


def _outcome(study: Study) -> Iterator[str]:
    """Yield the best trials, what matters, and what to do next."""
    trials, plan = study.trials(), study.plan
    ranked = best_first(trials, plan.higher_is_better)
    states = ("complete", "pruned", "failed", "running")
    counts = [f"{count} {state}" for state in states if (count := sum(each.state == state for each in trials))]
    yield f"\nStudy {plan.name}: {pluralize(len(trials), 'trial')}, {', '.join(counts)}."
    if ranked:
        yield from _table(ranked[:SHOWN_TRIALS], _names(study), plan)
        if len(ranked) > SHOWN_TRIALS:
            yield f"… and {len(ranked) - SHOWN_TRIALS} more"
        yield from _what_matters(ranked, _names(study))
        yield from _next_steps(ranked[0], plan)
    for each in [each for each in trials if each.state == "failed"][:SHOWN_FAILURES]:
        yield f"Failed: {each.experiment_id or f'trial {each.number + 1}'}: {each.problem}"


def _what_matters(ranked: Sequence[Trial], names: dict[str, str]) -> Iterator[str]:
    from assay.comparison.importance import LEAST_ROWS, importance_text, importances

    rows = [(each.changes, each.value) for each in ranked if each.state == "complete" and each.value is not None]
    if shares := importances(rows):
        trials = pluralize(len(rows), "complete trial")
        yield f"Importance of the keys (fANOVA of {trials}): {importance_text(shares, names)}"
    elif len(rows) < LEAST_ROWS:
        yield f"Which key matters can be told from {LEAST_ROWS} complete trials on."


def _next_steps(best: Trial, plan: StudyPlan) -> Iterator[str]:
    value = f"{plan.metric} {_number(best.value)} on {plan.subset}"
    yield f"Best: {best.experiment_id}, {value}, by which it was chosen: new data will be a little worse."
    if best.status != "complete":
        yield f"No trial was trained to its end and passed its tests. This one is the best of the others: {best.status}"
    commands = {
        f"assay show {best.experiment_id}": "its metrics on the test data, which chose nothing",
        f"assay compare --sweep {plan.name} --subset {plan.subset}": "all trials, with a page of pictures",
        f"assay promote {best.experiment_id}": "to use it as champion: assay predict champion PATH",
    }
    width = max(map(len, commands))
    for command, why in commands.items():
        yield f"  {command:{width}}   {why}"


def _table(ranked: Sequence[Trial], names: dict[str, str], plan: StudyPlan) -> list[str]:
    heads = ["", "experiment", f"{plan.metric} ({plan.subset})", *names.values(), ""]
    rows = [
        [
            str(place),
            each.experiment_id,
            _number(each.value),
            *(brief(each.changes[key]) for key in names),
            "" if each.status == "complete" else each.status,
        ]
        for place, each in enumerate(ranked, start=1)
    ]
    return text_table(heads, rows, frozenset(heads[2:-1]))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
