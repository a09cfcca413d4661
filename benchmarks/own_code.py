"""Code of our own beside the library that could stand in its place: the same work and data, in one run, on one core.

``python -m benchmarks.run own_code``. A value says how many times as long the library takes: below 1 it is faster, and
the note says why the code is ours all the same. What a library does as well is not here, because it is not ours.
"""

import copy
import io
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import sklearn.metrics as sk
import torch
from faster_coco_eval.core import mask as coco
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from rich.text import Text
from skimage import data, exposure, transform
from skimage.draw import polygon
from skimage.util import montage
from threadpoolctl import threadpool_limits
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from assay.datasets.geometry import Polygons, parse_rle
from assay.datasets.synthetic.backgrounds import Frame, random_frame, warp
from assay.datasets.synthetic.picture import NumberPainter
from assay.images.png import encode_png
from assay.images.resizing import area_resize, at_most
from assay.metrics import classification, multi_label, regression
from assay.metrics.intervals import BLOCK_ELEMENTS
from assay.metrics.samples import ClassificationSample, MultiLabelSample, RegressionSample, Sample
from assay.plots.sheets import sample_grid
from assay.spec.generated_images import PhotoAugmentation
from assay.training.models.unet import Unet
from assay.training.optimizers import AdamW, AveragedNetwork, Muon, Optimizer, Sgd
from assay.training.tasks.detection.boxes import non_maximum_suppression
from assay.utils.text import text_table
from benchmarks.generation import SEED, spec_of
from benchmarks.rows import Row

SPENT_S = 0.5
"""On each comparison, at least; the shortest time of each side counts."""

LIBRARY_RESAMPLES = 3
"""Weightings that scikit-learn is asked for: each takes equally long, so a few stand for all."""

RATE, DECAY, MOMENTUM, MEMORY = 0.01, 0.1, 0.9, 0.99

Work = Callable[..., Any]


def run(quick: bool = False) -> list[Row]:
    """Measure; ``quick`` takes small sizes and repeats nothing, to see that it runs."""
    spent_s = 0.0 if quick else SPENT_S
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):  # so that nobody else's work makes one side wait for its own threads
        rows = [
            *_png(spent_s, 256 if quick else 1024),
            *_generated(spent_s),
            *_resized(spent_s),
            *_outlines(spent_s),
            *_optimizers(spent_s),
            *([] if quick else [_making_an_optimizer()]),
            _average(spent_s),
            *_suppression(spent_s),
            *_metrics(spent_s, 500 if quick else 10_000, 20 if quick else 1000),
            *_texts(spent_s),
        ]
    torch.set_num_threads(threads)
    return rows


def beside(name: str, own: Work, library: Work, why: str, spent_s: float) -> Row:
    """Return the row of a comparison: both in turns, the shortest time of each."""
    own_s, library_s = min_seconds((own, library), spent_s)
    return ratio(name, own_s, library_s, why)


def ratio(name: str, own_s: float, library_s: float, why: str) -> Row:
    note = f"{own_s * 1e3:.3g} ms, library {library_s * 1e3:.3g} ms; {why}"
    return Row(name, library_s / own_s, "times as long", note=note)


def min_seconds(works: Sequence[Work], spent_s: float) -> list[float]:
    """Return the shortest time of each, in turns: twice at least, as the first may load something."""
    times: list[list[float]] = []
    while len(times) < 2 or sum(map(sum, times)) < spent_s:
        times.append([])
        for work in works:
            start = time.perf_counter()
            work()
            times[-1].append(time.perf_counter() - start)
    return np.min(times, axis=0).tolist()


def _png(spent_s: float, side: int) -> Iterator[Row]:
    painted = NumberPainter(spec_of(1), SEED).paint(0)
    for what, image in (("photo", painted.image.crop((0, 0, side, side))), ("mask", painted.mask)):
        own, library = encode_png(image), pillow_png(image)
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(own))), np.asarray(image))
        why = f"same pixels, {len(own) / len(library):.2f} times the bytes; images are most of the time of generation"
        name = f"PNG of a {what}, {image.width}², beside Pillow at level 1"
        yield beside(name, partial(encode_png, image), partial(pillow_png, image), why, spent_s)


def pillow_png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, "PNG", compress_level=1)
    return content.getvalue()


