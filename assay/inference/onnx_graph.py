"""Pre-processing as an ONNX graph: from the pixels of upright RGB pictures, or raw columns, to the network's batch.

What Pillow and NumPy compute in whole numbers is computed here in whole numbers too, as float64 or int64, so that the
network sees the same bytes. Belongs here: nodes, resizing, standardization, scaling of columns. Does not belong here:
the network, what follows it (``onnx_heads``).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, DTypeLike
from onnx import TensorProto, helper, numpy_helper

from assay.datasets.filling import FilledInfo
from assay.datasets.scaling import BinaryInfo, CategoricalInfo, NormInfo, RanksInfo
from assay.training.inputs import EPSILON
from assay.training.models.backbone import STRIDE
from assay.training.tasks.images import EPSILON as IMAGE_EPSILON

BITS = 22
"""Bits after the point of Pillow's resizing weights."""

F64, F32, I64, U8 = TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.INT64, TensorProto.UINT8


class Nodes:
    """Nodes and constants of a graph in the making; every value is known by its name."""

    def __init__(self, prefix: str = "assay") -> None:
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._count = 0

    def name(self, kind: str) -> str:
        """Return a new name."""
        self._count += 1
        return f"{self.prefix}_{self._count}_{kind}"

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        output = self.name(kind)
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def const(self, value: ArrayLike, dtype: DTypeLike = np.int64) -> str:
        """Add a constant."""
        name = self.name("constant")
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def real(self, value: ArrayLike) -> str:
        """Add a constant float64."""
        return self.const(value, np.float64)

    def cast(self, value: str, to: int) -> str:
        """Convert to another type."""
        return self.op("Cast", value, to=to)

    def side(self, shape: str, axis: int) -> str:
        """Return one size of a shape as int64 without dimensions."""
        return self.op("Gather", shape, self.const(axis), axis=0)

    def stacked(self, *sizes: str) -> str:
        """Return sizes as int64 (n,)."""
        zero = self.const([0])
        return self.op("Concat", *(self.op("Unsqueeze", size, zero) for size in sizes), axis=0)

    def count_to(self, size: str) -> str:
        """Return 0 … size - 1 as int64."""
        return self.op("Range", self.const(0), size, self.const(1))

    def rounded(self, value: str) -> str:
        """Return a float64 rounded half to even, as int64."""
        return self.cast(self.op("Round", value), I64)

    def choose(self, condition: str, then: Callable[["Nodes"], str], otherwise: Callable[["Nodes"], str]) -> str:
        """Return what one of two sub-graphs computes; the other one costs nothing."""
        branches = {}
        for key, build in (("then_branch", then), ("else_branch", otherwise)):
            inner = Nodes(self.name(key))
            result = inner.op("Identity", build(inner))
            info = helper.make_empty_tensor_value_info(result)
            branches[key] = helper.make_graph(inner.nodes, inner.prefix, [], [info], inner.constants)
        return self.op("If", condition, **branches)


def resized_at_most(nodes: Nodes, images: str, longest_px: int) -> str:
    """Reduce pictures, uint8 (N, 3, H, W), to a longest side as ``assay.images.resizing.at_most`` does."""
    shape = nodes.op("Shape", images)
    longest = nodes.op("Max", nodes.side(shape, 2), nodes.side(shape, 3))
    most = nodes.const(longest_px)

    def reduce(inner: Nodes) -> str:
        factor = inner.op("Div", longest, most)
        reduced = block_means(inner, images, factor)
        sizes = []
        for axis in (2, 3):
            side = inner.cast(inner.op("Mul", inner.side(shape, axis), most), F64)
            scaled = inner.rounded(inner.op("Div", side, inner.cast(longest, F64)))
            sizes.append(inner.op("Max", scaled, inner.const(1)))
        exact = area_resized(inner, inner.cast(reduced, F64), sizes[0], sizes[1])
        return inner.cast(inner.op("Round", exact), U8)

    return nodes.choose(nodes.op("Greater", longest, most), reduce, lambda _: images)


