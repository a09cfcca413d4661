"""Dividing groups into subsets by exact quotas, in the order of their hashes.

Belongs here: the rule. Does not belong here: what a group is, files, messages.
"""

import hashlib
from bisect import bisect_right
from collections import Counter, defaultdict
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
    * Large groups may swallow a small piece whole. A subset whose share is at least one item then gets the group
      nearest to its piece, from a subset that keeps another.
    * With several strata the cuts hold in each. Their middles are shifted by a hash of the stratum; without that, a
      share of 0.1 would round to none in every class of four items, and so be empty.

    Args:
        groups: With unique names.
        shares: By subset, in order; they sum to 1.
        seed: Another seed, another division.
    """
    strata: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        strata[group.stratum].append(group)
    subsets: dict[str, str] = {}
    for stratum, members in strata.items():
        middle = _MIDDLE if len(strata) == 1 else _uniform(f"{seed}:stratum:{stratum}")
        members.sort(key=lambda group: (_hash(f"{seed}:{group.name}"), group.name))
        line = _Line(members, shares, middle)
        pieces = line.cut()
        subsets |= line.filled(pieces) if len(strata) == 1 else pieces
    return subsets


class _Line:
    """The groups of a stratum, laid end to end."""

    def __init__(self, groups: Sequence[Group], shares: Mapping[str, Fraction], middle: float) -> None:
        total = sum(group.size for group in groups)
        starts = accumulate((group.size for group in groups), initial=0)
        self._middles = {group.name: start + middle * group.size for group, start in zip(groups, starts, strict=False)}
        self._ends = {name: float(total * cut) for name, cut in zip(shares, accumulate(shares.values()), strict=True)}
        self._lengths = {name: float(total * share) for name, share in shares.items()}

    def cut(self) -> dict[str, str]:
        """Return the subset in whose piece each group's middle lies."""
        names, ends = list(self._ends), list(self._ends.values())
        return {name: names[bisect_right(ends[:-1], middle)] for name, middle in self._middles.items()}

    def filled(self, subsets: dict[str, str]) -> dict[str, str]:
        """Return the subsets with those filled that large groups have left empty."""
        for empty in [name for name in self._ends if name not in subsets.values() and self._lengths[name] >= 1]:
            centre = self._ends[empty] - self._lengths[empty] / 2
            counts = Counter(subsets.values())
            spare = [name for name, subset in subsets.items() if counts[subset] > 1]
            if spare:
                nearest = min(spare, key=lambda name: abs(self._middles[name] - centre))
                subsets = subsets | {nearest: empty}
        return subsets


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _uniform(text: str) -> float:
    """Return a number from 0 to 1, exclusive, that depends on the text alone."""
    return (int.from_bytes(_hash(text)[:4]) + _MIDDLE) / 2**32