def _generated(spent_s: float) -> Iterator[Row]:
    """The geometry and colours of generated images, which must keep their bytes."""
    photo = Image.fromarray(data.astronaut())
    pixels = np.asarray(photo)
    straight, bent = _frames(photo.size)
    for what, frame in (("affine", straight), ("elastic", bent)):
        apart = np.abs(np.asarray(warp(photo, frame, photo.size)) - skimage_warp(pixels, frame, photo.size)).mean()
        yield beside(
            f"warp of a photo 512², {what}, beside skimage.transform.warp",
            partial(warp, photo, frame, photo.size),
            partial(skimage_warp, pixels, frame, photo.size),
            f"not the same bytes: {apart:.1f} levels apart on average",
            spent_s,
        )
    matrix = (0.8, 0, 0, 35.6, 0, 0.8, 0, 35.6, 0, 0, 0.8, 35.6)

    def rescaled() -> NDArray[np.uint8]:
        wide = exposure.rescale_intensity(pixels.astype(np.float32), in_range=(0, 255), out_range=(35.6, 239.6))
        return np.clip(np.rint(wide), 0, 255).astype(np.uint8)

    equal = np.array_equal(np.asarray(photo.convert("RGB", matrix)), rescaled())
    why = (
        f"{'the same' if equal else 'not the same'} bytes; in ours, the same pass over the pixels turns the hue as well"
    )
    yield beside(
        "brightness and contrast of a photo 512², beside skimage.exposure",
        lambda: photo.convert("RGB", matrix),
        rescaled,
        why,
        spent_s,
    )


def _frames(size: tuple[int, int]) -> tuple[Frame, Frame]:
    """Return a frame without and one with elastic changes."""
    found: dict[bool, Frame] = {}
    seed = 0
    while len(found) < 2:
        frame = random_frame(size, size, np.random.default_rng(seed), PhotoAugmentation())
        found.setdefault(len(frame.bend) > 2, frame)
        seed += 1
    return found[False], found[True]


def skimage_warp(pixels: NDArray[np.uint8], frame: Frame, size: tuple[int, int]) -> NDArray[np.float64]:
    sides = np.array(size)
    steps = np.linspace(-1.0, 1.0, len(frame.bend))
    grid = np.stack(np.meshgrid(steps, steps), axis=-1)
    places = ((grid + 1) / 2 * sides - 0.5).reshape(-1, 2)
    sources = ((grid + frame.bend) @ frame.axes.T + frame.centre - 0.5).reshape(-1, 2)
    kind = transform.PiecewiseAffineTransform if len(frame.bend) > 2 else transform.AffineTransform
    warped: NDArray[np.float64] = transform.warp(
        pixels,
        kind.from_estimate(places, sources),
        output_shape=size[::-1],
        order=1,
        mode="edge",
        preserve_range=True,
    )
    return warped


def _resized(spent_s: float) -> Iterator[Row]:
    crop = np.random.default_rng(0).uniform(0, 255, (64, 64)).astype(np.float32)
    apart = np.abs(area_resize(crop, (28, 28)) - transform.resize_local_mean(crop, (28, 28))).max()
    yield beside(
        "area resize of a crop 64² to 28², beside skimage.transform.resize_local_mean",
        lambda: area_resize(crop, (28, 28)),
        lambda: transform.resize_local_mean(crop, (28, 28)),
        f"the same definition, {apart:.0e} of 255 apart, and importing it takes half a second",
        spent_s,
    )
    photo = Image.fromarray(data.astronaut())
    exact = partial(transform.resize_local_mean, np.asarray(photo), (300, 300), channel_axis=-1, preserve_range=True)
    apart = np.abs(np.asarray(at_most(photo, 300)) - exact()).max()
    yield beside(
        "reduction of a photo 512² to 300², beside skimage.transform.resize_local_mean",
        partial(at_most, photo, 300),
        exact,
        f"at most {apart:.1f} levels of 255 apart, which is rounding",
        spent_s,
    )


