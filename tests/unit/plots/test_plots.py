import io
import re
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import polars as pl
import pytest
from PIL import Image

import assay
from assay.plots import style
from assay.plots.classification import class_balance, confusion_matrix, reliability
from assay.plots.common import subset_colour
from assay.plots.metrics import metric_bars, predicted_vs_target, residuals
from assay.plots.sheets import MAX_PNG_BYTES
from assay.plots.training import learning_curves

LONG = "a class with a name that is far too long for any axis"


def random_matrix(classes):
    return np.random.default_rng(0).integers(0, 50, (classes, classes))


def random_numbers(count):
    return np.random.default_rng(0).normal(size=(2, count))


def history(metrics=("loss", "accuracy"), epochs=12):
    rows = [
        (epoch, subset, metric, float(np.exp(-epoch)))
        for metric in metrics
        for subset in ("train", "validation")
        for epoch in range(1, epochs + 1)
    ]
    return pl.DataFrame(rows, schema=["epoch", "subset", "metric", "value"], orient="row")


def balance(classes, subsets=("train", "validation", "test")):
    rows = [(subset, str(label), 5 + label) for subset in subsets for label in range(classes)]
    return pl.DataFrame(rows, schema=["subset", "label", "count"], orient="row")


def metric_rows(value=0.9, low=0.8):
    columns = ["subset", "metric", "value", "ci_low", "ci_high", "baseline", "baseline_name", "unit"]
    rows = [
        ("test", "accuracy", value, low, 0.95, 0.1, "majority class", ""),
        ("mine", "accuracy", value, low, 0.95, 0.1, "majority class", ""),
        ("test", "log_loss", value, None, None, None, "majority class", "nats"),
    ]
    return pl.DataFrame(rows, schema=columns, orient="row")


CALIBRATION = pl.DataFrame(
    {
        "confidence_low": [0.4, 0.8],
        "confidence_high": [0.6, 1.0],
        "count": [10, 30],
        "mean_confidence": [0.5, 0.9],
        "accuracy": [0.4, 1.0],
    }
)

PLOTS = {
    "confusion of 2": lambda: confusion_matrix(random_matrix(2), ["even", "odd"]),
    "confusion of 40": lambda: confusion_matrix(random_matrix(40), [f"{LONG} {i}" for i in range(40)]),
    "confusion of 300": lambda: confusion_matrix(random_matrix(300), [str(i) for i in range(300)]),
    "confusion with odd names": lambda: confusion_matrix(random_matrix(4), ["$x^$", "a$b", "猫", ""], "costs $5 or $6"),
    "confusion of nothing": lambda: confusion_matrix(np.zeros((3, 3), dtype=np.int64), ["a", "b", "c"]),
    "curves": lambda: learning_curves(history(), best_epoch=9),
    "curves of one epoch": lambda: learning_curves(history(("loss",), 1)),
    "curves of many metrics": lambda: learning_curves(history(("b", "a", "loss", "d", "e", "f"), 200)),
    "few predictions": lambda: predicted_vs_target(np.array([1.0]), np.array([1.0])),
    "dots": lambda: predicted_vs_target(*random_numbers(3000), "$ per m²"),
    "many predictions": lambda: predicted_vs_target(*random_numbers(50_000), "mm"),
    "residuals": lambda: residuals(*random_numbers(500), "mm"),
    "residuals of one": lambda: residuals(np.array([1.0]), np.array([1.0])),
    "balance of 2": lambda: class_balance(balance(2, ("train",))),
    "balance of 200": lambda: class_balance(balance(200)),
    "reliability": lambda: reliability(CALIBRATION),
    "bars": lambda: metric_bars(metric_rows(), {"accuracy": "accuracy"}),
    "bars without values": lambda: metric_bars(metric_rows(None, None)),
    "bars of zero": lambda: metric_bars(metric_rows(0.0, 0.0)),
}


@pytest.mark.parametrize("draw", PLOTS.values(), ids=PLOTS)
@pytest.mark.system
def test_each_plot_is_a_small_readable_png(draw):
    content = draw()
    assert len(content) <= MAX_PNG_BYTES
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "PNG"
        assert 400 <= image.width <= 900
        assert image.convert("RGB").getcolors(maxcolors=5) is None  # more than that


def test_the_same_numbers_give_the_same_bytes_whatever_the_users_settings():
    matrix = random_matrix(5)
    before = confusion_matrix(matrix, list("abcde"))
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        assert confusion_matrix(matrix, list("abcde")) == before
        assert mpl.rcParams["font.size"] == 30


def test_a_plot_holds_no_date_and_no_version():
    assert Image.open(io.BytesIO(confusion_matrix(random_matrix(2), ["a", "b"]))).info == {}


def test_a_plot_with_too_many_colours_is_reduced_to_fewer():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8))
    assert len(style._small_png(noise)) <= MAX_PNG_BYTES


@pytest.mark.system
def test_drawing_never_imports_pyplot():
    code = (
        "import sys, numpy; from assay.plots.metrics import residuals;"
        "residuals(numpy.zeros(3), numpy.ones(3)); sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_subsets_have_the_same_colour_in_every_chart():
    assert subset_colour("test", ["test"]) == subset_colour("test", ["mine", "train", "test"])
    assert subset_colour("mine", ["train", "mine"]) != subset_colour("other", ["mine", "other"])


@pytest.mark.system
def test_stages_that_save_sample_images_and_the_dashboard_do_not_import_matplotlib():
    code = "import sys, assay.plots.sheets, assay.dashboard.charts; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("matplotlib", ("assay/plots/",)),
        ("streamlit", ("assay/dashboard/",)),
        ("altair", ("assay/dashboard/charts.py",)),
    ],
)
def test_drawing_libraries_are_imported_only_where_something_is_drawn(library, allowed):
    root = Path(assay.__file__).parents[1]
    importing = re.compile(rf"^\s*(import|from) {library}\b", re.MULTILINE)
    paths = (
        path.relative_to(root).as_posix()
        for path in (root / "assay").rglob("*.py")
        if importing.search(path.read_text())
    )
    assert {path for path in paths if not path.startswith(allowed)} == set()


def test_only_pages_and_the_server_import_streamlit():
    folder = Path(assay.__file__).parent / "dashboard"
    importing = [path.name for path in folder.glob("*.py") if "streamlit" in imports_at_the_top(path)]
    assert importing == ["app.py"]


def imports_at_the_top(path):
    """Names of the packages that a module imports when it is itself imported."""
    return set(re.findall(r"^(?:import|from) (\w+)", path.read_text(), re.MULTILINE))
