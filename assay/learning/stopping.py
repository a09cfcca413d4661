"""When a training ends before its last epoch: a pure function of what was measured.

Belongs here: the rule. Does not belong here: which weights are kept.
"""

from collections.abc import Sequence

from assay.learning.state import EpochValues
from assay.spec.training import EarlyStopping
from assay.training.metrics import is_better


def reason_to_stop(rule: EarlyStopping | None, metric: str, history: Sequence[EpochValues]) -> str:
    """Return why the training ends after the newest epoch; empty when it goes on.

    Args:
        rule: Of the spec.
        metric: What is watched on the validation data.
        history: Of all epochs so far.
    """
    if rule is None:
        return ""
    best, best_epoch = None, 0
    for values in history:
        value = values.validation[metric]
        if is_better(metric, value, best, rule.min_delta):
            best, best_epoch = value, values.epoch
    if len(history) - best_epoch < rule.patience:
        return ""
    return f"{metric} was best in epoch {best_epoch} and not better in the {rule.patience} epochs after it"
