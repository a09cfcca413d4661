"""What this machine can do: where a network computes, and how exactly.

Belongs here: ``auto`` becoming what it means here, and moving things there. Does not belong here: the loop.
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

log = logging.getLogger(__name__)

SHARE_OF_MEMORY = 0.5
"""Part of a GPU's free memory that training data may take; the rest is for the network's steps."""


def settled(section: TrainedModelSection, is_fast: Callable[[str], bool] | None = None) -> TrainedModelSection:
    """Return a section with device and precision as they are used on this machine.

    Args:
        section: Resolved.
        is_fast: Whether a device is fast in bfloat16; ``has_fast_bf16`` when left out.

    Raises:
        TrainingError: The device that the spec asks for is not there.
    """
    params = section.train_params
    device = device_here(params.device, params.processes)
    precision = params.precision
    if precision == "auto":
        precision = "bf16" if (is_fast or has_fast_bf16)(device) else "fp32"
    update = {"device": device, "precision": precision}
    return section.model_copy(update={"train_params": params.model_copy(update=update)})


def device_here(wanted: str, processes: int = 1) -> str:
    """Return ``cpu`` or ``cuda``.

    Raises:
        TrainingError: There are fewer GPUs than were asked for.
    """
    count = torch.cuda.device_count()
    if wanted == "cuda" and count < processes:
        raise TrainingError(
            f"train_params.device is cuda with {processes} process(es), but torch {torch.__version__} finds {count} "
            "GPU(s). Set train_params.device: auto or fewer processes."
        )
    return "cuda" if wanted != "cpu" and count >= processes else "cpu"


def has_fast_bf16(device: str) -> bool:
    """Return whether arithmetic in bfloat16 is faster than in float32: by AVX512_BF16, AMX, or on a GPU since 2020."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def device_of(network: nn.Module) -> torch.device:
    """Return where a network's weights are."""
    return next(network.parameters()).device


def near(data: Tensor, device: str) -> Tensor:
    """Return training data in the GPU's memory when they fit there, so that nothing is copied at each step.

    Args:
        data: All items of a subset.
        device: ``cpu`` or ``cuda``.
    """
    return near_all([data], device)[0]


def near_all(data: Sequence[Tensor], device: str) -> list[Tensor]:
    """Do the same with items of different sizes: all of them, or none."""
    if device != "cuda" or sum(each.nbytes for each in data) > SHARE_OF_MEMORY * torch.cuda.mem_get_info()[0]:
        return list(data)
    return [each.to("cuda") for each in data]


def compile_network(network: nn.Module) -> None:
    """Have torch compile the network at its first step; where that is impossible, say so and leave it as it is."""
    missing = missing_compiler(device_of(network).type)
    if missing:
        log.warning(f"train_params.compile is true, but {missing}; the network is not compiled.")
    else:
        network.compile()


def missing_compiler(device: str) -> str:
    """Return what torch.compile lacks on this machine; empty when it has all that it needs."""
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
    """Run the block with a number of threads, a seed and only deterministic operations; restore what was before.

    On a GPU, operations need not be deterministic: some that networks use have no such form there.

    Initial weights and dropout have no argument for a generator, so torch's own is seeded, inside its own fork.

    Args:
        threads: Part of the result: sums over another number of threads round differently.
        seed: Of torch's generator.
        device: Where networks compute.
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
    """Return a generator of its own for each purpose and number, so that more draws for one do not change another.

    Args:
        seed: Of the training.
        purpose: One of this module's constants.
        numbers: Such as the step: what is drawn depends on nothing that happened before it.
    """
    return Generator().manual_seed(derived_seed(seed, purpose, *numbers))


def derived_seed(*numbers: int) -> int:
    """Return a seed of 63 bits for some numbers; neighbouring numbers have unrelated seeds."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
