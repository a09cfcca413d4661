"""Which result feeds the model: whole images, crops or rows, whichever the spec or the trained model says.

Belongs here: choosing among optional inputs. Does not belong here: reading them (``assay.training.data``).
"""

from dataclasses import dataclass

import dagster as dg

from assay.storage.parquet import StoredTable
from assay.storage.results import Result
from resources.experiment_store import ExperimentStore
from resources.failures import as_failure


@dataclass(frozen=True)
class LearningData:
    """The kinds of data that a model may learn from; None where not materialized."""

    splits: Result | None
    crops: Result | None
    normalized: Result | None

    def named(self, kind: str) -> Result:
        """Return the result of a kind.

        Raises:
            dagster.Failure: It was never materialized.
        """
        found: Result | None = getattr(self, kind)
        if found is None:
            raise dg.Failure(f"{kind} was never materialized. Materialize {kind} first.", allow_retries=False)
        return found

    @property
    def shown_crops(self) -> Result | None:
        """The crops, where there are pictures to show."""
        return self.crops if self.crops is not None and self.crops.report["crops"] else None


def learning_data(
    store: ExperimentStore, splits: Result | None, crops: Result | None, normalized: StoredTable | None
) -> LearningData:
    """Return the data with the table's whole result folder: the scaling of its columns lies beside it."""
    with as_failure("normalized"):
        rows = store.results.open("normalized", normalized.fingerprint) if normalized else None
    return LearningData(splits, crops, rows)
