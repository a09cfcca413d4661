"""Which experiments are measured, and what they must reach.

Belongs here: specs and goals. Does not belong here: running them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.quality.baselines import (
    Baseline,
    classified_pixels,
    gradient_boosting,
    several_support_vectors,
    support_vectors,
)

OBJECTS, SCENES = 400, 1400
"""Generated images, as in the templates: for what is learned from single objects, and from whole images."""

HALVES = {str(digit): "low" if digit < 5 else "high" for digit in range(10)}
EXAMPLES = Path("experiments/examples")


@dataclass(frozen=True)
class Goal:
    """What must be reached on the test subset.

    Attributes:
        metric: Its name.
        target: Least value, or largest where lower is better.
        lower_is_better: Which way is better.
        unit: Of the value.
    """

    metric: str
    target: float
    lower_is_better: bool = False
    unit: str = ""


@dataclass(frozen=True)
class Case:
    """One kind of experiment.

    Attributes:
        name: Shown.
        keys: Of the spec.
        goals: What must be reached.
        seconds: Training time that must not be exceeded.
        baseline: Something simple, for the first goal; None: the trivial prediction of the analysis.
        drop: Largest loss of the goals on backgrounds that no training image had; None where there are none.
        matched: Measure the loss against a model that learned these backgrounds too, on the same images: to find
            objects, some photos are harder than others, also those that were seen.
    """

    name: str
    keys: dict[str, Any]
    goals: tuple[Goal, ...]
    seconds: float
    baseline: Baseline | None = None
    drop: float | None = None
    matched: bool = False


def cases(digits: Path, few: int | None = None) -> list[Case]:
    """Return what is measured.

    Args:
        digits: Folder of scikit-learn's handwritten digits, one folder per class.
        few: Generated images; None for as many as in the templates.
    """
    objects = {"source": {"kind": "numbers", "sample_count": few or OBJECTS}}
    large = {"font_size_min": 40, "font_size_max": 80, "max_amount": 4}
    scenes = {"source": {"kind": "numbers", "sample_count": few or SCENES, **large}}
    halves = {"data_description": {"class_mapping": HALVES}}
    own = {"source": {"kind": "image_folder", "path": str(digits)}}
    several = yaml.safe_load((EXAMPLES / "multi_label.yaml").read_text())["trained_model"]
    classify = "classification"
    return [
        Case(
            "regression",
            {"task": "regression", "generated_images": objects},
            (Goal("mae", 1.3, True, "digits"), Goal("r2", 0.6)),
            15,
            gradient_boosting,
        ),
        Case("softmax", _of(classify, objects), (Goal("accuracy", 0.985),), 65, support_vectors, 0.05),
        Case("binary", _of(classify, objects, halves), (Goal("accuracy", 0.965),), 65, support_vectors, 0.05),
        Case(
            "handwritten digits",
            _of(classify, own) | {"tabular": {"target_image_size": {"width": 8, "height": 8}}},
            (Goal("accuracy", 0.99),),
            15,
            support_vectors,
        ),
        Case(
            "several labels",
            _of(classify, objects, several),
            (Goal("macro_f1", 0.98),),
            60,
            several_support_vectors,
            0.05,
        ),
        _whole_images("detection", scenes, (Goal("map50", 0.93), Goal("map50_95", 0.65)), 120),
        _whole_images(
            "segmentation", scenes, (Goal("foreground_iou", 0.75), Goal("mean_iou", 0.6)), 180, classified_pixels
        ),
    ]


def _whole_images(
    task: str, images: dict[str, Any], goals: tuple[Goal, ...], seconds: float, baseline: Baseline | None = None
) -> Case:
    return Case(task, _of(task, images), goals, seconds, baseline, 0.05, matched=True)


def _of(task: str, images: dict[str, Any], model: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"task": task, "generated_images": images, **({"trained_model": model} if model else {})}
