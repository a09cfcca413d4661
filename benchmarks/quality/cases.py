"""Which experiments are measured, and what they must reach.

Belongs here: specs and goals. Does not belong here: running them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from assay.spec.loading import merged
from benchmarks.quality.baselines import (
    Baseline,
    classified_pixels,
    gradient_boosting,
    several_support_vectors,
    support_vectors,
)
from benchmarks.quality.data import Data, Values
from benchmarks.quality.shapes import recall_of_large
from benchmarks.rows import Target, at_least, at_most

OBJECTS, SCENES = 400, 1400
"""Generated images, as in the templates: for what is learned from single objects, and from whole images."""

HALVES = {str(digit): "low" if digit < 5 else "high" for digit in range(10)}
EXAMPLES = Path("experiments/examples")


@dataclass(frozen=True)
class Goal:
    """What must be reached on the test subset.

    Attributes:
        metric: Its name.
        target: Worst value that is good enough.
        unit: Of the value.
        drop: Largest loss on backgrounds that no training image had; None where there are none.
    """

    metric: str
    target: Target
    unit: str = ""
    drop: float | None = None


@dataclass(frozen=True)
class Case:
    """One kind of experiment.

    Attributes:
        name: Shown.
        keys: Of the spec.
        goals: What must be reached.
        seconds: Training time that must not be exceeded.
        baseline: Something simple, for the first goal; None: the trivial prediction of the analysis.
        baseline_name: What that is, and on what, where it is not the whole test subset.
        seeds: How many are trained; one of what takes a minute.
        matched: Measure the loss on other backgrounds against a model that learned these too, on the same images,
            rather than against the test subset: to find objects, some photos are harder than others, also those that
            were seen.
        further: More values of a model, given by its folder, that was judged.
    """

    name: str
    keys: dict[str, Any]
    goals: tuple[Goal, ...]
    seconds: float
    baseline: Baseline | None = None
    baseline_name: str = "trivial prediction"
    seeds: int = 3
    matched: bool = False
    further: Callable[[Data, Path], Values] | None = None

    @property
    def has_unseen(self) -> bool:
        """Whether it is tried on backgrounds that no training image had."""
        return any(goal.drop is not None for goal in self.goals)


def cases(digits: Path, shapes: Path, few: int | None = None) -> list[Case]:
    """Return what is measured.

    Args:
        digits: Folder of scikit-learn's handwritten digits, one folder per class.
        shapes: Folder of images with shapes of 8 to 300 px.
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
            (Goal("mae", at_most(1.3), "digits"), Goal("r2", at_least(0.6))),
            11.5,
            gradient_boosting,
            "gradient boosting",
        ),
        Case(
            "softmax",
            _of(classify, objects),
            (Goal("accuracy", at_least(0.985), drop=0.03),),
            28.5,
            support_vectors,
            "support vectors",
        ),
        Case(
            "binary",
            _of(classify, objects, halves),
            (Goal("accuracy", at_least(0.965), drop=0.03),),
            28,
            support_vectors,
            "support vectors",
        ),
        Case(
            "handwritten digits",
            _of(classify, own) | {"tabular": {"target_image_size": {"width": 8, "height": 8}}},
            (Goal("accuracy", at_least(0.99)),),
            17,
            support_vectors,
            "support vectors",
        ),
        Case(
            "several labels",
            _of(classify, objects, several),
            (Goal("macro_f1", at_least(0.98), drop=0.02),),
            67,
            several_support_vectors,
            "support vectors, one machine per class",
            seeds=1,
        ),
        Case(
            "detection",
            _of("detection", scenes),
            (Goal("map50", at_least(0.95), drop=0.02), Goal("map50_95", at_least(0.76), drop=0.03)),
            100,
            seeds=1,
            matched=True,
        ),
        Case(
            "detection, objects of 8 to 300 px",
            _of("detection", {"source": {"kind": "coco", "path": str(shapes)}}),
            (Goal("map50", at_least(0.6)), Goal("large_recall", at_least(0.8))),
            150,
            seeds=1,
            further=recall_of_large,
        ),
        Case(
            "segmentation",
            _of("segmentation", scenes),
            (Goal("foreground_iou", at_least(0.83), drop=0.035), Goal("mean_iou", at_least(0.82), drop=0.035)),
            124,
            classified_pixels,
            "single pixels, on 40 of the test images",
            seeds=1,
            matched=True,
        ),
    ]


def shortened(case: Case) -> Case:
    """Return a case that takes seconds and learns nothing, to see that it runs."""
    short = {"trained_model": {"train_params": {"epochs": 1, "steps_per_epoch": 2}}}
    return replace(case, keys=merged(case.keys, short), seeds=1)


def _of(task: str, images: dict[str, Any], model: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"task": task, "generated_images": images, **({"trained_model": model} if model else {})}
