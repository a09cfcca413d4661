"""Segmentation of users' own whole images, through the whole job."""

import numpy as np
import polars as pl
import pytest
from PIL import Image

from assay.storage.parquet import read_parquet

pytestmark = pytest.mark.system


def write_masked_images(folder, count=24):
    """Write images with one bright square or stripe each, and masks that say where."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        pixels, mask = rng.integers(0, 90, (64, 80, 3)).astype(np.uint8), np.zeros((64, 80), np.uint8)
        y, x = rng.integers(4, 30, 2)
        height, width = ((24, 24), (8, 40))[number % 2]
        pixels[y : y + height, x : x + width] += 140
        mask[y : y + height, x : x + width] = 1 + number % 2
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number}.png")
    return folder


def test_images_with_nothing_but_masks_go_through_the_whole_job(lab):
    path = write_masked_images(lab.folder / "own")
    source = {"kind": "masks", "path": str(path), "classes": {"square": 1, "stripe": 2}}
    lab.write("own", task="segmentation", generated_images={"source": source})
    result = lab.run("own")
    assert result.success, lab.failure(result)
    assert not {"crops", "tabular", "normalized"} & lab.results("own").keys()
    answers = lab.results("own")["predictions"].folder
    items = read_parquet(answers / "predicted_items.parquet")
    pixels = read_parquet(answers / "predictions.parquet").group_by("item").agg(pl.sum("pixels"))
    assert dict(pixels.iter_rows()) == dict.fromkeys(items["item"], 64 * 80)
    for item in items["item"]:
        with Image.open(answers / "masks" / f"{item}.png") as mask:
            assert (mask.mode, mask.size) == ("P", (80, 64))


@pytest.mark.defect("C7")
def test_nothing_is_compiled_while_an_experiment_runs(lab, monkeypatch, tmp_path):
    (tmp_path / "nothing").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    for name in ("CC", "CXX"):
        monkeypatch.setenv(name, "/nonexistent/compiler")
    path = write_masked_images(lab.folder / "own")
    lab.write("own", task="segmentation", generated_images={"source": {"kind": "masks", "path": str(path)}})
    result = lab.run("own")
    assert result.success, lab.failure(result)
