"""Read and write locks between processes, which are freed when their holder dies and show who holds them.

The locks are filelock's, with one of two backends per lock folder: the operating system of this machine, or, on a file
system that several machines share, heartbeats of the holders. Beside each lock is one small file per holder.

Belongs here: taking, listing and clearing locks. Does not belong here: what is locked and why.
"""
