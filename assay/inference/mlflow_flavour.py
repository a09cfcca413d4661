"""A trained model as MLflow loads it: ``mlflow.pyfunc.load_model(uri).predict(frame)``, without pickle.

MLflow imports this module by its name, which the saved model holds, and calls ``_load_pyfunc``. Belongs here: the saved
folder, and frames of pandas. Does not belong here: when a model is logged (``assay.tracking``).
"""

import warnings
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from assay.errors import DataError
from assay.inference.model import Model, open_model
from assay.inference.stored import PORTABLE, PORTABLE_WEIGHTS, StoredModel, is_table_model, portable_text
from assay.storage.files import write_text

DATA = "data/assay"
"""Folder of our files in the saved model."""

PACKAGES = ("numpy", "pandas", "pillow", "polars", "pyarrow", "pydantic", "safetensors", "scipy", "torch")
"""What the saved model says it needs. Assay itself is on no package index, where the name may be somebody else's."""


def save_flavour(stored: StoredModel, folder: Path) -> None:
    """Write a model into a new folder, as ``mlflow.pyfunc.load_model`` takes it.

    Raises:
        ImportError: MLflow is not installed.
    """
    with TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns of its own annotations when it is imported
        import mlflow.pyfunc  # seconds, and only where it is installed

        data = Path(temporary) / Path(DATA).name
        data.mkdir()
        copyfile(stored.weights, data / PORTABLE_WEIGHTS)
        write_text(data / PORTABLE, portable_text(stored))
        packages = PACKAGES if stored.card.backbone is None else (*PACKAGES, "transformers")
        needed = [f"{name}=={version(name)}" for name in packages]
        mlflow.pyfunc.save_model(folder, loader_module=__name__, data_path=str(data), pip_requirements=needed)


def _load_pyfunc(path: str) -> "FlavouredModel":
    """Return what MLflow wraps; it calls this function by its name."""
    return FlavouredModel(open_model(Path(path)))


class FlavouredModel:
    """A trained model that takes and gives frames of pandas.

    Args:
        model: The model.
    """

    def __init__(self, model: Model) -> None:
        self.model = model

    def predict(self, model_input: Any, params: Any = None) -> Any:
        """Return the predictions as a frame of pandas, with the columns of ``assay.inference.model.Model.predict``.

        Args:
            model_input: For a model of a table: a frame with the training's columns in their own units. For a model of
                pictures: a frame with one column, or a list, of paths or of the bytes of picture files; or an array
                uint8 (n, H, W, 3).
            params: Not used.

        Raises:
            DataError: The input is not what the model was trained on, or a picture can't be read.
        """
        is_frame = hasattr(model_input, "columns") and hasattr(model_input, "to_dict")
        if is_table_model(self.model.stored):
            rows = pl.from_pandas(model_input) if is_frame else model_input
            return self.model.predict(rows).to_pandas()
        return self.model.predict(_column(model_input) if is_frame else _listed(model_input)).to_pandas()


def _column(frame: Any) -> list[Any]:
    """Return the values of the one column of a frame."""
    if len(frame.columns) != 1:
        names = ", ".join(map(str, frame.columns[:8]))
        raise DataError(f"The model predicts pictures: expected one column with paths or bytes, but got {names}.")
    return list(frame.iloc[:, 0])


def _listed(pictures: Any) -> Iterable[Any]:
    """Return several pictures; an array of texts as texts."""
    if isinstance(pictures, np.ndarray) and pictures.dtype.kind in "OU":
        return list(pictures.tolist())
    return pictures if not isinstance(pictures, np.ndarray) or pictures.ndim == 4 else [pictures]
