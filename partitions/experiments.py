"""The partitions: one per experiment, named by its ID, added only after the ID was validated."""

import dagster as dg

from assay.spec.ids import validate_id

NAME = "experiments"
experiments = dg.DynamicPartitionsDefinition(name=NAME)


def known_experiments(instance: dg.DagsterInstance) -> set[str]:
    """Return the IDs that Dagster knows."""
    return set(instance.get_dynamic_partitions(NAME))


def add_experiment(instance: dg.DagsterInstance, experiment_id: str) -> None:
    """Make an experiment known to Dagster; does nothing when it is.

    Raises:
        IdError: The ID is not valid.
    """
    instance.add_dynamic_partitions(NAME, [validate_id(experiment_id)])