def block_means(nodes: Nodes, images: str, factor: str) -> str:
    """Return the means of blocks of factor x factor pixels, of what there is of them at the edges, as Pillow rounds."""
    shape = nodes.op("Shape", images)
    one = nodes.const(1)
    counts, pads, inner_shape = [], [], [nodes.side(shape, 0), nodes.side(shape, 1)]
    for axis in (2, 3):
        side = nodes.side(shape, axis)
        blocks = nodes.op("Div", nodes.op("Sub", nodes.op("Add", side, factor), one), factor)
        pads.append(nodes.op("Sub", nodes.op("Mul", blocks, factor), side))
        starts = nodes.op("Mul", nodes.count_to(blocks), factor)
        counts.append(nodes.op("Min", nodes.op("Sub", side, starts), factor))
        inner_shape += [blocks, factor]
    zero = nodes.const(0)
    padding = nodes.stacked(zero, zero, zero, zero, zero, zero, *pads)
    padded = nodes.op("Pad", nodes.cast(images, I64), padding, nodes.const(0))
    split = nodes.op("Reshape", padded, nodes.stacked(*inner_shape))  # (N, 3, h, f, w, f)
    sums = nodes.op("ReduceSum", split, nodes.const([3, 5]), keepdims=0)  # (N, 3, h, w)
    rows = nodes.op("Unsqueeze", counts[0], nodes.const([1]))
    area = nodes.op("Mul", rows, counts[1])  # (h, w)
    # 2^32 / (256 area) in float32, cut off: the multiplier that stands for a division by the area.
    largest = nodes.cast(nodes.op("Mul", area, nodes.const(256)), F32)
    multiplier = nodes.cast(nodes.op("Div", nodes.const(2.0**32, np.float32), largest), I64)
    halves = nodes.op("Add", sums, nodes.op("Div", area, nodes.const(2)))
    return nodes.op("Div", nodes.op("Mul", halves, multiplier), nodes.const(2**24))


def area_resized(nodes: Nodes, images: str, height: str, width: str) -> str:
    """Return float64 (..., H, W) at another size, each new pixel the mean of the area that it covers, as float32."""
    shape = nodes.op("Shape", images)
    rank = nodes.const([-2, -1])
    sides = nodes.op("Gather", shape, nodes.op("Add", nodes.op("Size", shape), rank), axis=0)
    old_height, old_width = nodes.side(sides, 0), nodes.side(sides, 1)
    rows = nodes.op("MatMul", _coverage(nodes, old_height, height), images)
    across = nodes.op("Transpose", _coverage(nodes, old_width, width), perm=[1, 0])
    totals = nodes.op("MatMul", rows, across)
    area = nodes.cast(nodes.op("Mul", old_height, old_width), F64)
    return nodes.cast(nodes.op("Div", totals, area), F32)


def _coverage(nodes: Nodes, old: str, new: str) -> str:
    """Return ``assay.images.resizing.coverage`` as float64 (new, old)."""
    starts = nodes.op("Unsqueeze", nodes.op("Mul", nodes.count_to(new), old), nodes.const([1]))
    pixels = nodes.op("Mul", nodes.count_to(old), new)
    ends = nodes.op("Min", nodes.op("Add", starts, old), nodes.op("Add", pixels, new))
    overlap = nodes.op("Sub", ends, nodes.op("Max", starts, pixels))
    return nodes.cast(nodes.op("Max", overlap, nodes.const(0)), F64)


def fitted_square(nodes: Nodes, images: str, size: int) -> str:
    """Fit pictures, uint8 (N, 3, H, W), into black squares as ``ImageOps.pad`` does: float64 (N, 3, size, size)."""
    shape = nodes.op("Shape", images)
    height, width = (nodes.side(shape, axis) for axis in (2, 3))
    side, full = nodes.real(float(size)), nodes.const(size)
    high, wide = nodes.cast(height, F64), nodes.cast(width, F64)
    own_height = nodes.rounded(nodes.op("Mul", nodes.op("Div", high, wide), side))
    own_width = nodes.rounded(nodes.op("Mul", nodes.op("Div", wide, high), side))
    new_height = nodes.op("Where", nodes.op("Greater", width, height), own_height, full)
    new_width = nodes.op("Where", nodes.op("Greater", height, width), own_width, full)
    across = nodes.op("Transpose", _weights(nodes, width, new_width), perm=[1, 0])
    down, levels = _weights(nodes, height, new_height), nodes.cast(images, F64)

    def rows_first(inner: Nodes) -> str:
        return _eight_bit(inner, inner.op("MatMul", down, _eight_bit(inner, inner.op("MatMul", levels, across))))

    def columns_first(inner: Nodes) -> str:
        return _eight_bit(inner, inner.op("MatMul", _eight_bit(inner, inner.op("MatMul", down, levels)), across))

    # Between both passes levels are rounded, so their order counts; Pillow 13 reduces tall pictures' columns first.
    is_tall = nodes.op("Greater", height, nodes.op("Mul", width, nodes.const(2)))
    is_tall = nodes.op("And", is_tall, nodes.op("Less", new_height, height))
    resized = nodes.choose(is_tall, columns_first, rows_first)
    zero, pads = nodes.const(0), []
    for new in (new_height, new_width):
        room = nodes.op("Sub", full, new)
        before = nodes.rounded(nodes.op("Mul", nodes.cast(room, F64), nodes.real(0.5)))
        pads.append((before, nodes.op("Sub", room, before)))
    (top, bottom), (left, right) = pads
    return nodes.op("Pad", resized, nodes.stacked(zero, zero, top, left, zero, zero, bottom, right), nodes.real(0.0))


