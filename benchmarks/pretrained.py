"""Few pictures of people's own: a frozen network that others have trained, beside the same by hand and from nothing.

``python -m benchmarks.pretrained`` cuts windows out of scikit-image's photos, one class per photo, those of train from
its left, those of test from its right. EfficientNet-Lite0 gives the features, with weights learned from ImageNet that a
package has. With ``--folder FOLDER`` it measures any class folders ``train/``, ``validation/`` and ``test/`` instead.
Last it measures how long each further head takes on the same features.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from assay.storage.results import Result
from benchmarks.rows import Row, at_least, at_most
from tests.helpers.backbones import save_efficientnet_lite0
from tests.helpers.trained import TrainedProject

PHOTOS = (
    *("astronaut", "brick", "camera", "cell", "chelsea", "clock_motion", "coffee", "coins", "grass", "gravel"),
    *("ihc", "moon", "motorcycle_left", "page", "text", "color", "hubble_deep_field"),
)
"""Names of scikit-image's photos that are part of the package."""

SIDE, TESTED = 64, 20
"""Side in pixels of the windows, and how many per class are tested."""

HEADS, SIDE_FOR_HEADS = 20, 64
"""Number of further heads, whose time does not depend on how long the features took: from small pictures."""

MODELS: dict[str, dict[str, Any]] = {
    "from nothing": {},
    "pretrained, frozen": {"model": {"kind": "pretrained", "weights": "network"}},
}


def photo(name: str) -> NDArray[np.uint8]:
    """Return a photo in grey, (H, W): that colours differ tells nothing about texture."""
    import skimage.data

    place = Path(skimage.data.__file__).parent
    path = next(each for each in sorted(place.iterdir()) if each.stem == name)
    with Image.open(path) as image:
        return np.asarray(image.convert("L"))


def write_windows(folder: Path, counts: dict[str, int], seed: int, side: int = SIDE) -> None:
    """Write windows of every photo into class folders: those of test come from its right 40%, the others from the left.

    Args:
        folder: Created.
        counts: Windows per class, by subset.
        seed: Of the places of the windows.
        side: Of the windows, in pixels.
    """
    rng = np.random.default_rng(seed)
    for name in PHOTOS:
        pixels = photo(name)
        height, width = pixels.shape
        border = round(0.6 * width)
        for subset, count in counts.items():
            place = folder / subset / name
            place.mkdir(parents=True)
            first, last = (border, width) if subset == "test" else (0, border)
            for number in range(count):
                x, y = rng.integers(first, last - side + 1), rng.integers(0, height - side + 1)
                Image.fromarray(pixels[y : y + side, x : x + side]).save(place / f"{number}.png")


