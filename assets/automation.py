"""The automation condition of all assets: a result is made again when its inputs have changed.

Spec files, users' data and code are followed by the sensors in ``assets.sensors``. This condition covers what happens
inside Dagster: somebody materializes an asset by hand, and the assets made from it should follow.

Dagster's built-in conditions react to events and may request a result that a run is just about to finish, so that one
change causes two runs. This condition compares recorded states while no run of the experiment is active. It is one
node: Dagster reads the names of all partitions several times per node, so that the same as "all of" three conditions,
which the UI would show one by one, makes a tick two to four times as long with 200 to 5,000 experiments.

Belongs here: the condition and the sensor that evaluates it. Does not belong here: the comparison
(``assay.automation.upstream``).
"""

import json
from functools import lru_cache
from typing import Any

import dagster as dg
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView

from assay.automation.reasons import REASON_TAG, as_tag, upstream_reason
from assay.automation.upstream import UpstreamComparison, compare_changed, stale_in
from assay.backfills.launch import RETRY_TAGS
from partitions.experiments import experiments
from resources.defaults import default_store
from resources.instance.run_records import InstanceRunRecords


class FollowsInputs(dg.AutomationCondition[dg.AssetKey]):
    """True for an experiment if its result was made from another version of an input than the current one."""

    @property
    def name(self) -> str:
        """Name in logs."""
        return "follows_inputs"

    def get_label(self) -> str:
        """Label in the UI."""
        return "an input has another version than this was made from; no run is at work; not requested for it before"

    @property
    def description(self) -> str:
        """Description in the UI."""
        return (
            "An input has, or is about to have, another data version than the one this was made from; no run of the "
            "experiment is active; and the same change was not requested before. Never true for a first result."
        )

    def evaluate(self, context: dg.AutomationContext[dg.AssetKey]) -> dg.AutomationResult[dg.AssetKey]:
        """Compare the experiments that had a materialization since the last evaluation."""
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
    """Compare once for all assets of a tick, so that they see the same state and request one run together."""
    return compare_changed(InstanceRunRecords(view.instance), default_store().results, seen, waiting)


FOLLOWS_INPUTS = FollowsInputs()


class UpstreamSensor(dg.AutomationConditionSensorDefinition):
    """Dagster's sensor of conditions, whose runs say which input they follow."""

    def evaluate_tick(self, context: dg.SensorEvaluationContext) -> Any:
        """Evaluate all conditions, and give each requested run its reason as a tag."""
        found: Any = super().evaluate_tick(context)
        if found.run_requests:
            found.run_requests[:] = [_with_reason(context.instance, request) for request in found.run_requests]
        return found


def _with_reason(instance: dg.DagsterInstance, request: dg.RunRequest) -> dg.RunRequest:
    name = request.partition_key
    if name is None:
        return request
    stale = stale_in(InstanceRunRecords(instance).recorded([name])[name], default_store().results, name)
    lacks = [stale[key] for key in map(dg.AssetKey.to_user_string, request.asset_selection or ()) if key in stale]
    tag = {REASON_TAG: as_tag([upstream_reason(lacks)])} if lacks else {}
    return request.with_replaced_attrs(tags={**request.tags, **tag})


follow_upstream = UpstreamSensor(
    name="follow_upstream",
    target=dg.AssetSelection.all(),
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    use_user_code_server=True,
    run_tags=RETRY_TAGS,
    description="Follows what is made by hand: if it differs from before, the assets made from it are made anew.",
)
