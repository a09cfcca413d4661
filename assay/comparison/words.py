"""The sentences of a comparison.

Belongs here: choosing and writing them. Does not belong here: tables.
"""

from assay.analysis.base import readable_number
from assay.comparison.entries import Entry, Score
from assay.comparison.ranking import Ranking


def interval(score: Score) -> str:
    """Return ``[0.912, 0.965]``, empty without an interval."""
    if score.low is None or score.high is None:
        return ""
    return f"[{readable_number(score.low)}, {readable_number(score.high)}]"


def value_with_interval(score: Score) -> str:
    """Return ``0.940 [0.912, 0.965]``."""
    return f"{readable_number(score.value)} {interval(score)}".strip()


def title(ranking: Ranking, subset: str) -> str:
    """Return what is compared: task, metric, subset and which way is better."""
    if not ranking.ranked:
        return ranking.task or "experiments without a valid spec"
    metric, score = ranking.metric, ranking.score(ranking.ranked[0])
    unit = f" in {score.unit}" if score.unit else ""
    better = "higher" if metric.higher_is_better else "lower"
    return f"{ranking.task}: {metric.label}{unit} on {subset}, {better} is better"


def verdict(ranking: Ranking) -> str:
    """Return how good the best is, against the baseline, and whether the others are really worse."""
    best = ranking.ranked[0]
    score = ranking.score(best)
    beaten = f"{score.baseline_name} {readable_number(score.baseline)}" if score.baseline is not None else "no baseline"
    items = f"{score.count:,} item{'s' * (score.count != 1)}"
    measured = f"Best: {best.experiment_id}, {value_with_interval(score)} on {items}; {beaten}."
    return " ".join(
        sentence for sentence in (measured, _against_baseline(ranking), _among_themselves(ranking)) if sentence
    )


def _against_baseline(ranking: Ranking) -> str:
    score = ranking.score(ranking.ranked[0])
    worse_end = score.low if ranking.metric.higher_is_better else score.high
    if score.baseline is None or worse_end is None or ranking.metric.beats(worse_end, score.baseline):
        return ""
    return f"Its interval reaches the {score.baseline_name}: it is not surely better."


def _among_themselves(ranking: Ranking) -> str:
    others, near = len(ranking.ranked) - 1, len(ranking.not_separable)
    if not others or ranking.score(ranking.ranked[0]).low is None:
        return ""
    if not near:
        return "Its interval overlaps with no other's."
    whose = f"{near} of {others} others'"
    if near == others:
        whose = "the other's" if others == 1 else f"all {others} others'"
    return f"Its interval overlaps with {whose}: the order among these is not certain."


def notes(ranking: Ranking) -> list[str]:
    """Return one line per ranked experiment about which there is something to know."""
    return [about(entry) for entry in ranking.ranked if entry.note]


def about(entry: Entry) -> str:
    """Return an experiment's note as a line."""
    return f"{entry.experiment_id}: {entry.note}"
