"""The proof: steps that are replayed must do what the same steps do when Python makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.optim import Optimizer

from isotherm.trainer.recorder import Tensors
from isotherm.trainer.stack import Copies

# What weights may differ by after the steps, as a share of their way; and what losses may.
# Nearly always it is nothing: a step that is stale in any of its parts is off by a tenth or more.
_WAY: Final = 1e-3
_LOSS: Final = 1e-3

# The losses of some steps, and how far each tensor has come with them.
Walk = tuple[list[Tensor], list[Tensor]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Learning:
    """Copies that learn, the optimizer that moves them, and what else a step adds to."""

    copies: Copies
    optimizer: Optimizer
    sums: tuple[Tensor, ...] = ()

    def tensors(self) -> list[Tensor]:
        """Return all that a step changes, but for what the optimizer keeps."""
        return [*self.copies.state().values(), *self.sums]


class State:
    """Where a training stands before it is proved, to be put back afterwards."""

    def __init__(self, learning: Sequence[Learning]) -> None:
        self._tensors = [value for one in learning for value in one.tensors()]
        self._values = [value.detach().clone() for value in self._tensors]
        self._optimizers = [one.optimizer for one in learning]
        self._kept = {
            id(value): value.clone() for one in self._optimizers for value in _kept_by(one)
        }
        self._device = self._tensors[0].device
        self._rng = self._random()

    @torch.no_grad()
    def restore(self) -> None:
        """Put everything back, in its place: what is recorded knows tensors by their places."""
        for tensor, value in zip(self._tensors, self._values, strict=True):
            tensor.copy_(value)
        for optimizer in self._optimizers:
            for kept in _kept_by(optimizer):
                # What an optimizer makes with its first step is zero before it.
                kept.copy_(self._kept[id(kept)]) if id(kept) in self._kept else kept.zero_()
        torch.set_rng_state(self._rng[0])
        if self._rng[1:]:
            torch.cuda.set_rng_state(self._rng[1], self._device)

    @torch.no_grad()
    def way(self) -> list[Tensor]:
        """Return how far each floating tensor has come since."""
        pairs = zip(self._tensors, self._values, strict=True)
        return [(now - then).clone() for now, then in pairs if now.is_floating_point()]

    def _random(self) -> tuple[Tensor, ...]:
        states = (torch.get_rng_state(),)
        return (*states, torch.cuda.get_rng_state(self._device)) if self._on_cuda else states

    @property
    def _on_cuda(self) -> bool:
        return self._device.type == "cuda"


def walk(state: State, steps: Callable[[], Iterable[Tensors]]) -> Walk:
    """Make steps from a state; return their losses, and how far each tensor has come."""
    state.restore()
    results = [one.clone() for step in steps() for one in step]
    return results, state.way()


def finite(gone: Walk) -> bool:
    """Whether a walk stays among the numbers."""
    return all(bool(value.isfinite().all()) for part in gone for value in part)


def difference(made: Walk, replayed: Walk) -> str:
    """Return what two walks from the same state differ in, in some words; empty: they agree."""
    for index, (ours, theirs) in enumerate(zip(made[0], replayed[0], strict=True)):
        if not torch.allclose(ours, theirs, rtol=_LOSS, atol=1e-7):
            return f"result {index} of the steps is another: {_apart(ours, theirs):.2g} apart"
    gone = float(sum(float(each.square().sum()) for each in made[1]) ** 0.5)
    pairs = zip(made[1], replayed[1], strict=True)
    apart = float(sum(float((a - b).square().sum()) for a, b in pairs) ** 0.5)
    # Written so that NaN counts as too far.
    if not apart <= _WAY * gone:
        return f"the weights went {gone:.3g} far, and end {apart:.2g} apart"
    return ""


def halved(tensor: Tensor) -> Tensor:
    """Return other rows of the same number: each of the first half twice."""
    return tensor[torch.arange(len(tensor), device=tensor.device) // 2]


def _kept_by(optimizer: Optimizer) -> list[Tensor]:
    states: Any = optimizer.state.values()
    return [value for state in states for value in state.values() if isinstance(value, Tensor)]


def _apart(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max())
