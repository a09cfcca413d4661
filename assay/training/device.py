"""Where a network computes, and reproducibly: device, precision, compiler, threads and random generators.

Belongs here: what ``auto`` means on this machine, deterministic computation. Does not belong here: the training loop.
"""

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

import torch
from torch import Generator, Tensor, nn

from assay.errors import TrainingError
from assay.spec.trained_model import TrainedModelSection
from assay.utils.text import pluralize

log = logging.getLogger(__name__)

SHARE_OF_MEMORY = 0.5
"""Largest share of a GPU's free memory for training data; the rest is for the training steps."""


def resolve_device(section: TrainedModelSection, is_fast: Callable[[str], bool] | None = None) -> TrainedModelSection:
    """Return a section with the device and precision that are used on this machine.

    Args:
        section: Resolved.
        is_fast: Whether a device is fast in bfloat16; ``has_fast_bf16`` when left out.

    Raises:
        TrainingError: The device that the spec asks for is not available.
    """
    params = section.train_params
    device = available_device(params.device, params.processes)
    precision = params.precision
    if precision == "auto":
        precision = "bf16" if (is_fast or has_fast_bf16)(device) else "fp32"
    update = {"device": device, "precision": precision}
    return section.model_copy(update={"train_params": params.model_copy(update=update)})


def available_device(requested: str, processes: int = 1) -> str:
    """Return ``cpu`` or ``cuda``.

    Raises:
        TrainingError: There are fewer GPUs than requested.
    """
    count = torch.cuda.device_count()
    if requested == "cuda" and count < processes:
        raise TrainingError(
            f"train_params.device is cuda with {pluralize(processes, 'process', 'processes')}, but torch "
            f"{torch.__version__} finds "
            f"{pluralize(count, 'GPU')}. Set train_params.device: auto or fewer processes."
        )
    return "cuda" if requested != "cpu" and count >= processes else "cpu"


def has_fast_bf16(device: str) -> bool:
    """Return whether bfloat16 is faster than float32: with AVX512_BF16, AMX, or a GPU of 2020 or later."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def device_of(network: nn.Module) -> torch.device:
    """Return the device of a network's weights."""
    return next(network.parameters()).device


def to_device(data: Tensor, device: str) -> Tensor:
    """Return training data in the GPU's memory if it fits, so that nothing is copied at each step.

    Args:
        data: All items of a subset.
        device: ``cpu`` or ``cuda``.
    """
    return all_to_device([data], device)[0]


def all_to_device(data: Sequence[Tensor], device: str) -> list[Tensor]:
    """Return items of different sizes in the GPU's memory if all of them fit."""
    if device != "cuda" or sum(each.nbytes for each in data) > SHARE_OF_MEMORY * torch.cuda.mem_get_info()[0]:
        return list(data)
    return [each.to("cuda") for each in data]


def compile_network(network: nn.Module) -> None:
    """Have torch compile the network at its first step; where that is impossible, log a warning instead."""
    missing = missing_compiler(device_of(network).type)
    if missing:
        log.warning(f"train_params.compile is true, but {missing}; the network is not compiled.")
    else:
        network.compile()


def missing_compiler(device: str) -> str:
    """Return what torch.compile lacks on this machine; empty if it lacks nothing."""
    if device == "cuda":
        return "" if find_spec("triton") else "the package triton is not installed"
    names = (os.environ.get("CXX", ""), "c++", "g++", "clang++")
    return (
        "" if any(name and shutil.which(name) for name in names) else "there is no C++ compiler (c++, g++ or clang++)"
    )


ORDER, AUGMENTATION, DROPOUT = 1, 2, 3
"""Purposes of random numbers."""


@contextmanager
def deterministic(threads: int, seed: int, device: str = "cpu") -> Iterator[None]:
    """Run the block with fixed threads, a seed and deterministic operations only; restore the former state afterwards.

    On a GPU, operations need not be deterministic: some have no deterministic implementation there. Initial weights and
    dropout take no generator as argument, so torch's global generator is forked and seeded.

    Args:
        threads: Part of the result: sums over another number of threads round differently.
        seed: Seed of torch's generator.
        device: ``cpu`` or ``cuda``.
    """
    former_threads, former_mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(threads)
        # Not use_deterministic_algorithms(): that imports the compiler, 1 s, to set the same flag.
        torch.set_deterministic_debug_mode("error" if device == "cpu" else "default")
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_deterministic_debug_mode(former_mode)
            torch.set_num_threads(former_threads)


def generator(seed: int, purpose: int, *numbers: int) -> Generator:
    """Return a separate generator for each purpose and step, so that draws for one do not affect any other.

    Args:
        seed: Seed of the training.
        purpose: One of this module's constants.
        numbers: Numbers that identify the use, such as the step.
    """
    return Generator().manual_seed(derived_seed(seed, purpose, *numbers))


def derived_seed(*numbers: int) -> int:
    """Return a seed of 63 bits derived from numbers; neighbouring numbers give unrelated seeds."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