def _weights(nodes: Nodes, old: str, new: str) -> str:
    """Return Pillow's bilinear weights, times 2^22 and whole, as float64 (new, old)."""
    scale = nodes.op("Div", nodes.cast(old, F64), nodes.cast(new, F64))
    wide = nodes.op("Max", scale, nodes.real(1.0))
    half, one = nodes.real(0.5), nodes.real(1.0)
    centers = nodes.op("Mul", nodes.op("Add", nodes.cast(nodes.count_to(new), F64), half), scale)
    centers = nodes.op("Unsqueeze", centers, nodes.const([1]))  # (new, 1)
    pixels = nodes.cast(nodes.count_to(old), F64)  # (old,)
    first = nodes.op("Floor", nodes.op("Add", nodes.op("Sub", centers, wide), half))
    last = nodes.op("Floor", nodes.op("Add", nodes.op("Add", centers, wide), half))
    away = nodes.op("Add", nodes.op("Sub", pixels, centers), half)
    height = nodes.op("Sub", one, nodes.op("Abs", nodes.op("Mul", away, nodes.op("Div", one, wide))))
    inside = nodes.op("And", nodes.op("GreaterOrEqual", pixels, first), nodes.op("Less", pixels, last))
    raw = nodes.op("Where", inside, nodes.op("Max", height, nodes.real(0.0)), nodes.real(0.0))
    share = nodes.op("Div", raw, nodes.op("ReduceSum", raw, nodes.const([1]), keepdims=1))
    return nodes.op("Floor", nodes.op("Add", nodes.op("Mul", share, nodes.real(2.0**BITS)), half))


def _eight_bit(nodes: Nodes, sums: str) -> str:
    """Return weighted sums as whole levels from 0 to 255, rounded as Pillow does."""
    shifted = nodes.op("Div", nodes.op("Add", sums, nodes.real(2.0 ** (BITS - 1))), nodes.real(2.0**BITS))
    return nodes.op("Clip", nodes.op("Floor", shifted), nodes.real(0.0), nodes.real(255.0))


def grey_rows(nodes: Nodes, images: str, size: tuple[int, int], border: int | None) -> str:
    """Return pictures, uint8 (N, 3, H, W), as rows of grey levels, float32 (N, height * width).

    Args:
        nodes: Of the graph.
        images: The pictures.
        size: Width and height of the rows' pixels.
        border: See ``assay.stages.tabular.grey_pixels``.
    """
    colours = nodes.op("Mul", nodes.cast(images, I64), nodes.const(np.array([19595, 38470, 7471]).reshape(1, 3, 1, 1)))
    sums = nodes.op("ReduceSum", colours, nodes.const([1]), keepdims=0)  # (N, H, W)
    grey = nodes.cast(nodes.op("Div", nodes.op("Add", sums, nodes.const(2**15)), nodes.const(2**16)), F64)
    width, height = size
    if border is None:
        resized = area_resized(nodes, grey, nodes.const(height), nodes.const(width))
    else:
        resized = _framed(nodes, grey, size, border)
    return nodes.op("Reshape", resized, nodes.const([-1, height * width]))


