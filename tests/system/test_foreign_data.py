"""Data that other tools wrote: a COCO file, a YOLO folder, a folder of masks; trained, evaluated, exported.

The writers here share no code with Assay's readers and exporters.
"""

import json
from collections import Counter

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageDraw
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from assay.experiments.contents import stage_results

pytestmark = pytest.mark.system

CLASSES = {"disc": (220, 60, 40), "square": (50, 90, 220)}
SIDE = 96
COUNTS = {"train": 36, "val": 8, "test": 12}


def draw(number):
    """Return a picture with its objects: class, left, top, right, bottom; every ninth picture is empty."""
    rng = np.random.default_rng(number)
    image = Image.fromarray(rng.integers(90, 150, (SIDE, SIDE, 3), dtype=np.uint8))
    mask = Image.new("L", (SIDE, SIDE), 0)
    objects = []
    for corner in [] if number % 9 == 8 else [(4, 4), (52, 48)]:
        left, top = (int(rng.integers(0, 16)) + place for place in corner)
        right, bottom = left + int(rng.integers(18, 26)), top + int(rng.integers(18, 26))
        name = list(CLASSES)[int(rng.integers(0, 2))]
        for canvas, colour in ((image, CLASSES[name]), (mask, list(CLASSES).index(name) + 1)):
            shape = ImageDraw.Draw(canvas).ellipse if name == "disc" else ImageDraw.Draw(canvas).rectangle
            shape((left, top, right - 1, bottom - 1), fill=colour)
        objects.append((name, left, top, right, bottom))
    return image, mask, objects


def pictures():
    number = 0
    for subset, count in COUNTS.items():
        for _ in range(count):
            yield subset, number, *draw(number)
            number += 1


def write_coco(root):
    """One file per subset, sparse IDs from 0 on, a crowd, a picture that is stored lying and turned by EXIF."""
    parts = {subset: {"images": [], "annotations": [], "categories": []} for subset in COUNTS}
    ids = {"disc": 17, "square": 0}
    for subset, number, image, _, objects in pictures():
        folder = root / f"{subset}2017"
        folder.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        if number == 3:
            image = image.crop((0, 0, SIDE, SIDE - 8)).transpose(Image.Transpose.ROTATE_90)
            exif[0x0112] = 6
        image.save(folder / f"{number:04d}.jpg", quality=95, exif=exif)
        height = SIDE - 8 if number == 3 else SIDE
        entry = {"id": number, "file_name": f"{number:04d}.jpg", "width": SIDE, "height": height}
        parts[subset]["images"].append(entry)
        for name, left, top, right, bottom in objects:
            outline = [left, top, right, top, right, bottom, left, bottom]
            parts[subset]["annotations"].append(
                {
                    "id": len(parts[subset]["annotations"]),
                    "image_id": number,
                    "category_id": ids[name],
                    "bbox": [left, top, right - left, bottom - top],
                    "segmentation": [outline],
                    "area": (right - left) * (bottom - top),
                    "iscrowd": 0,
                }
            )
    runs = {"size": [SIDE, SIDE], "counts": [0, 10, SIDE * SIDE - 10]}
    crowd = {"id": 9999, "image_id": 8, "category_id": 0, "bbox": [0, 0, 1, 10], "segmentation": runs, "iscrowd": 1}
    parts["train"]["annotations"].append(crowd)
    (root / "annotations").mkdir()
    for subset, content in parts.items():
        content["categories"] = [{"id": number, "name": name} for name, number in ids.items()]
        (root / "annotations" / f"instances_{subset}2017.json").write_text(json.dumps(content))


def write_yolo(root):
    """Images beside labels, names in data.yaml; empty pictures have no label file."""
    for subset, number, image, _, objects in pictures():
        for kind in ("images", "labels"):
            (root / kind / subset).mkdir(parents=True, exist_ok=True)
        image.save(root / "images" / subset / f"{number:04d}.png")
        lines = [
            f"{list(CLASSES).index(name)} {(left + right) / 2 / SIDE:.6f} {(top + bottom) / 2 / SIDE:.6f} "
            f"{(right - left) / SIDE:.6f} {(bottom - top) / SIDE:.6f}"
            for name, left, top, right, bottom in objects
        ]
        if lines:
            (root / "labels" / subset / f"{number:04d}.txt").write_text("\n".join(lines))
    text = "path: .\ntrain: images/train\nval: images/val\ntest: images/test\nnc: 2\nnames:\n  0: disc\n  1: square\n"
    (root / "data.yaml").write_text(text)


