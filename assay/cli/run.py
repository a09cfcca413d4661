"""The commands ``run``, ``verify`` and ``demo``: execute a job for experiments in this process.

The Dagster definitions, which are downstream of this package, are imported only when a command is called.
"""

import gc
import shutil
from pathlib import Path
from typing import Annotated

import typer

from assay.cli.results import ExperimentName, named_experiment
from assay.experiments.workspace import (
    dagster_home,
    in_bucket,
    spec_files,
    storage_root,
)
from assay.pipeline import needed_stages, stage_config
from assay.spec.experiment import ExperimentSpec
from assay.spec.loading import load_spec
from assay.storage.locations.config import DEFAULT_LOCATION


def run(
    experiment_id: Annotated[str, typer.Argument(help="ID of the experiment")],
    job: Annotated[
        str, typer.Option(help="job_experiment, job_data_generation, job_train or job_eval")
    ] = "job_experiment",
) -> None:
    """Materialize an experiment, with a line of progress per stage; what exists already is reused."""
    if in_bucket():
        from assay.experiments.sharing import refresh_for_run

        refresh_for_run(storage_root(), experiment_id, spec_files().path(experiment_id))
    spec = spec_files().load(experiment_id)  # errors in the spec are reported before anything heavy is imported
    if job in FINISHED_JOBS and is_finished(experiment_id, spec):
        _print_finished(experiment_id)
        return
    if not run_job(experiment_id, spec, job):
        raise typer.Exit(1)


FINISHED_JOBS = ("job_experiment", "job_train", "job_eval", "job_data_generation")
"""Jobs that have nothing to do where the whole experiment is finished."""


def is_finished(experiment_id: str, spec: ExperimentSpec) -> bool:
    """Return whether a run would find everything made, recorded and as it was stored, and no blocking test failed.

    The store answers in a third of the time that importing Dagster takes. In doubt the answer is no.
    """
    from assay.automation.reasons import changes_between
    from assay.automation.reconcile import expected_versions
    from assay.automation.state import known_digest
    from assay.experiments.checks import recorded_tests
    from assay.experiments.contents import recorded_spec, stage_results, stored_fingerprints
    from assay.experiments.last_run import is_recorded

    root, stages = storage_root(), needed_stages(spec)
    is_mirrored = spec.exp_out_location != DEFAULT_LOCATION
    if is_mirrored or any(stage_config(spec, experiment_id, name).section.clear_folder for name in stages):
        return False
    former, digest = recorded_spec(root, experiment_id), known_digest(spec.generated_images, root, "")
    if former is None or digest is None or not is_recorded(dagster_home(), experiment_id):
        return False
    if changes_between(former, spec.as_dict()):
        return False
    expected = expected_versions(spec, experiment_id, digest)
    made = {name: result.fingerprint for name, result in stage_results(root, experiment_id).items()}
    stored = stored_fingerprints(root, experiment_id)
    is_made = all(made.get(name) == stored.get(name) == expected[name] for name in stages)
    return is_made and not any(test.blocking and not test.passed for test in recorded_tests(root, experiment_id))


def _print_finished(experiment_id: str) -> None:
    from assay.experiments.checks import recorded_tests
    from assay.experiments.contents import outcome

    print(f"{experiment_id} is finished: everything was found, nothing to do.")
    for test in recorded_tests(storage_root(), experiment_id):
        if not test.passed:
            print(f"check {test.kind} ({test.severity.upper()}): {test.description}")
    print("\n".join(outcome(storage_root(), experiment_id)))


def run_job(experiment_id: str, spec: ExperimentSpec, job: str, tells_outcome: bool = True) -> bool:
    """Run a job for an experiment in this process, and return whether everything succeeded, blocking tests included.

    Args:
        experiment_id: Its ID.
        spec: Its spec.
        job: Name of the job.
        tells_outcome: Whether to print what was found out, on the test data first of all.

    Raises:
        KeyboardInterrupt: Somebody stopped it, which is said already.
    """
    # Importing Dagster and torch makes a million objects that live as long as this short process. Collecting garbage
    # among them at every 700th new object, Python's default, costs 0.6 s of a run.
    gc.set_threshold(100_000, 20, 20)
    from assets.launch import run_experiment
    from definitions import build_defs

    return run_experiment(build_defs, experiment_id, spec, job, tells_outcome)


