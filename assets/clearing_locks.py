"""The job that clears locks, as ``assay locks --clear`` does: an op, since a lock is no result of an experiment.

Belongs here: the op, its configuration, what it shows. Does not belong here: clearing (``assay.storage.locks``).
"""

import dagster as dg
from pydantic import Field

from assay.errors import StorageError, unknown
from assay.experiments.locks import lock_folders
from assay.storage.locks import clear, describe
from resources.experiment_store import ExperimentStore
from resources.failures import as_failure


class ClearConfig(dg.Config):
    """Which locks shall be free."""

    locks: list[str] = Field(
        default=[], description="Names, or patterns such as named/*; none: all whose holders died are forgotten."
    )
    location: str = Field(default="", description="A location that several machines share; empty: the storage.")
    force: bool = Field(
        default=False,
        description="Take named locks from holders that are at work, too; they work on, at the same time as the next.",
    )


@dg.op
def clear_locks(context: dg.OpExecutionContext, config: ClearConfig, store: ExperimentStore) -> None:
    """Forget holders that died and, by name and force, take locks from those at work; ``assay locks`` lists them."""
    with as_failure("Clearing locks"):
        folders = lock_folders(store.locations)
        if config.location not in folders:
            raise StorageError(unknown("Shared location", config.location, [name for name in folders if name]))
        cleared = clear(folders[config.location], config.locks, config.force)
    lines = [f"- {describe(holder)}" for holder in cleared]
    context.log.info("\n".join(["Cleared:", *lines] if lines else ["There was nothing to clear."]))
    context.add_output_metadata({"count": len(cleared), "cleared": dg.MetadataValue.md("\n".join(lines) or "nothing")})


@dg.job(
    description="Clear locks that were left over; refuses those of living holders unless forced.",
    executor_def=dg.in_process_executor,
)
def job_clearlocks() -> None:
    """Clear locks."""
    clear_locks()