def _framed(nodes: Nodes, grey: str, size: tuple[int, int], border: int) -> str:
    shape = nodes.op("Shape", grey)
    sides = [nodes.side(shape, 1), nodes.side(shape, 2)]
    limits = [size[1], size[0]]
    scales = [
        nodes.op("Div", nodes.real(float(most)), nodes.cast(side, F64))
        for side, most in zip(sides, limits, strict=True)
    ]
    scale = nodes.op("Min", *scales)
    new = [
        nodes.op("Max", nodes.rounded(nodes.op("Mul", nodes.cast(side, F64), scale)), nodes.const(1)) for side in sides
    ]
    resized = area_resized(nodes, grey, new[0], new[1])
    before, after = [], []
    for side, most in zip(new, limits, strict=True):
        room = nodes.op("Sub", nodes.const(most), side)
        before.append(nodes.op("Div", room, nodes.const(2)))
        after.append(nodes.op("Sub", room, before[-1]))
    zero = nodes.const(0)
    return nodes.op("Pad", resized, nodes.stacked(zero, *before, zero, *after), nodes.const(float(border), np.float32))


def standardized_items(nodes: Nodes, items: str, axes: Sequence[int], view: str) -> str:
    """Return items, float32, each with mean 0 and standard deviation 1; see ``assay.training.inputs.standardized``."""
    dims = nodes.const(list(axes))
    values = nodes.cast(items, F64)
    centred = nodes.op("Sub", values, nodes.op("ReduceMean", values, dims, keepdims=1))
    squares = nodes.op("ReduceSum", nodes.op("Mul", centred, centred), dims, keepdims=1)
    sides = nodes.op("Gather", nodes.op("Shape", items), dims, axis=0)
    count = nodes.cast(nodes.op("ReduceProd", sides, keepdims=0), F64)
    variance = nodes.op("Div", squares, nodes.op("Sub", count, nodes.real(1.0)))
    spread = nodes.op("Add", nodes.op("Sqrt", variance), nodes.real(EPSILON.get(view, 1e-3)))
    return nodes.cast(nodes.op("Div", centred, spread), F32)


def whole_image_batch(nodes: Nodes, images: str, standardize: bool) -> str:
    """Return whole pictures, uint8 (N, 3, h, w), as the network reads them: float32, sides multiples of 16."""
    values = nodes.cast(images, F64)
    if standardize:
        axes = nodes.const([1, 2, 3])
        centred = nodes.op("Sub", values, nodes.op("ReduceMean", values, axes, keepdims=1))
        squares = nodes.op("ReduceSum", nodes.op("Mul", centred, centred), axes, keepdims=1)
        sides = nodes.op("Gather", nodes.op("Shape", images), axes, axis=0)
        least = nodes.op(
            "Max", nodes.op("Sub", nodes.op("ReduceProd", sides, keepdims=0), nodes.const(1)), nodes.const(1)
        )
        deviation = nodes.op("Sqrt", nodes.op("Div", squares, nodes.cast(least, F64)))
        values = nodes.op("Div", centred, nodes.op("Add", deviation, nodes.real(255 * IMAGE_EPSILON)))
    else:
        values = nodes.op("Div", values, nodes.real(255.0))
    shape, zero, stride = nodes.op("Shape", images), nodes.const(0), nodes.const(STRIDE)
    rooms = []
    for axis in (2, 3):
        side = nodes.side(shape, axis)
        blocks = nodes.op("Div", nodes.op("Add", side, nodes.const(STRIDE - 1)), stride)
        rooms.append(nodes.op("Sub", nodes.op("Mul", blocks, stride), side))
    padding = nodes.stacked(zero, zero, zero, zero, zero, zero, *rooms)
    return nodes.op("Pad", nodes.cast(values, F32), padding, nodes.const(0.0, np.float32))


TYPES = {"String": TensorProto.STRING, "Boolean": TensorProto.BOOL}
"""ONNX types of raw columns, by Polars' names; all others are float64, and whole numbers int64 where they are codes."""


def column_type(info: NormInfo | None, filled: FilledInfo | None = None) -> int:
    """Return the ONNX type of a raw column that is scaled and filled in a certain way; None: not at all.

    Where values were missing in the training, whole numbers and truth values are float64, so that NaN says so.
    """
    if isinstance(info, BinaryInfo | CategoricalInfo):
        first = info.values[0]
        if isinstance(first, str):
            return TensorProto.STRING
        if filled is not None and (filled.mark is not None or filled.value is None):
            return F64
        return TensorProto.BOOL if isinstance(first, bool) else I64
    return F64


