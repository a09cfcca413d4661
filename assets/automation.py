"""Dagster's own automation: when a result follows its inputs without anybody asking.

Spec files, users' data and code are followed by the sensors of ``experiment_files``. This condition covers what happens
inside Dagster: somebody materializes an asset by hand, and what is made from it should follow.

Dagster's ready-made conditions react to events, and ask for a result that a run is just finishing while they look: one
change, two runs. This one compares states, at rest; and a look at it is one node per asset instead of twenty.

Belongs here: the condition and the sensor that evaluates it. Does not belong here: what it compares (``assay``).
"""

import json
from functools import lru_cache

import dagster as dg
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView

from assay.automation.upstream import UpstreamComparison, compare_changed
from assay.backfills.launch import RETRY_TAGS
from partitions.experiments import experiments
from resources.defaults import default_store
from resources.instance.run_records import InstanceRunRecords


class FollowsInputs(dg.AutomationCondition[dg.AssetKey]):
    """True for an experiment when its result was made from another version of an input than there is now."""

    @property
    def name(self) -> str:
        """What logs call it."""
        return "follows_inputs"

    def get_label(self) -> str:
        """What the UI calls it, in words."""
        return "an input has another version than this was made from"

    @property
    def description(self) -> str:
        """What the UI says about it."""
        return (
            "An input has, or is about to have, another data version than this was made from; no run of the experiment "
            "is under way; and it was not asked for before in vain. Never true for a first result."
        )

    def evaluate(self, context: dg.AutomationContext[dg.AssetKey]) -> dg.AutomationResult[dg.AssetKey]:
        """Compare the experiments of which something was materialized since the last look."""
        state = json.loads(context.cursor or '{"seen": null, "waiting": [], "asked": {}}')
        view, name, asked = context.asset_graph_view, context.key.to_user_string(), state["asked"]
        look = _look(view, state["seen"], frozenset(state["waiting"]))
        lacks = {experiment_id: found[name] for experiment_id, found in look.stale.items() if name in found}
        new = {experiment_id for experiment_id, lack in lacks.items() if asked.get(experiment_id) != lack}
        kept = {experiment_id: lack for experiment_id, lack in asked.items() if experiment_id not in look.stale}
        cursor = json.dumps({"seen": look.seen, "waiting": sorted(look.waiting), "asked": {**kept, **lacks}})
        if not new:
            return dg.AutomationResult(context, context.get_empty_subset(), cursor=cursor)
        new &= context.candidate_subset.expensively_compute_partition_keys()
        subset = view.get_subset_from_partition_keys(context.key, experiments, new)
        return dg.AutomationResult(context, subset, cursor=cursor)


@lru_cache(maxsize=1)
def _look(view: AssetGraphView, seen: int | None, waiting: frozenset[str]) -> UpstreamComparison:
    """Look once for all assets of a tick: they see the same state and ask for one run together."""
    return compare_changed(InstanceRunRecords(view.instance), default_store().results, seen, waiting)


FOLLOWS_INPUTS = FollowsInputs()

follow_inputs = dg.AutomationConditionSensorDefinition(
    name="follow_inputs",
    target=dg.AssetSelection.all(),
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    use_user_code_server=True,
    run_tags=RETRY_TAGS,
    description="Makes anew what was made from an asset that somebody materialized with another outcome.",
)
