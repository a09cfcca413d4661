"""Locks that are freed when their holder dies, and that tell who holds them.

Belongs here: taking, listing and clearing locks. Does not belong here: what is locked and why.
The locks themselves are filelock's. Those of one machine are kept by the operating system; those of a shared file
system, by the heartbeats of their holders (``flavour``). Beside each lies one small note per holder.
"""

from assay.storage.locks.acquire import LockMode, Waiting, hold
from assay.storage.locks.holders import NAMED, Heartbeat, Holder, age_of, describe, heartbeat_of, holders, state_of
from assay.storage.locks.maintenance import clear, clearable, share, unshare

__all__ = [
    "NAMED",
    "Heartbeat",
    "Holder",
    "LockMode",
    "Waiting",
    "age_of",
    "clear",
    "clearable",
    "describe",
    "heartbeat_of",
    "hold",
    "holders",
    "share",
    "state_of",
    "unshare",
]
