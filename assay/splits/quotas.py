"""Dividing groups into subsets by exact quotas, in the order of their hashes.

Belongs here: the rule. Does not belong here: what a group is, files, messages.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate

_MIDDLE = 0.5


@dataclass(frozen=True)
class Group:
    """Items that stay together.

    Attributes:
        name: Decides its place in the order.
        size: Number of items.
        stratum: Groups of one stratum share quotas of their own; "" for all when nothing is stratified.
    """

    name: str
    size: int
    stratum: str = ""


def assign(groups: Iterable[Group], shares: Mapping[str, Fraction], seed: int) -> dict[str, str]:
    """Return the subset of each group by name.

    The groups of a stratum are laid on a line in the order of sha256(seed:name), each as long as it has items. The
    line is cut at the cumulative shares, and a group belongs to the piece that holds its middle. So:

    * The order in which groups are given does not matter, and names may hold any character.
    * Groups of one item: each subset gets its share of n items, exact to less than one item, and none is empty when
      n times its share is at least 1.
    * Adding k such groups to n moves at most k of the old ones across each cut, whatever n: a cut lies at a fixed
      share of the line, so k more items shift it by at most k places. (Largest remainders would not keep this: a
      subset may lose an item when one is added, the Alabama paradox.)
    * With several strata the same holds in each. Their middles are shifted by a hash of the stratum; without that, a
      share of 0.1 would round to none in every class of four items, and so be empty.

    Args:
        groups: With unique names.
        shares: By subset, in order; they sum to 1.
        seed: Another seed, another division.
    """
    strata: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        strata[group.stratum].append(group)
    cuts = list(accumulate(shares.values()))
    subsets: dict[str, str] = {}
    for stratum, members in strata.items():
        middle = _MIDDLE if len(strata) == 1 else _uniform(f"{seed}:stratum:{stratum}")
        members.sort(key=lambda group: (_hash(f"{seed}:{group.name}"), group.name))
        subsets |= _cut(members, list(shares), cuts, middle)
    return subsets


def _cut(members: Sequence[Group], names: Sequence[str], cuts: Sequence[Fraction], middle: float) -> dict[str, str]:
    total = sum(group.size for group in members)
    ends = [float(total * cut) for cut in cuts]
    subsets, start, current = {}, 0, 0
    for group in members:
        while current < len(ends) - 1 and start + middle * group.size >= ends[current]:
            current += 1
        subsets[group.name] = names[current]
        start += group.size
    return subsets


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _uniform(text: str) -> float:
    """Return a number from 0 to 1, exclusive, that depends on the text alone."""
    return (int.from_bytes(_hash(text)[:4]) + _MIDDLE) / 2**32