def _outlines(spent_s: float) -> Iterator[Row]:
    rng = np.random.default_rng(3)
    for corners, radius in ((12, 8), (30, 40), (200, 150)):
        points = _outline(rng, corners, radius)
        ours = Polygons((points,)).mask(640, 480)
        assert np.array_equal(ours, skimage_fill(points)), "the pixels are not those of skimage.draw.polygon"
        own = partial(Polygons((points,)).mask, 640, 480)
        of = f"polygon of {corners} corners, {2 * radius} px wide, in 640x480"
        why = "same pixels but for centres on a side; theirs asks every pixel of the box about every corner"
        yield beside(f"{of}, beside skimage.draw.polygon", own, partial(skimage_fill, points), why, spent_s)
        differing = (ours != coco_fill(points)).sum() / ours.sum()
        why = f"{differing:.1%} of the pixels differ; 4 GB are not enough for a corner at 10⁷, which a file may have"
        yield beside(f"{of}, beside faster_coco_eval", own, partial(coco_fill, points), why, spent_s)
    ends = np.sort(rng.choice(480 * 640, 1500, replace=False))
    counts = np.diff(ends, prepend=0, append=480 * 640).tolist()

    def decoded() -> NDArray[np.bool_]:
        entry = {"size": [480, 640], "counts": counts}
        return coco.decode(coco.frPyObjects(entry, 480, 640)).view(np.bool_)

    assert np.array_equal(parse_rle(counts, 640, 480).mask(640, 480), decoded())
    yield beside(
        f"mask 640x480 from {len(counts)} run lengths, beside faster_coco_eval",
        lambda: parse_rle(counts, 640, 480).mask(640, 480),
        decoded,
        "same pixels, and an error that names what is wrong with the entry",
        spent_s,
    )


def _outline(rng: np.random.Generator, corners: int, radius: int) -> NDArray[np.float64]:
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    reach = radius * (0.75 + 0.2 * np.sin(3 * angles) + rng.uniform(-0.05, 0.05, corners))
    return np.stack([320 + reach * np.cos(angles), 240 + reach * np.sin(angles)], axis=1)


def skimage_fill(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    mask = np.zeros((480, 640), np.bool_)
    mask[polygon(points[:, 1] - 0.5, points[:, 0] - 0.5, mask.shape)] = True
    return mask


def coco_fill(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    filled: NDArray[np.bool_] = coco.decode(coco.frPyObjects([points.ravel().tolist()], 480, 640))[:, :, 0] > 0
    return filled


@dataclass
class TorchMuon:
    """torch's Muon, for matrices alone, with kernels as views of two dimensions, and its AdamW for the rest."""

    parameters: list[nn.Parameter]

    def __post_init__(self) -> None:
        views = []
        for parameter in self.parameters:
            if parameter.ndim > 1:
                views.append(nn.Parameter(parameter.data.flatten(1)))
                views[-1].grad = parameter.grad.flatten(1)
        others = [parameter for parameter in self.parameters if parameter.ndim < 2]
        self.muon = torch.optim.Muon(views, RATE, DECAY, MOMENTUM, adjust_lr_fn="match_rms_adamw")
        self.adamw = torch.optim.AdamW(others, RATE, (MOMENTUM, 0.999), weight_decay=DECAY, fused=True)

    def step(self) -> None:
        self.adamw.step()
        self.muon.step()


def _optimizers(spent_s: float) -> Iterator[Row]:
    for case in (
        (
            "AdamW",
            lambda parameters: AdamW(parameters, MOMENTUM, DECAY),
            lambda parameters: torch.optim.AdamW(parameters, RATE, (MOMENTUM, 0.999), weight_decay=DECAY, fused=True),
            "ours is torch's function without torch's class, which imports the compiler",
        ),
        (
            "SGD",
            lambda parameters: Sgd(parameters, MOMENTUM, 0.0),
            lambda parameters: torch.optim.SGD(parameters, RATE, MOMENTUM, nesterov=True, foreach=False),
            "likewise; decay is apart from the gradient, which torch's SGD can't",
        ),
        (
            "Muon",
            lambda parameters: Muon(parameters, MOMENTUM, DECAY),
            TorchMuon,
            "theirs takes matrices only, made into views here, and computes in bfloat16 only",
        ),
    ):
        yield _optimizer_step(*case, spent_s)


def _optimizer_step(
    name: str, own: Callable[[Any], Optimizer], library: Callable[[Any], Any], why: str, spent_s: float
) -> Row:
    torch.manual_seed(0)
    network = Unet(3, 10, 16)
    networks = network, copy.deepcopy(network)
    for first, second in zip(*(each.parameters() for each in networks), strict=True):
        first.grad, second.grad = (torch.randn_like(first) / 100).expand(2, *first.shape).clone()
    ours, theirs = own(list(networks[0].parameters())), library(list(networks[1].parameters()))
    for _ in range(3):
        ours.step(RATE)
        theirs.step()
    return beside(
        f"step of {name}, {sum(each.numel() for each in network.parameters()):,} weights, beside torch.optim",
        lambda: ours.step(RATE),
        theirs.step,
        f"{_apart(*networks)} after 3 steps; {why}",
        spent_s,
    )


def _apart(first: nn.Module, second: nn.Module) -> str:
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    most = max((one - other).abs().max().item() for one, other in pairs)
    return f"weights {most:.0e} apart" if most else "same bits"


def _making_an_optimizer() -> Row:
    """Time what the first optimizer of a process costs after torch is there."""
    before = "import time, torch; from torch import nn; weights = [nn.Parameter(torch.zeros(2, 2))]"
    made = {
        "own": "from assay.training.optimizers import AdamW; AdamW(weights, 0.9, 0.1)",
        "library": "torch.optim.AdamW(weights, fused=True)",
    }
    taken = {}
    for name, code in made.items():
        script = f"{before}; start = time.perf_counter(); {code}; print(time.perf_counter() - start)"
        command = [sys.executable, "-c", script]
        taken[name] = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    why = "once per process, imports included; theirs imports the compiler, ours the keys of the spec"
    return ratio("first AdamW of a process, beside torch.optim", taken["own"], taken["library"], why)


def _average(spent_s: float) -> Row:
    network = Unet(3, 10, 16)

    def lerp(averages: list[Tensor], weights: list[Tensor], steps: Tensor | int) -> None:
        torch._foreach_lerp_(averages, weights, 1 - min(MEMORY, (1 + int(steps)) / (10 + int(steps))))

    own, library = AveragedNetwork(network, MEMORY), AveragedModel(network, multi_avg_fn=lerp)
    library.n_averaged += 1  # or its first step would copy the network
    for _ in range(3):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter) / 100)
        own.follow(network)
        library.update_parameters(network)
    return beside(
        "step of the weights' average, beside torch.optim.swa_utils",
        lambda: own.follow(network),
        lambda: library.update_parameters(network),
        f"{_apart(own.network, library.module)}; theirs copies the first weights, unless told that it has begun",
        spent_s,
    )