def spec_of(trained: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return an experiment on the pictures, with one thread: more only wait for each other on a busy machine."""
    return {
        "task": "classification",
        "seed": seed,
        "generated_images": {"source": {"kind": "image_folder", "path": "pictures"}},
        "trained_model": {**trained, "train_params": {"threads": 1}},
    }


def accuracy(made: dict[str, Result]) -> float:
    """Return the accuracy on test."""
    found = pl.read_parquet(made["predictions"].folder / "predictions.parquet").filter(pl.col("subset") == "test")
    return float((found["predicted_class"] == found["target_class"]).mean() or 0.0)


def by_hand(made: dict[str, Result]) -> float:
    """Return the accuracy on test of scikit-learn's logistic regression on the same features of train."""
    rows = pl.read_parquet(made["crops"].folder / "crops.parquet")
    fingerprint = made["trained_model"].report["features"]
    table = made["crops"].folder.parents[1] / "features" / fingerprint / "features.parquet"
    features = pl.read_parquet(table).drop("item").to_numpy()
    parts = {name: (rows["subset"] == name).to_numpy() for name in ("train", "test")}
    labels = rows["label"].to_numpy()
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(features[parts["train"]], labels[parts["train"]])
    return float(model.score(features[parts["test"]], labels[parts["test"]]))


def measure(project: TrainedProject, seed: int) -> dict[str, tuple[float, float]]:
    """Return accuracy and seconds of every contender on a project's pictures."""
    found = {}
    for name, trained in MODELS.items():
        experiment_id = f"{name.split(',')[0].replace(' ', '-')}-{seed}"
        project.write(experiment_id, spec_of(trained, seed))
        started = time.perf_counter()
        made = project.run(experiment_id, until="predictions")
        found[name] = accuracy(made), time.perf_counter() - started
    found["by hand"] = by_hand(made), 0.0
    return found


def measure_quality(name: str, folders: Sequence[Path]) -> list[Row]:
    """Return a row per contender, the median over folders with pictures; ours shall be level with by hand."""
    measured = []
    for seed, folder in enumerate(folders):
        project = TrainedProject(folder)
        with pytest.MonkeyPatch.context() as patch:
            project.enter(patch)
            measured.append(measure(project, seed))
    medians = {each: statistics.median(one[each][0] for one in measured) for each in measured[0]}
    targets = {"pretrained, frozen": at_least(max(medians["by hand"] - 0.01, medians["from nothing"]))}
    return [
        Row(
            f"{name}: {contender}",
            value,
            "accuracy",
            targets.get(contender),
            note=f"{statistics.median(one[contender][1] for one in measured):.1f} s" if contender in MODELS else "",
        )
        for contender, value in medians.items()
    ]


def measure_heads(folder: Path, heads: int) -> Row:
    """Return the seconds of each further head on features that exist, from its file to its predictions."""
    project = TrainedProject(folder)
    weights = MODELS["pretrained, frozen"]["model"]
    times = []
    with pytest.MonkeyPatch.context() as patch:
        project.enter(patch)
        for number, penalty in enumerate(np.geomspace(1, 1e4, heads + 1).tolist()):
            model = {**weights, "head": {"kind": "linear", "penalty": round(penalty, 3)}}
            small = {"data_description": {"image_size": SIDE_FOR_HEADS}}
            project.write(f"head-{number}", spec_of({"model": model, **small}, 0))
            started = time.perf_counter()
            made = project.run(f"head-{number}", until="predictions")
            times.append(time.perf_counter() - started)
    count = len(pl.read_parquet(made["crops"].folder / "crops.parquet", columns=["item"]))
    note = f"{count:,} pictures; the first one took {times[0]:.1f} s"
    return Row(f"each of {heads} further heads", statistics.mean(times[1:]), "s", at_most(1.5, "machine"), note=note)


def run(quick: bool = False, seeds: int = 1) -> list[Row]:
    """Measure windows of photos; ``quick``: few of them, to see that it runs."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        network = save_efficientnet_lite0(root / "network")
        for count in (5,) if quick else (10, 50):
            folders = [root / f"{count}-{seed}" for seed in range(seeds)]
            for seed, folder in enumerate(folders):
                counts = {"train": round(0.8 * count), "validation": round(0.2 * count), "test": 2 if quick else TESTED}
                write_windows(folder / "pictures", counts, seed)
                (folder / "network").symlink_to(network)
            rows += measure_quality(f"{count} pictures per class", folders)
        heads = root / "heads"
        write_windows(heads / "pictures", {"train": 4, "test": 2} if quick else {"train": 82, "test": 36}, 0)
        (heads / "network").symlink_to(network)
        rows.append(measure_heads(heads, 2 if quick else HEADS))
    return rows


def main() -> None:
    """Measure what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    if asked.folder:
        with tempfile.TemporaryDirectory() as place:
            save_efficientnet_lite0(Path(place) / "network")
            (Path(place) / "pictures").symlink_to(asked.folder.absolute())
            found = measure_quality(asked.folder.name, [Path(place)])
    else:
        found = run(asked.quick, asked.seeds)
    for row in found:
        print(f"{row.benchmark:60} {row.value:8.3f} {row.unit:12} {row.target_text():12} {row.note}")


if __name__ == "__main__":
    main()
