"""What the analysis reads, found from a trained model: its classes, and the targets that it was taught.

Belongs here: from results to ``AnalysisInputs``. Does not belong here: predictions, metrics.
"""

from pathlib import Path

from assay.analysis.inputs import AnalysisInputs
from assay.learning.card import ModelCard
from assay.learning.predictions import PREDICTIONS
from assay.learning.scene_targets import SceneTarget
from assay.learning.source import DataSource, read_subsets
from assay.learning.targets import NumberTarget
from assay.learning.trained_model import CHOSEN
from assay.learning.weights import read_card


def inputs_of_model(
    model_folder: Path, predictions_folder: Path, source: DataSource, crops_folder: Path | None = None
) -> AnalysisInputs:
    """Return what the analysis of a model's predictions reads.

    Args:
        model_folder: Result of the stage ``trained_model``.
        predictions_folder: Result of the stage ``predictions``.
        source: What the model learned from.
        crops_folder: Result of ``crops``, to show the worst items; None where there are no pictures.
    """
    card = read_card(model_folder / CHOSEN)
    predictions, subset = predictions_folder / PREDICTIONS, card.section.data_train.subset
    if isinstance(card.target, SceneTarget):
        return AnalysisInputs(
            predictions,
            task=card.task,
            classes=card.target.classes,
            splits_folder=source.folder,
            label_classes=card.target.mapping,
            train_subset=subset,
        )
    return _flat_inputs(predictions, card, source, crops_folder)


def _flat_inputs(predictions: Path, card: ModelCard, source: DataSource, crops_folder: Path | None) -> AnalysisInputs:
    target, subset = card.flat_target, card.section.data_train.subset
    rows = read_subsets(source, [subset], target.column)[subset]
    return AnalysisInputs(
        predictions,
        train_target=target.truth(rows),
        task=card.task,
        classes=() if isinstance(target, NumberTarget) else target.classes,
        crops_folder=crops_folder,
        train_subset=subset,
    )
