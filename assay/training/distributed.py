"""Processes that train one network together: each takes its share of every batch, all make the same step.

Belongs here: what they tell each other, over whichever process group torch has (gloo or NCCL; one of torchrun is as
good as our own). Does not belong here: starting processes (``helpers``). It is the arithmetic of torch's
DistributedDataParallel without its wrapper: networks of some million weights don't need to hide the exchange behind the
backward pass, and layers that a loss does not use need no special care.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn


@dataclass(frozen=True)
class WorkerGroup:
    """This process among those that train together. Alone, everything it is asked for costs nothing.

    Attributes:
        rank: 0 leads: it validates, writes and reports.
        size: Number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process validates, writes and reports."""
        return self.rank == 0

    def sum(self, value: float) -> float:
        """Return the sum of a number over all processes."""
        if self.size == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=exchange_device())
        distributed.all_reduce(total)
        return total.item()

    def join(self, parameters: Sequence[nn.Parameter], buffers: Iterable[Tensor]) -> None:
        """Sum the gradients over all processes, and average what batch normalization has counted.

        Args:
            parameters: Those that learn; each process has the gradient of its share of the batch's mean loss.
            buffers: Of the network; whole numbers are the same everywhere.
        """
        if self.size == 1:
            return
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        means = [buffer for buffer in buffers if buffer.is_floating_point()]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        exchange_sum([*gradients, *(mean.div_(self.size) for mean in means)])

    def agree(self, numbers: dict[str, Any] | None) -> dict[str, Any]:
        """Return the plain values that the leader gave; the others give None."""
        if self.size == 1:
            return numbers or {}
        content = torch.tensor(list(json.dumps(numbers).encode()), dtype=torch.uint8, device=exchange_device())
        length = torch.tensor(len(content), device=exchange_device())
        distributed.broadcast(length, 0)
        content = content if self.leads else content.new_empty(int(length.item()))
        distributed.broadcast(content, 0)
        agreed: dict[str, Any] = json.loads(bytes(content.tolist()))
        return agreed

    @torch.no_grad()
    def copy(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the leader's values, in place."""
        for tensor in tensors if self.size > 1 else ():
            values = tensor.contiguous().to(exchange_device())
            distributed.broadcast(values, 0)
            tensor.copy_(values)


ALONE = WorkerGroup()


def worker_group() -> WorkerGroup:
    """Return this process's place in torch's process group, or a team of one."""
    if not distributed.is_available() or not distributed.is_initialized():
        return ALONE
    return WorkerGroup(distributed.get_rank(), distributed.get_world_size())


def exchange_device() -> torch.device:
    """Return where tensors must be for the process group to exchange them."""
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
