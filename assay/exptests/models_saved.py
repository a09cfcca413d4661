"""Test kind ``models_saved``: the model's files open and hold finite numbers.

Belongs here: reading safetensors far enough to trust them. Does not belong here: building the network.
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from assay.checks.result import ExperimentFiles, TestResult, not_materialized, shortened, verdict
from assay.spec.exptest_kinds import ModelsSavedTest

EXPONENT_BITS: dict[str, tuple[str, int]] = {
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
    "F32": ("<u4", 0x7F800000),
    "F64": ("<u8", 0x7FF0000000000000),
}
"""Per float type: an integer of the same width and its exponent bits, all set only in infinity and NaN.

Read as bits because numpy has no bfloat16, and so that a test needs no torch.
"""


def check_models_saved(test: ModelsSavedTest, files: ExperimentFiles) -> TestResult:
    """Open every ``.safetensors`` file of the model's folder, at any depth."""
    expected = f"at least {test.min_models} readable model file(s) with finite numbers"
    if files.model_folder is None:
        return not_materialized(test, "trained_model", expected)
    paths = sorted(files.model_folder.rglob("*.safetensors"))
    problems = [f"{path.relative_to(files.model_folder)}: {problem}" for path in paths if (problem := _problem(path))]
    if len(paths) < test.min_models:
        problems.insert(0, f"{len(paths)} model file(s) in {files.model_folder}")
    measured = f"{len(paths)} model file(s), {len(problems)} problem(s)"
    if problems:
        description = f"{shortened(problems)}. Materialize trained_model again."
        return verdict(test, False, description, measured=measured, expected=expected)
    return verdict(test, True, f"{measured}; all tensors are finite.", measured=measured, expected=expected)


def _problem(path: Path) -> str | None:
    """Return what is wrong with a model file, if anything."""
    if path.stat().st_size == 0:
        return "the file is empty"
    try:
        with safe_open(path, framework="np") as opened:
            names = list(opened.keys())
    except (SafetensorError, OSError) as error:
        return f"can't be opened ({error})"
    if not names:
        return "holds no tensor"
    not_finite = _names_of_not_finite(path)
    return f"holds NaN or infinity in {', '.join(not_finite)}" if not_finite else None


def _names_of_not_finite(path: Path) -> list[str]:
    """Return tensors with NaN or infinity in a file whose header has been checked.

    The format: 8 bytes little-endian header length, a JSON header, then the tensors at the header's offsets.
    """
    content: NDArray[np.uint8] = np.memmap(path, dtype=np.uint8, mode="r")
    header_bytes = int(content[:8].view("<u8")[0])
    header = json.loads(content[8 : 8 + header_bytes].tobytes())
    header.pop("__metadata__", None)
    names = []
    for name, tensor in sorted(header.items()):
        start, end = (8 + header_bytes + offset for offset in tensor["data_offsets"])
        if tensor["dtype"] in EXPONENT_BITS:
            integer, exponent = EXPONENT_BITS[tensor["dtype"]]
            bits = np.frombuffer(content[start:end].tobytes(), dtype=integer)
            if ((bits & exponent) == exponent).any():
                names.append(name)
    return names
