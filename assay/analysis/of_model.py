"""What the analysis reads, found from a trained model: its classes, and what it was taught.

Belongs here: from results to ``AnalysisInputs``. Does not belong here: predictions, metrics.
"""

from pathlib import Path

from assay.analysis.inputs import AnalysisInputs
from assay.analysis.taught import TAUGHT
from assay.learning.predictions import PREDICTIONS
from assay.learning.scene_targets import SceneTarget
from assay.learning.targets import NumberTarget
from assay.learning.trained_model import CHOSEN
from assay.learning.weights import read_card
from assay.tables import read_parquet


def inputs_of_model(
    model_folder: Path,
    predictions_folder: Path,
    splits_folder: Path | None = None,
    crops_folder: Path | None = None,
) -> AnalysisInputs:
    """Return what the analysis of a model's predictions reads.

    Args:
        model_folder: Result of the stage ``trained_model``.
        predictions_folder: Result of the stage ``predictions``.
        splits_folder: Result of ``splits`` that was predicted, with true masks or boxes; None where neither is learned.
        crops_folder: Result of ``crops``, to show the worst items; None where there are no pictures.
    """
    card, taught = read_card(model_folder / CHOSEN), read_parquet(model_folder / TAUGHT)
    predictions, target = predictions_folder / PREDICTIONS, card.target
    if isinstance(target, SceneTarget):
        return AnalysisInputs(
            predictions, taught, card.task, target.classes, splits_folder=splits_folder, label_classes=target.mapping
        )
    classes = () if isinstance(target, NumberTarget) else target.classes
    return AnalysisInputs(predictions, taught, card.task, classes, crops_folder)
