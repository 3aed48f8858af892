"""The world: the processes that train one model, of which this is one.

`torchrun --nproc-per-node 2 -m isotherm.trainer ...` starts several; the trainer asks the world for
what it must know of the others, and is alone otherwise. Every method is called by all processes, in
the same order.
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.distributed_c10d import Store

from isotherm.trainer.errors import TrainerError, WorldError, first_line

Floats = npt.NDArray[np.float64]
T = TypeVar("T")

# Batch statistics are those of the rows that a process has seen.
_STATISTICS: Final = ("running_mean", "running_var")

# Where a process that fails leaves its reason for the others.
_FAILED: Final = "failed"


class World(Protocol):
    """The processes that train one model; `rank` of `size` is this one, 0 is the one that tells."""

    rank: int
    size: int

    def total(self, values: Floats) -> Floats:
        """Return the sum over the processes, the same bits on each of them."""
        ...

    def gather(self, value: T) -> list[T]:
        """Return the value of each process, in the order of their ranks."""
        ...

    def broadcast(self, value: T) -> T:
        """Return the value of rank 0."""
        ...

    def average(self, parameters: Sequence[Tensor], weight: float, loss: Tensor) -> Tensor:
        """Make each gradient, of the mean over the rows here, that of the mean over all rows.

        Args:
            parameters: whose `grad` is replaced.
            weight: of the rows here, such as their number; 0: there are none, and whatever the
                gradients and the loss are does not count.
            loss: a number, the mean over the rows here.

        Returns:
            The mean loss over all rows.
        """
        ...

    def settle(self, model: nn.Module) -> None:
        """Give the model the running statistics of all processes, in place of its own."""
        ...

    def same(self, what: str, value: object) -> None:
        """Raise WorldError unless all processes have the same value."""
        ...

    def barrier(self) -> None:
        """Wait until all processes have come here."""
        ...


class Alone:
    """A world of one: nothing to send, nothing to wait for, and no bit is changed."""

    rank = 0
    size = 1

    def total(self, values: Floats) -> Floats:
        """Return the values."""
        return values

    def gather(self, value: T) -> list[T]:
        """Return the one value."""
        return [value]

    def broadcast(self, value: T) -> T:
        """Return the value."""
        return value

    def average(self, parameters: Sequence[Tensor], weight: float, loss: Tensor) -> Tensor:
        """Return the loss."""
        return loss

    def settle(self, model: nn.Module) -> None:
        """Leave the model as it is."""

    def same(self, what: str, value: object) -> None:
        """Agree with oneself."""

    def barrier(self) -> None:
        """Go on."""


class Several:
    """A world of processes that gloo connects, and NCCL for what lies on CUDA devices."""

    def __init__(self, store: Store, rank: int, size: int) -> None:
        self.rank = rank
        self.size = size
        self._store = store
        # Whether this process ends because another one did.
        self.lost = False

    def total(self, values: Floats) -> Floats:
        """Return the sum over the processes, added in the order of their ranks."""
        # Not all_reduce: in which order that adds is the connection's to choose.
        return functools.reduce(np.add, self.gather(values))

    def gather(self, value: T) -> list[T]:
        """Return the value of each process, in the order of their ranks."""
        values = [value] * self.size
        self._exchange(lambda: dist.all_gather_object(values, value))
        return values

    def broadcast(self, value: T) -> T:
        """Return the value of rank 0."""
        values = [value]
        self._exchange(lambda: dist.broadcast_object_list(values, src=0))
        return values[0]

    def average(self, parameters: Sequence[Tensor], weight: float, loss: Tensor) -> Tensor:
        """Make each gradient that of the mean over all rows; return the mean loss over them.

        All gradients go in one piece, with the loss and the weight behind them.
        """
        sizes = [parameter.numel() for parameter in parameters]
        if weight:
            flat = torch.cat([_gradient(each).reshape(-1) for each in parameters])
            flat = torch.cat([flat, loss.detach().to(flat).reshape(1), flat.new_ones(1)])
            flat *= weight
        else:
            flat = parameters[0].new_zeros(sum(sizes) + 2, requires_grad=False)
        self._exchange(lambda: dist.all_reduce(flat))
        # Where no row weighs anything, all are zero.
        flat /= flat[-1].clamp(min=torch.finfo(flat.dtype).tiny)
        for parameter, gradient in zip(parameters, torch.split(flat[:-2], sizes), strict=True):
            parameter.grad = gradient.view_as(parameter)
        return flat[-2]

    @torch.no_grad()
    def settle(self, model: nn.Module) -> None:
        """Give every layer with batch statistics the mean of those of the processes."""
        for name, value in model.named_buffers():
            if name.rpartition(".")[2] in _STATISTICS:
                self._exchange(functools.partial(dist.all_reduce, value))
                value.div_(self.size)

    def same(self, what: str, value: object) -> None:
        """Raise WorldError, here and on every other process, unless all have the same value."""
        first, *others = self.gather(value)
        for rank, other in enumerate(others, start=1):
            if other != first:
                msg = (
                    f"rank {rank} has {what} {other!r}, and rank 0 has {first!r}; start every "
                    "process with the same command, the same files and the same versions"
                )
                raise WorldError(msg)

    def barrier(self) -> None:
        """Wait until all processes have come here."""
        self.gather(None)

    def fail(self, error: BaseException) -> None:
        """Leave the reason why this process ends, for the others and for torchrun."""
        if self.lost:
            return
        _report(error)
        # Whoever kept the store may be gone already.
        with suppress(RuntimeError):
            # The first reason is the one.
            self._store.compare_set(_FAILED, "", f"rank {self.rank} failed: {_sentence(error)}")

    def _exchange(self, work: Callable[[], object]) -> None:
        try:
            work()
        # What gloo, NCCL and the store raise for a process that is gone or late.
        except RuntimeError as error:
            self.lost = True
            raise WorldError(self._why(error)) from error

    def _why(self, error: RuntimeError) -> str:
        with suppress(RuntimeError):
            if self._store.check([_FAILED]):
                reason = self._store.get(_FAILED).decode()
                return f"rank {self.rank} of {self.size} ends because {reason}"
        return (
            f"rank {self.rank} of {self.size} lost another process, which was killed or has not "
            f"answered in time ({first_line(error)}); start all of them again: with --checkpoint "
            "they go on from the last one"
        )


def _report(error: BaseException) -> None:
    """Tell torchrun, whose summary otherwise says that there is no traceback."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path is None:
        return
    extra = {"py_callstack": _sentence(error), "timestamp": str(int(time.time()))}
    with suppress(OSError):
        Path(path).write_text(
            json.dumps({"message": {"message": _sentence(error), "extraInfo": extra}})
        )


def _sentence(error: BaseException) -> str:
    return str(error) if isinstance(error, TrainerError) else f"{type(error).__name__}: {error}"


def _gradient(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
