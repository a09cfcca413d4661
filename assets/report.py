"""Asset ``report``: one page about an experiment, to look at, to send to others, to print."""

from typing import Any
from urllib.parse import quote

import dagster as dg

from assay.dashboard.report import write_report
from assay.pipeline import FINGERPRINT_LENGTH
from assay.storage.files import sha256_of
from assay.storage.results import REPORTS
from assay.utils.text import readable_size
from assets.common import OWNERS, STORES_FOLDER
from partitions.experiments import experiments
from resources.experiment_store import ExperimentStore
from resources.failures import as_failure


@dg.asset(
    deps=["analysis"],
    partitions_def=experiments,
    group_name="learning",
    kinds={"html"},
    owners=OWNERS,
    tags=STORES_FOLDER,
)
def report(context: dg.AssetExecutionContext, store: ExperimentStore) -> dg.MaterializeResult[Any]:
    """One self-contained page about an experiment: data, training, metrics, pictures, tests, origin.

    It is made on demand, by `job_report` or `assay report ID`; no experiment needs it to be finished.
    """
    name = context.partition_key
    with as_failure(f"Experiment {name}, report"):
        path = write_report(store.path, name)
    return dg.MaterializeResult(
        metadata={
            "report": dg.MetadataValue.md(f"[Open the report of {name}]({REPORTS}/{quote(name)})"),
            "file": dg.MetadataValue.path(str(path)),
            "size": readable_size(path.stat().st_size),
        },
        data_version=dg.DataVersion(sha256_of(path)[:FINGERPRINT_LENGTH]),
    )
