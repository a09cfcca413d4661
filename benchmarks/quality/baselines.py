"""scikit-learn on the same items: what something simple reaches.

Each returns its value of the case's first goal.
"""

from collections.abc import Callable

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import accuracy_score, f1_score, jaccard_score, mean_absolute_error
from sklearn.multioutput import MultiOutputClassifier
from sklearn.svm import SVC

from assay.storage.parquet import read_parquet
from benchmarks.quality.data import Data

Baseline = Callable[[Data], float]


def gradient_boosting(data: Data) -> float:
    """Return the MAE of gradient boosting from the same standardized rows."""
    known, train = data.rows("train", "validation")
    asked, test = data.rows("test")
    model = HistGradientBoostingRegressor(random_state=0).fit(known, train["target"])
    return float(mean_absolute_error(test["target"], model.predict(asked)))


def support_vectors(data: Data) -> float:
    """Return the accuracy of a support vector machine from rows of grey pixels."""
    mapping = data.spec.trained_model.data_description.class_mapping
    known, train = data.rows("train", "validation")
    asked, test = data.rows("test")
    classes, wanted = ([mapping.get(label, label) for label in rows["label"]] for rows in (train, test))
    return float(accuracy_score(wanted, SVC(C=10).fit(known, classes).predict(asked)))


def several_support_vectors(data: Data) -> float:
    """Return the macro F1 of one support vector machine per class, from rows of grey pixels."""
    classes = data.spec.trained_model.data_description.classes or ()
    known, train = data.rows("train", "validation")
    asked, test = data.rows("test")
    has, wanted = (
        np.array([[label in (each.name, *each.subclasses) for each in classes] for label in rows["label"]], int)
        for rows in (train, test)
    )
    model = MultiOutputClassifier(SVC(C=10)).fit(known, has)
    return float(f1_score(wanted, model.predict(asked), average="macro"))


def classified_pixels(data: Data) -> float:
    """Return the IoU of digits against background of gradient boosting on single pixels and their surroundings."""
    images = {name: _pixels(data, name, count) for name, count in (("train", 60), ("test", 40))}
    values, truth = images["train"]
    model = HistGradientBoostingClassifier(random_state=0, max_iter=100).fit(values[::5], truth[::5])
    asked, wanted = images["test"]
    return float(jaccard_score(wanted, model.predict(asked)))


def _pixels(data: Data, subset: str, count: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return, for the pixels of some images, colour, its means around, and whether it belongs to a digit."""
    folder = data.folders["splits"]
    rows = read_parquet(folder / "items.parquet").filter(pl.col("subset") == subset).head(count)
    values, truth = [], []
    for file, mask in rows.select("file", "mask").iter_rows():
        image = Image.open(folder / file)
        around = [image.reduce(factor).resize(image.size) for factor in (4, 16)]
        values.append(np.concatenate([np.asarray(part, np.float32) for part in (image, *around)], 2).reshape(-1, 9))
        truth.append((np.asarray(Image.open(folder / mask)) != 255).ravel())
    return np.concatenate(values), np.concatenate(truth)
