"""Data-parallel training: each worker process takes its share of every batch, and all make the same step.

Belongs here: communication over the process group that torch has (gloo or NCCL; one started by torchrun works as well).
Does not belong here: starting processes (``worker``). This is the arithmetic of torch's DistributedDataParallel without
its wrapper: networks of some million weights need no overlap of communication and backward pass, and layers that a loss
does not use need no special treatment.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn


@dataclass(frozen=True)
class WorkerGroup:
    """The place of this process among those that train together. In a group of one, all methods are free.

    Attributes:
        rank: Number of this process; 0 is the leader, which validates, writes and reports.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_leader(self) -> bool:
        """Whether this process validates, writes and reports."""
        return self.rank == 0

    def sum(self, value: float) -> float:
        """Return the sum of a number over all processes."""
        if self.size == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=exchange_device())
        distributed.all_reduce(total)
        return total.item()

    def reduce_gradients(self, parameters: Sequence[nn.Parameter], buffers: Iterable[Tensor]) -> None:
        """Sum the gradients over all processes, and average the running statistics of batch normalization.

        Args:
            parameters: Trained parameters; each process has the gradient of its share of the batch's mean loss.
            buffers: Buffers of the network; integers are the same in all processes.
        """
        if self.size == 1:
            return
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        means = [buffer for buffer in buffers if buffer.is_floating_point()]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        exchange_sum([*gradients, *(mean.div_(self.size) for mean in means)])

    def broadcast_values(self, numbers: dict[str, Any] | None) -> dict[str, Any]:
        """Return the leader's plain values in every process; the others pass None."""
        if self.size == 1:
            return numbers or {}
        content = torch.tensor(list(json.dumps(numbers).encode()), dtype=torch.uint8, device=exchange_device())
        length = torch.tensor(len(content), device=exchange_device())
        distributed.broadcast(length, 0)
        content = content if self.is_leader else content.new_empty(int(length.item()))
        distributed.broadcast(content, 0)
        values: dict[str, Any] = json.loads(bytes(content.tolist()))
        return values

    @torch.no_grad()
    def broadcast_tensors(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors with the leader's, in place."""
        for tensor in tensors if self.size > 1 else ():
            values = tensor.contiguous().to(exchange_device())
            distributed.broadcast(values, 0)
            tensor.copy_(values)


ALONE = WorkerGroup()


def worker_group() -> WorkerGroup:
    """Return this process's place in torch's process group, or a group of one."""
    if not distributed.is_available() or not distributed.is_initialized():
        return ALONE
    return WorkerGroup(distributed.get_rank(), distributed.get_world_size())


def exchange_device() -> torch.device:
    """Return the device on which the process group exchanges tensors."""
    return (
        torch.device("cuda", torch.cuda.current_device())
        if distributed.get_backend() == "nccl"
        else torch.device("cpu")
    )


@torch.no_grad()
def exchange_sum(tensors: Sequence[Tensor]) -> None:
    """Sum each tensor over all processes, in place, in a single message."""
    message = torch.cat([tensor.reshape(-1) for tensor in tensors]).to(exchange_device())
    distributed.all_reduce(message)
    start = 0
    for tensor in tensors:
        tensor.copy_(message[start : start + tensor.numel()].view(tensor.shape))
        start += tensor.numel()