EXAMPLES = Path("experiments/examples")

DEMOS = ("regression", "classification", "handwritten")
"""Names of the examples that ``demo`` runs."""

DEMO_METRICS = {"regression": ("mae", "r2"), "classification": ("accuracy", "macro_f1")}
"""Metrics that ``demo`` prints, by task."""


def verify_experiment(
    experiment_id: ExperimentName,
    tolerance: Annotated[
        float,
        typer.Option(min=0.0, help="largest relative difference of numbers in tables; 0: every byte is the same"),
    ] = 0.0,
) -> None:
    """Make an experiment's results anew in an empty storage, and compare them with those that are stored.

    The same specification gives the same bytes on one kind of processor; on others, tables of numbers agree within a
    tolerance such as 1e-3. Nothing that is stored is changed.
    """
    from assay.experiments.verification import repeat_and_compare  # Polars: only here

    experiment_id = named_experiment(experiment_id)
    verdicts = repeat_and_compare(storage_root(), experiment_id, spec_files().load(experiment_id))
    for each in verdicts:
        typer.echo(f"{each.stage:17}{each}")
    failed = [each.stage for each in verdicts if not each.is_within(tolerance)]
    if failed:
        typer.echo(f"Not the same: {', '.join(failed)}.")
        raise typer.Exit(1)
    typer.echo("Verified: made again, the results are the same" + (f" within {tolerance:g}." if tolerance else "."))


def demo() -> None:
    """Train three example experiments, real data among them, and print their test metrics beside a baseline."""
    from assay.datasets.synthetic.build import write_handwritten_digits  # NumPy and Pillow: only here

    digits = Path("storage/demo/handwritten-digits")
    if not digits.exists():
        print(f"Wrote {write_handwritten_digits(digits)} handwritten digits to {digits}")
    failed = [name for name in DEMOS if not _run_example(f"demo-{name}", EXAMPLES / f"{name}.yaml")]
    if failed:
        print(f"Failed: {', '.join(failed)}")
        raise typer.Exit(1)
    _print_results()
    _print_next()


def _run_example(experiment_id: str, example: Path) -> bool:
    path = spec_files().path(experiment_id)
    if not path.exists():
        shutil.copy(example, path)
    spec = load_spec(path)
    print(f"\n{experiment_id}: {spec.name}")
    if is_finished(experiment_id, spec):
        print("everything was found, nothing to do")
        return True
    return run_job(experiment_id, spec, "job_experiment")


def _print_results() -> None:
    from assay.experiments.contents import stage_results  # Polars and DuckDB: only here
    from assay.storage.parquet import read_parquet

    print(f"\n{'experiment':22}{'test metric':14}{'value':>8}  {'95% interval':20}{'baseline':>9}")
    for name in DEMOS:
        experiment_id = f"demo-{name}"
        task = spec_files().load(experiment_id).task
        rows = read_parquet(stage_results(storage_root(), experiment_id)["analysis"].folder / "analysis.parquet")
        for row in rows.iter_rows(named=True):
            if row["subset"] == "test" and row["metric"] in DEMO_METRICS[task] and not row["class"]:
                interval = "none"
                if row["ci_low"] is not None:
                    interval = f"[{row['ci_low']:.3f}, {row['ci_high']:.3f}]"
                line = f"{experiment_id:22}{row['metric']:14}{row['value']:8.3f}  {interval:20}{row['baseline']:9.3f}"
                print(f"{line}  ({row['baseline_name']})")


def _print_next() -> None:
    query = "select experiment_id, metric, value from analysis where subset = 'test'"
    from assay.backfills.dagster_server import running_url

    place = running_url(dagster_home()) or "make dev"
    print(f"\nNext: look at pictures, checks and lineage in the browser:   {place}")
    print(f'      compare experiments in SQL:   .venv/bin/assay sql "{query}"')
    print(f"      your own images:   see README.md; results are below {storage_root()}")
