"""The partitions: one per experiment, named by its ID, added only after the ID was validated."""

import dagster as dg

from assay.ids import validate_id

experiments = dg.DynamicPartitionsDefinition(name="experiments")


def add_experiment(instance: dg.DagsterInstance, experiment_id: str) -> None:
    """Make an experiment known to Dagster; does nothing when it is.

    Raises:
        IdError: The ID is not valid.
    """
    instance.add_dynamic_partitions("experiments", [validate_id(experiment_id)])