def _suppression(spent_s: float) -> Iterator[Row]:
    rng = np.random.default_rng(0)
    for images, count, objects in ((8, 60, 10), (8, 300, 30), (16, 300, 100)):
        given = _candidates(rng, images, count, objects)
        tensors = [torch.from_numpy(each) for each in given]
        assert np.array_equal(non_maximum_suppression(*tensors, 0.5).numpy(), greedy(*given, 0.5))
        yield beside(
            f"non-maximum suppression, {images} x {count} boxes of {objects} objects, beside a loop in NumPy",
            partial(non_maximum_suppression, *tensors, 0.5),
            partial(greedy, *given, 0.5),
            "same boxes; ours takes a batch at once, also on a GPU; on a CPU it loses with many boxes of few objects",
            spent_s,
        )


def _candidates(rng: np.random.Generator, images: int, count: int, objects: int) -> tuple[NDArray[Any], ...]:
    """Return boxes (B, N, 4), scores and classes around objects of five classes."""
    owner = rng.integers(0, objects, (images, count))
    centres, sides = rng.uniform(0, 512, (images, objects, 2)), rng.uniform(20, 60, (images, objects, 1))
    middle = np.take_along_axis(centres, owner[..., None], 1) + rng.normal(0, 4, (images, count, 2))
    half = np.take_along_axis(sides, owner[..., None], 1) * rng.uniform(0.4, 0.6, (images, count, 2))
    boxes = np.concatenate([middle - half, middle + half], -1).astype(np.float32)
    return boxes, rng.random((images, count)).astype(np.float32), (owner % 5).astype(np.int64)


def greedy(boxes: NDArray[Any], scores: NDArray[Any], classes: NDArray[Any], most_overlap: float) -> NDArray[np.bool_]:
    """Go through the boxes of each image from the best to the worst."""
    stays = np.zeros(scores.shape, np.bool_)
    for image, (edges, own) in enumerate(zip(boxes, classes, strict=True)):
        low, high = edges[:, :2], edges[:, 2:]
        areas = (high - low).prod(axis=1)
        order = np.argsort(-scores[image], kind="stable")
        while len(order):
            first, rest = order[0], order[1:]
            stays[image, first] = True
            common = np.minimum(high[first], high[rest]) - np.maximum(low[first], low[rest])
            common = common.clip(0).prod(axis=1)
            overlap = common / (areas[first] + areas[rest] - common)
            order = rest[(overlap <= most_overlap) | (own[rest] != own[first])]
    return stays


