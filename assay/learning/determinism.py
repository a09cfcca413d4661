"""Same spec, same bytes: fixed threads, deterministic operations, random numbers of our own; all undone afterwards."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Generator

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
