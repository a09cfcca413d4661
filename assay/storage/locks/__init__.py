"""Read and write locks between processes, which are freed when their holder dies and show who holds them.

The locks are filelock's, with one of two backends per lock folder: the operating system of this machine, or, on a file
system that several machines share, heartbeats of the holders. Beside each lock is one small file per holder.

Belongs here: taking, listing and clearing locks. Does not belong here: what is locked and why.
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
