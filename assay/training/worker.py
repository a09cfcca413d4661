"""Further processes of this machine that train with this one, as ``train_params.processes`` asks for.

Belongs here: starting them, telling them what to learn, and their end. Does not belong here: what they exchange
(``team``). A helper is told everything through its standard input, and ends when that is closed: no helper outlives the
process that started it, however that ended.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]

from assay.errors import AssayError, TrainingError
from assay.spec.trained_model import TrainedModelSection
from assay.training.data import DataSource
from assay.training.device import deterministic
from assay.training.model_file import network_of
from assay.training.prepare import prepare_training
from assay.training.tasks.base import TrainingRequest
from assay.training.trainer import fit
from assay.utils.concurrency import silent

HOST = "127.0.0.1"
READY = "ready\n"
LONGEST = timedelta(hours=12)
"""How long a helper waits for the others, which may be busy with a validation or a checkpoint."""
LEAVING_S = 30.0


@contextmanager
def helpers(request: TrainingRequest, device: str) -> Iterator[None]:
    """Have as many helpers for the block as the spec asks for; ``fit`` within the block trains with them.

    Raises:
        TrainingError: One of them ended before it was done.
    """
    size = request.section.train_params.processes
    if size == 1:
        yield
        return
    store = TCPStore(HOST, 0, size, is_master=True, wait_for_workers=False, timeout=LONGEST)
    with ExitStack() as stack:
        started = [stack.enter_context(helper(request, rank, store.port)) for rank in range(1, size)]
        for process in started:
            if process.stdout is None or process.stdout.readline() != READY:
                raise TrainingError("A helping process ended before the training began; its error is printed above.")
        with member(store, 0, size, device):
            try:
                yield
            except distributed.DistBackendError as error:
                raise TrainingError(f"A helping process ended during the training: {error}") from error
        for process in started:
            process.wait(LEAVING_S)


@contextmanager
def helper(request: TrainingRequest, rank: int, port: int) -> Iterator["subprocess.Popen[str]"]:
    """Start a helper for the block; one that is still there at its end is killed."""
    command = [sys.executable, "-m", "assay.training.worker"]
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        if process.stdin is not None:
            process.stdin.write(json.dumps({**as_plain(request), "rank": rank, "port": port}) + "\n")
            process.stdin.flush()
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def member(store: Store, rank: int, size: int, device: str) -> Iterator[None]:
    """Be a member of the process group for the block."""
    if device == "cuda":
        torch.cuda.set_device(rank)
    backend = "nccl" if device == "cuda" else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=LONGEST)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def as_plain(request: TrainingRequest) -> dict[str, Any]:
    """Return a request as plain values."""
    source = request.source
    return {
        "section": request.section.model_dump(mode="json"),
        "learning": request.learning,
        "seed": request.seed,
        "source": [source.kind, str(source.folder), source.fingerprint, source.norm_info and str(source.norm_info)],
    }


def as_request(plain: dict[str, Any]) -> TrainingRequest:
    """Return the request that ``as_plain`` was given."""
    kind, folder, fingerprint, norm_info = plain["source"]
    source = DataSource(kind, Path(folder), fingerprint, Path(norm_info) if norm_info else None)
    return TrainingRequest(
        TrainedModelSection.model_validate(plain["section"]), plain["learning"], plain["seed"], source
    )


def end_with_input() -> None:
    """End this process as soon as nobody can write to its standard input any more."""
    sys.stdin.read()
    os._exit(1)


def help_training() -> None:
    """Read from standard input what to learn, then train with the process that wrote it."""
    plain = json.loads(sys.stdin.readline())
    threading.Thread(target=end_with_input, daemon=True).start()
    request = as_request(plain)
    prepared, params = prepare_training(request), request.section.train_params
    print(READY, end="", flush=True)
    store = TCPStore(HOST, plain["port"], params.processes, is_master=False, timeout=LONGEST)
    device = prepared.lesson.section.train_params.device
    with deterministic(params.threads, request.seed, device), member(store, plain["rank"], params.processes, device):
        fit(network_of(prepared.card), prepared.lesson, silent)


if __name__ == "__main__":
    try:
        help_training()
    except AssayError as error:
        sys.exit(f"helping process: {error}")