def gaps_of(nodes: Nodes, column: str, kind: int) -> str:
    """Return where a raw column (N,) of a type has no value, as bool: NaN, or the empty text."""
    if kind == TensorProto.STRING:
        return nodes.op("Equal", column, _texts(nodes, [""]))
    return nodes.op("IsNaN", column)


def scaled_column(nodes: Nodes, column: str, info: NormInfo | None, filled: FilledInfo | None = None) -> str:
    """Return a raw column (N,) as the network's number, float64.

    A category that the training lacked becomes NaN, as does an infinite number, which the training refused.
    """
    kind = column_type(info, filled)
    can_lack = kind == F64 or (kind == TensorProto.STRING and "" not in getattr(info, "values", ()))
    gaps = gaps_of(nodes, column, kind) if filled is not None and can_lack else ""
    if isinstance(info, BinaryInfo | CategoricalInfo):
        code = _code(nodes, column, info, kind)
        return nodes.op("Where", gaps, nodes.real(_code_of_gaps(info, filled)), code) if gaps and filled else code
    if gaps and filled is not None:
        column = nodes.op("Where", gaps, nodes.real(float(filled.value or 0.0)), column)
    column = nodes.op("Where", nodes.op("IsInf", column), nodes.real(float("nan")), column)
    if info is None:
        return column
    if isinstance(info, RanksInfo):
        return _interpolated(nodes, column, info)
    scaled = nodes.op("Div", nodes.op("Sub", column, nodes.real(info.offset)), nodes.real(info.divisor))
    return scaled if info.limits is None else nodes.op("Clip", scaled, *map(nodes.real, info.limits))


def _interpolated(nodes: Nodes, column: str, info: RanksInfo) -> str:
    """Return what NumPy's ``interp`` does: each straight piece adds its rise, as far as a value (N,) is beyond it."""
    values, normals = np.array(info.values), np.array(info.normals)
    widths = np.diff(values)
    along = nodes.op("Sub", nodes.op("Unsqueeze", column, nodes.const([1])), nodes.real(values[:-1]))  # (N, pieces)
    share = nodes.op("Clip", nodes.op("Div", along, nodes.real(widths)), nodes.real(0.0), nodes.real(1.0))
    rise = nodes.op("ReduceSum", nodes.op("Mul", share, nodes.real(np.diff(normals))), nodes.const([1]), keepdims=0)
    return nodes.op("Add", rise, nodes.real(normals[0]))


def level_inputs(nodes: Nodes, codes: str, count: int) -> str:
    """Return codes (N,) as inputs (N, count) that are 1 for a row's code; all are NaN where the code is."""
    column = nodes.op("Unsqueeze", codes, nodes.const([1]))
    hot = nodes.cast(nodes.op("Equal", column, nodes.real(np.arange(count))), F64)
    return nodes.op("Where", nodes.op("IsNaN", column), nodes.real(float("nan")), hot)


def _code_of_gaps(info: BinaryInfo | CategoricalInfo, filled: FilledInfo) -> float:
    if filled.value is not None:
        return float(info.values.index(filled.value))
    missing = getattr(info, "missing_code", None)
    return float("nan") if missing is None else float(missing)


def _code(nodes: Nodes, column: str, info: BinaryInfo | CategoricalInfo, kind: int) -> str:
    codes = nodes.real(np.arange(len(info.values)))
    if kind == TensorProto.STRING:
        known = _texts(nodes, [str(each) for each in info.values])
    else:
        types: dict[int, DTypeLike] = {F64: np.float64, I64: np.int64, TensorProto.BOOL: np.bool_}
        known = nodes.const(list(info.values), types[kind])
    equal = nodes.op("Equal", nodes.op("Unsqueeze", column, nodes.const([1])), known)  # (N, values)
    code = nodes.op("ReduceSum", nodes.op("Mul", nodes.cast(equal, F64), codes), nodes.const([1]), keepdims=0)
    is_known = nodes.op("ReduceMax", nodes.cast(equal, I64), nodes.const([1]), keepdims=0)
    unseen = getattr(info, "unseen_code", None)
    other = nodes.real(float("nan") if unseen is None else float(unseen))
    return nodes.op("Where", nodes.cast(is_known, TensorProto.BOOL), code, other)


def _texts(nodes: Nodes, values: Sequence[str]) -> str:
    name = nodes.name("values")
    encoded: list[Any] = [each.encode() for each in values]
    nodes.constants.append(helper.make_tensor(name, TensorProto.STRING, [len(encoded)], encoded))
    return name
