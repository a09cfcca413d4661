"""Dagster's own automation: when a result follows its inputs without anybody asking.

Spec files, users' data and code are followed by the sensors of ``experiment_files``. This condition covers what happens
inside Dagster: somebody materializes an asset by hand, and what is made from it should follow.

Belongs here: conditions and the sensor that evaluates them. Does not belong here: which assets depend on which.
"""

import dagster as dg

Is = dg.AutomationCondition

# A section of the spec is no input here: the file sensor follows specs, and one change must not start two runs.
INPUT_CHANGED = (
    Is.any_deps_match(Is.data_version_changed() | Is.will_be_requested())
    .ignore(dg.AssetSelection.key_prefixes("spec"))
    .with_label("an input has, or is about to have, another data version")
)
HANDLED = (Is.newly_updated() | Is.newly_requested() | Is.execution_failed().newly_true()).with_label(
    "it was made anew, asked for, or tried and failed: a failure is not tried again by itself"
)
FOLLOWS_INPUTS = (~Is.missing() & INPUT_CHANGED.since(HANDLED) & ~Is.in_progress()).with_label("follows its inputs")
"""An existing result is made anew once when an input gets another data version; the first one is never made unasked."""

follow_inputs = dg.AutomationConditionSensorDefinition(
    name="follow_inputs",
    target=dg.AssetSelection.all(),
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Makes anew what was made from an asset that somebody materialized with another outcome.",
)
