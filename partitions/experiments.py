"""The partitions: one per experiment, named by its ID, which is validated before it is added; and one per scoring."""

import dagster as dg

from assay.spec.ids import validate_id

NAME = "experiments"
experiments = dg.DynamicPartitionsDefinition(name=NAME)

scorings = dg.DynamicPartitionsDefinition(name="scorings")
"""Partitions of the asset ``scored``: predictions of new data, most often named by model and day."""


def known_experiments(instance: dg.DagsterInstance) -> set[str]:
    """Return the IDs of the experiments that have a partition."""
    return set(instance.get_dynamic_partitions(NAME))


def add_experiment(instance: dg.DagsterInstance, experiment_id: str) -> None:
    """Add the partition of an experiment, unless it exists.

    Raises:
        IdError: The ID is not valid.
    """
    instance.add_dynamic_partitions(NAME, [validate_id(experiment_id)])
