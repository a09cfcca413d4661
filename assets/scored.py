"""Asset ``scored``: predictions of new data by a trained model, which the job ``job_scoring`` makes.

An op makes it, rather than the asset itself, because only its configuration says what is predicted: "Materialize all"
of the asset graph, backfills of experiments and automation have none to give, and must not wait for it.

Belongs here: the job, its schedule, what the UI shows. Does not belong here: predicting (``assay.inference``).
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl
from pydantic import Field

from assay.automation.reasons import REASON_TAG
from assay.errors import DataError
from assay.storage.parquet import StoredTable
from assay.storage.partitions import place_of
from assay.utils.reading import user_path
from assay.utils.text import code_block
from assets.common import OWNERS, STORES_TABLE, picture
from partitions.experiments import scorings
from resources.experiment_store import ExperimentStore
from resources.failures import as_failure
from resources.instance.run_records import version_tags
from resources.io_managers import DEFAULT_SCHEMA, metadata_of_tables
from resources.progress import Pause

if TYPE_CHECKING:
    from assay.inference.scoring import Scoring

TABLE, COLUMN = "scored", "scoring"

MOST_LISTED, MOST_RUNS = 100, 1_000

scored = dg.AssetSpec(
    TABLE,
    deps=[dg.AssetDep("trained_model", partition_mapping=dg.AllPartitionMapping())],
    partitions_def=scorings,
    group_name="scoring",
    kinds={"pytorch", "duckdb"},
    owners=OWNERS,
    tags=STORES_TABLE,
    metadata={"partition_expr": COLUMN, "dagster/io_manager_key": "tables"},
    description="Predictions of new pictures or rows by a trained model, one partition per scoring. Made by the job "
    "`job_scoring`: **Jobs → job_scoring → Launchpad**, where you name the model and the data. In SQL, the table "
    "`scored`, whose column `scoring` is the partition.",
)


class ScoringConfig(dg.Config):
    """What is predicted, by which model."""

    experiment: str = Field(
        description="Whose model predicts: the ID of an experiment, `champion`, or what else `assay predict` takes."
    )
    paths: list[str] = Field(
        description="Pictures: files, folders, patterns; or one CSV or Parquet file. {date} stands for the day."
    )
    out: str = Field(
        default="",
        description="Also write the predictions there, as `assay predict --out` does: .csv, .parquet, .json, "
        "coco.json, or a folder for pictures. {date} stands for the day.",
    )
    overwrite: bool = Field(default=False, description="Replace what `out` names.")
    name: str = Field(
        default="",
        description="Partition of `scored`, which is replaced if it exists; empty: {experiment}-{date}.",
    )
    date: str = Field(default="", description="Day that {date} stands for, such as 2026-11-26; empty: today, in UTC.")
    nightly: bool = Field(
        default=False,
        description="Let the schedule nightly_scoring, once you switch it on, repeat this every night for the day that "
        "has ended. Launch it with false to end that.",
    )


@dg.op
def score(context: dg.OpExecutionContext, config: ScoringConfig, store: ExperimentStore) -> None:
    """Predict new pictures or rows with a trained model, and store the predictions as a partition of `scored`."""
    from assay.inference.model import open_model  # torch: only here
    from assay.inference.scoring import begin_scoring, dated, day_of, name_of_scoring
    from assay.inference.writing import require_output

    with as_failure("Scoring"), TemporaryDirectory() as folder:
        if not config.paths:
            raise DataError("paths is empty. Name files, folders or patterns of pictures, or one CSV or Parquet file.")
        day = day_of(config.date, datetime.now(UTC).date())
        model = open_model(config.experiment)
        name = name_of_scoring(config.name, model.stored, day)
        paths, out = (
            [dated(each, day) for each in config.paths],
            user_path(dated(config.out, day)) if config.out else None,
        )
        if out is not None:
            require_output(model, out, config.overwrite, paths)
        scoring = begin_scoring(model, paths, out)
        rows = _written(context, scoring, Path(folder) / "rows.parquet", out)
        about = [pl.lit(model.stored.experiment_id).alias("experiment_id"), pl.lit(day).alias("scored_on")]
        table = place_of(store.path, DEFAULT_SCHEMA, TABLE, COLUMN, name).write(rows.select(*about, pl.all()))
        metadata = {**_found(scoring, name, out), **_pictures(scoring, folder), **metadata_of_tables([table], True)}
    context.instance.add_dynamic_partitions(str(scorings.name), [name])
    context.log_event(_event(name, table, metadata))
    for item, problem in scoring.problems[:MOST_LISTED]:
        context.log.warning(f"not predicted: {item}: {problem}")


def _written(context: dg.OpExecutionContext, scoring: "Scoring", path: Path, out: Path | None) -> pl.LazyFrame:
    """Write the predictions part by part, and return the rows."""
    from assay.inference.writing import ParquetWriter, predictions_file

    pause = Pause(seconds=5)
    with ExitStack() as stack:
        writers = [stack.enter_context(_closing(ParquetWriter(path)))]
        if out is not None:
            writers.append(stack.enter_context(predictions_file(scoring.model, out, sys.stdout)))
        for part in scoring:
            for writer in writers:
                writer.add(part)
            if pause.is_over():
                context.log.info(f"{scoring.count:,} {scoring.unit}")
    return pl.scan_parquet(path, glob=False)


@contextmanager
def _closing(writer: Any) -> Iterator[Any]:
    try:
        yield writer
        writer.end()
    finally:
        writer.close()


def _event(name: str, table: StoredTable, metadata: dict[str, Any]) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(TABLE, partition=name, metadata=metadata, tags=version_tags(table.fingerprint))


def _found(scoring: "Scoring", name: str, out: Path | None) -> dict[str, Any]:
    """Return what a scoring found, as metadata."""
    failed, stored = scoring.problems, scoring.model.stored
    listed = [f"{item}: {problem}" for item, problem in failed[:MOST_LISTED]]
    more = [f"… and {len(failed) - MOST_LISTED:,} more"] if len(failed) > MOST_LISTED else []
    told = f"{scoring.count:,} {scoring.unit} predicted by {stored.name}, stored as {name}"
    metadata: dict[str, Any] = {
        "summary": told + (f"; {len(failed):,} could not be read." if failed else "."),
        scoring.unit: scoring.count,
        "not_predicted": len(failed),
        "model": dg.MetadataValue.path(str(stored.weights)),
    }
    if listed:
        metadata["unreadable"] = dg.MetadataValue.md(code_block("\n".join([*listed, *more])))
    if scoring.ignored:
        metadata["columns_not_read"] = ", ".join(scoring.ignored)
    if scoring.notes:
        metadata["notes"] = dg.MetadataValue.md(code_block("\n".join(scoring.notes)))
    if scoring.about_rare:
        metadata["rare_values"] = scoring.about_rare
    if scoring.first_rows is not None and len(scoring.first_rows):
        metadata["preview"] = dg.MetadataValue.md(code_block(_as_text(scoring.first_rows)))
    if out is not None:
        metadata["out"] = dg.MetadataValue.path(str(out.absolute()))
    return metadata


def _as_text(rows: pl.DataFrame) -> str:
    with pl.Config(
        tbl_formatting="ASCII_MARKDOWN",
        tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True,
        tbl_width_chars=160,
        fmt_str_lengths=60,
        tbl_rows=-1,
    ):
        return str(rows)


def _pictures(scoring: "Scoring", folder: str) -> dict[str, Any]:
    """Return the first pictures with their predictions, as metadata; empty for rows."""
    from assay.plots.sheets import save_small_png

    drawn = scoring.drawn()
    if drawn is None:
        return {}
    path = Path(folder) / "first pictures.png"
    save_small_png(drawn, path)
    return {"pictures_drawn": picture(path)}


@dg.job(
    description="Predict new pictures or rows with a trained model, as `assay predict` does, and store the predictions "
    "as a partition of the asset `scored`. Name the experiment and the paths in the Launchpad.",
    executor_def=dg.in_process_executor,
)
def job_scoring() -> None:
    """Predict new data."""
    score()


@dg.schedule(
    job=job_scoring,
    cron_schedule="0 3 * * *",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every night at 3:00 UTC, repeats each scoring that was launched with `nightly: true`, for the day "
    "that has ended: {date} in its paths and names stands for it. Off until you switch it on.",
)
def nightly_scoring(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
    """Request a run for each scoring whose newest successful run asked for it."""
    day = (context.scheduled_execution_time - timedelta(days=1)).date()
    requests = [_repeated(name, config, day) for name, config in repeated_scorings(context.instance).items()]
    return requests or dg.SkipReason("No scoring was launched with nightly: true.")


def repeated_scorings(instance: dg.DagsterInstance) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the configuration of each scoring to repeat, by the experiment and the name that it was given."""
    succeeded = dg.RunsFilter(job_name=job_scoring.name, statuses=[dg.DagsterRunStatus.SUCCESS])
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for run in instance.get_runs(succeeded, limit=MOST_RUNS):  # the newest first
        run_config: Any = run.run_config
        config = run_config["ops"]["score"]["config"]
        newest.setdefault((config["experiment"], config.get("name", "")), config)
    return {name: config for name, config in newest.items() if config.get("nightly")}


def _repeated(name: tuple[str, str], config: dict[str, Any], day: date) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=":".join([*name, day.isoformat()]),
        run_config={"ops": {"score": {"config": {**config, "date": day.isoformat()}}}},
        tags={REASON_TAG: "nightly scoring"},
    )