def write_masks(root):
    """Palette masks as Pascal VOC has them, with unknown pixels of value 255."""
    for subset, number, image, mask, _ in pictures():
        for kind in ("images", "masks"):
            (root / kind / subset).mkdir(parents=True, exist_ok=True)
        image.save(root / "images" / subset / f"{number:04d}.jpg", quality=95)
        mask.paste(255, (0, 0, 3, 3))
        mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [200] * 759)
        mask.save(root / "masks" / subset / f"{number:04d}.png")


WRITERS = {"coco": write_coco, "yolo": write_yolo, "masks": write_masks}


def run(project, task, kind, **keys):
    root = project.folder / "foreign"
    root.mkdir()
    WRITERS[kind](root)
    spec = {
        "task": task,
        "generated_images": {"source": {"kind": kind, "path": str(root), **keys}},
        "trained_model": {"train_params": {"epochs": 12}, "data_description": {"window_size": 64}},
        "analysis": {"result_analyzer": {"bootstrap_samples": 20}},
    }
    project.write("foreign", json.dumps(spec))
    code, output = project.assay("run", "foreign")
    assert code == 0, output
    results = stage_results(project.storage, "foreign")
    metrics = pl.read_parquet(results["analysis"].folder / "analysis.parquet")
    whole = metrics.filter((pl.col("subset") == "test") & (pl.col("class") == ""))
    return results, dict(whole.select("metric", "value").iter_rows())


@pytest.mark.parametrize("kind", ["coco", "yolo"])
def test_a_foreign_detector_data_set_trains_evaluates_and_comes_back(project, kind):
    results, metrics = run(project, "detection", kind)
    assert metrics["map50"] > 0.5
    splits = pl.read_parquet(results["splits"].folder / "items.parquet")
    counts = dict(splits["subset"].value_counts().iter_rows())
    assert counts == {"train": COUNTS["train"], "validation": COUNTS["val"], "test": COUNTS["test"]}
    target = project.folder / "exported"
    code, output = project.assay("export", "foreign", "--format", "coco", "--to", str(target))
    assert code == 0, output
    assert measured_by_pycocotools(target, "test") == pytest.approx(metrics["map50"], abs=0.01)
    code, output = project.assay("export", "foreign", "--format", "yolo", "--to", str(project.folder / "texts"))
    assert code == 0, output
    assert len(list((project.folder / "texts" / "labels").rglob("*.txt"))) >= COUNTS["test"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def measured_by_pycocotools(folder, subset):
    truth = COCO(str(folder / "instances.json"))
    evaluation = COCOeval(truth, truth.loadRes(str(folder / "predictions.json")), "bbox")
    names = {image["id"]: image["file_name"] for image in truth.dataset["images"]}
    evaluation.params.imgIds = [number for number, name in names.items() if name.startswith(f"{subset}/")]
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats[1]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pycocotools
@pytest.mark.parametrize("kind", ["coco", "masks"])
def test_foreign_outlines_and_masks_train_and_evaluate(project, kind):
    results, metrics = run(project, "segmentation", kind)
    assert metrics["foreground_iou"] > 0.5
    classes = pl.read_parquet(results["splits"].folder / "mask_classes.parquet")
    assert set(classes["role"]) == {"class", "background", "ignore"}
    target = project.folder / "exported"
    code, output = project.assay("export", "foreign", "--format", "coco", "--to", str(target))
    assert code == 0, output
    pixels = pixels_by_pycocotools(target)
    assert pixels.total() == shown_pixels(results["predictions"].folder / "masks")
    table = pl.read_parquet(results["predictions"].folder / "predictions.parquet")
    judged = table.filter(pl.col("predicted_class") != "background").group_by("predicted_class").agg(pl.sum("pixels"))
    for label, count in judged.iter_rows():  # the table leaves out pixels whose truth is not known
        assert 0.8 * pixels[label] < count <= pixels[label]


def pixels_by_pycocotools(folder):
    truth = COCO(str(folder / "instances.json"))
    found = truth.loadRes(str(folder / "predictions.json"))
    names = {number: category["name"] for number, category in truth.cats.items()}
    pixels = Counter()
    for one in found.dataset["annotations"]:
        pixels[names[one["category_id"]]] += int(truth.annToMask(one).sum())
    return pixels


def shown_pixels(folder):
    """Return how many pixels of all masks are not background."""
    count = 0
    for path in folder.rglob("*.png"):
        with Image.open(path) as mask:
            count += int((np.asarray(mask) > 0).sum())
    return count
