"""Worker processes on this machine that train together with this one, as many as ``train_params.processes`` asks for.

A worker receives the training request through its standard input and exits when that is closed, so no worker outlives
the process that started it, however that ended.

Belongs here: starting workers, passing the request, their end. Does not belong here: what they exchange
(``distributed``).
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
from assay.storage.parquet import scan_parquet, table_of
from assay.training.annotations import Annotations
from assay.training.data import DataSource
from assay.training.device import deterministic
from assay.training.model_file import network_of
from assay.training.prepare import prepare_training
from assay.training.tasks.base import TrainingRequest
from assay.training.trainer import fit
from assay.utils.concurrency import silent

HOST = "127.0.0.1"
READY = "ready\n"
GROUP_TIMEOUT = timedelta(hours=12)
"""How long a process waits for the others, which may be busy with a validation or a checkpoint."""
EXIT_TIMEOUT_S = 30.0
"""How long to wait for a worker to exit after the training."""


@contextmanager
def worker_processes(request: TrainingRequest, device: str) -> Iterator[None]:
    """Run as many workers during the block as the spec asks for; ``fit`` within the block trains with them.

    Raises:
        TrainingError: A worker ended too early.
    """
    size = request.section.train_params.processes
    if size == 1:
        yield
        return
    store = TCPStore(HOST, 0, size, is_master=True, wait_for_workers=False, timeout=GROUP_TIMEOUT)
    with ExitStack() as stack:
        started = [stack.enter_context(worker_process(request, rank, store.port)) for rank in range(1, size)]
        for process in started:
            if process.stdout is None or process.stdout.readline() != READY:
                raise TrainingError("A worker process ended before the training began; its error is printed above.")
        with process_group(store, 0, size, device):
            try:
                yield
            except distributed.DistBackendError as error:
                raise TrainingError(f"A worker process ended during the training: {error}") from error
        for process in started:
            process.wait(EXIT_TIMEOUT_S)


@contextmanager
def worker_process(request: TrainingRequest, rank: int, port: int) -> Iterator["subprocess.Popen[str]"]:
    """Run one worker during the block; if it is still running at the end, it is killed."""
    command = [sys.executable, "-m", "assay.training.worker"]
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        if process.stdin is not None:
            process.stdin.write(json.dumps({**request_as_json(request), "rank": rank, "port": port}) + "\n")
            process.stdin.flush()
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def process_group(store: Store, rank: int, size: int, device: str) -> Iterator[None]:
    """Join torch's process group for the block."""
    if device == "cuda":
        torch.cuda.set_device(rank)
    backend = "nccl" if device == "cuda" else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=GROUP_TIMEOUT)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def request_as_json(request: TrainingRequest) -> dict[str, Any]:
    """Return a request as plain values, for JSON."""
    source = request.source
    table = None if source.rows is None else table_of(source.rows)
    return {
        "section": request.section.model_dump(mode="json"),
        "task": request.task,
        "seed": request.seed,
        "source": [source.kind, str(source.folder), source.fingerprint, source.norm_info and str(source.norm_info)],
        "table": table and str(table.path),
    }


def as_request(plain: dict[str, Any]) -> TrainingRequest:
    """Return the request from what ``request_as_json`` returned."""
    kind, folder, fingerprint, norm_info = plain["source"]
    rows = scan_parquet(Path(plain["table"])) if plain["table"] else None
    source = DataSource(kind, Path(folder), fingerprint, Path(norm_info) if norm_info else None, rows)
    section = TrainedModelSection.model_validate(plain["section"])
    return TrainingRequest(section, plain["task"], plain["seed"], Annotations(source))


def exit_with_input() -> None:
    """Exit this process as soon as its standard input is closed."""
    sys.stdin.read()
    os._exit(1)


def run_worker() -> None:
    """Read a training request from standard input, then train together with the process that wrote it."""
    plain = json.loads(sys.stdin.readline())
    threading.Thread(target=exit_with_input, daemon=True).start()
    request = as_request(plain)
    prepared, params = prepare_training(request), request.section.train_params
    print(READY, end="", flush=True)
    store = TCPStore(HOST, plain["port"], params.processes, is_master=False, timeout=GROUP_TIMEOUT)
    device = prepared.training_task.section.train_params.device
    with (
        deterministic(params.threads, request.seed, device),
        process_group(store, plain["rank"], params.processes, device),
    ):
        fit(network_of(prepared.card), prepared.training_task, silent)


if __name__ == "__main__":
    try:
        run_worker()
    except AssayError as error:
        sys.exit(f"worker process: {error}")
