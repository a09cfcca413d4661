"""Same spec, same bytes: fixed threads, deterministic operations, random numbers of our own; all undone afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Generator


@contextmanager
def deterministic(threads: int, seed: int) -> Iterator[None]:
    """Run the block with a number of threads, a seed and only deterministic operations; restore what was before.

    Initial weights and dropout have no argument for a generator, so torch's own is seeded, inside its own fork.

    Args:
        threads: Part of the result: sums over another number of threads round differently.
        seed: Of torch's generator.
    """
    former_threads, former_mode = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(threads)
        # Not use_deterministic_algorithms(): that imports the compiler, 1 s, to set the same flag.
        torch.set_deterministic_debug_mode("error")
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_deterministic_debug_mode(former_mode)
            torch.set_num_threads(former_threads)


def generator(seed: int, purpose: int) -> Generator:
    """Return a generator of its own for each purpose, so that more draws for one do not change another."""
    return Generator().manual_seed((seed * 1_000_003 + purpose) % 2**63)