def _metrics(spent_s: float, count: int, resamples: int) -> Iterator[Row]:
    rng = np.random.default_rng(0)
    one = np.ones((1, count))
    target = rng.integers(0, 10, count)
    scores = rng.normal(size=(count, 10))
    scores[np.arange(count), target] += 3
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    of_classes = ClassificationSample(target, probabilities.argmax(axis=1), probabilities, one)
    has = rng.random((count, 10)) < 0.3
    surely = np.clip(0.4 * has + 0.6 * rng.random((count, 10)), 0, 1)
    of_labels = MultiLabelSample(has, surely > 0.5, surely, one)
    truth = rng.normal(size=count)
    of_numbers = RegressionSample(truth, truth + 0.3 * rng.normal(size=count), one)
    two = ClassificationSample(
        has[:, 0].astype(np.int64), (surely[:, 0] > 0.5).astype(np.int64), np.c_[1 - surely[:, 0], surely[:, 0]], one
    )
    predicted = of_classes.predicted
    cases: tuple[tuple[str, Callable[[Any], Any], Any, Callable[..., Any]], ...] = (
        ("accuracy", classification.accuracy, of_classes, partial(sk.accuracy_score, target, predicted)),
        ("macro F1", classification.macro_f1, of_classes, partial(sk.f1_score, target, predicted, average="macro")),
        ("log loss", classification.log_loss, of_classes, partial(sk.log_loss, target, probabilities)),
        ("ROC AUC", classification.roc_auc, two, partial(sk.roc_auc_score, two.target, surely[:, 0])),
        (
            "RMSE",
            regression.root_mean_squared_error,
            of_numbers,
            partial(sk.root_mean_squared_error, truth, of_numbers.prediction),
        ),
        (
            "macro F1 of several labels",
            multi_label.macro_f1,
            of_labels,
            partial(sk.f1_score, has, of_labels.predicted, average="macro"),
        ),
    )
    for case in cases:
        yield _metric(*case, resamples, spent_s)


def _metric(name: str, metric: Work, sample: Sample, library: Work, resamples: int, spent_s: float) -> Row:
    """Compare one metric of resamples already drawn: ours in blocks as the bootstrap takes them, theirs one by one."""
    count = sample.weights.shape[1]
    rng = np.random.default_rng(1)
    rows = min(resamples, BLOCK_ELEMENTS // count)
    block = np.array([np.bincount(rng.integers(0, count, count), minlength=count) for _ in range(rows)], np.float64)
    few = block[:LIBRARY_RESAMPLES]
    expected = [library(sample_weight=each) for each in few]
    np.testing.assert_allclose(metric(replace(sample, weights=few)), expected, rtol=1e-9)
    works = (lambda: metric(replace(sample, weights=block))), (lambda: [library(sample_weight=each) for each in few])
    own_s, library_s = min_seconds(works, spent_s)
    return ratio(
        f"{name} of {count:,} items under {resamples:,} weightings, beside scikit-learn",
        own_s / rows * resamples,
        library_s / len(few) * resamples,
        f"same values; measured on {rows} weightings, and on {len(few)} of theirs, which takes one at a time",
    )


def _texts(spent_s: float) -> Iterator[Row]:
    header = ["experiment", "model.kind", "mean IoU", ""]
    rows = [[f"flowers-lr-grid-{each:03d}", "unet", f"{each / 7:.3f}", "edited" * (each % 2)] for each in range(200)]
    right = frozenset({"mean IoU"})
    assert rich_table(header, rows, right) == text_table(header, rows, right)
    yield beside(
        "table of 200 rows for the terminal, beside rich",
        lambda: text_table(header, rows, right),
        lambda: rich_table(header, rows, right),
        "same lines, once rich is told of no width, colour or markup; it aligns wide characters, which ours does not",
        spent_s,
    )
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 256, (24, 160, 160, 3), np.uint8)
    images = [Image.fromarray(tile) for tile in tiles]
    yield beside(
        "sheet of 24 pictures without a word, beside skimage.util.montage",
        lambda: sample_grid(images, [""] * len(images), 6),
        lambda: montage(tiles, fill=(255, 255, 255), padding_width=6, grid_shape=(4, 6), channel_axis=-1),
        "theirs has no captions, and takes pictures of one size only",
        spent_s,
    )


def rich_table(header: Sequence[str], rows: Sequence[Sequence[str]], right: frozenset[str]) -> list[str]:
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False, header_style="")
    for name in header:
        grid.add_column(Text(name), justify="right" if name in right else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*map(Text, row))
    text = io.StringIO()
    Console(file=text, width=10_000, color_system=None).print(grid)
    return [line.rstrip() for line in text.getvalue().splitlines()]
