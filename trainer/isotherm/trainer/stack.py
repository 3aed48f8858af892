"""Copies of one model, trained side by side as one, or one copy as it is.

In shapes, C is copies, R rows, F features, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Final, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from isotherm.trainer.embeddings import Embeddings
from isotherm.trainer.layers import ACTIVATIONS
from isotherm.trainer.model import LinearSkip, named_layers, penalised

Parameters = dict[str, Tensor]

_DROPOUTS: Final = (nn.AlphaDropout, nn.Dropout)

# These treat every number for itself, so an axis of copies in front changes nothing.
_ELEMENTWISE: Final = (
    *(kind for kind in ACTIVATIONS.values() if kind is not nn.PReLU),
    *_DROPOUTS,
    nn.Identity,
)

# What steps are recorded of.
_KNOWN: Final = frozenset(
    {
        *(nn.BatchNorm1d, nn.LayerNorm, nn.Linear, nn.ParameterList, nn.PReLU, nn.Sequential),
        *(Embeddings, LinearSkip, *_ELEMENTWISE),
    }
)

# torch has no public names for hooks that are there.
_HOOKS: Final = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


class Copies(Protocol):
    """What the loop trains: models of one architecture, each with its weights."""

    size: int
    # What the optimizer sees; and the weights under the penalty, by name.
    parameters: Parameters
    penalised: tuple[str, ...]
    # Whether training draws numbers, or looks at other rows of the batch.
    stochastic: bool
    # Whether a step on the device is the same operations each time.
    recordable: bool

    def __call__(self, x: Tensor) -> Tensor:
        """Map `x` of shape (C, R, F) to (C, R, O), each copy its own rows."""
        ...

    def train(self, mode: bool) -> None:
        """Switch between training and evaluation."""
        ...

    def state(self) -> Parameters:
        """Return everything that training changes: the tensors themselves, no copies."""
        ...

    def mark(self, flags: Tensor, like: Tensor) -> Tensor:
        """Shape `flags` (C,) so that it chooses whole copies from a tensor of `state`."""
        ...

    def member(self, index: int) -> nn.Sequential:
        """Return one copy as a model of its own, on the CPU."""
        ...


class Single:
    """One copy, called as it is: the fastest for one model, and right for batch statistics."""

    def __init__(self, model: nn.Sequential, device: str | torch.device = "cpu") -> None:
        self.size = 1
        self._model = deepcopy(model).to(device)
        self.parameters: Parameters = dict(self._model.named_parameters())
        self.penalised = penalised(model)
        self.stochastic = is_stochastic(model)
        self.recordable = is_recordable(model)

    def __call__(self, x: Tensor) -> Tensor:
        """Map `x` of shape (1, R, F) to (1, R, O)."""
        outputs: Tensor = self._model(x[0])
        return outputs.unsqueeze(0)

    @property
    def module(self) -> nn.Sequential:
        """The one model, itself."""
        return self._model

    def train(self, mode: bool) -> None:
        """Switch between training and evaluation."""
        self._model.train(mode)

    def state(self) -> Parameters:
        """Return everything that training changes."""
        return {**self.parameters, **dict(self._model.named_buffers())}

    def mark(self, flags: Tensor, like: Tensor) -> Tensor:
        """Shape `flags` (C,) so that it chooses whole copies."""
        return flags[0].expand(like.shape)

    def member(self, index: int) -> nn.Sequential:
        """Return one copy as a model of its own, on the CPU."""
        if index:
            msg = f"there is no copy {index} of one. This is a bug."
            raise IndexError(msg)
        return deepcopy(self._model).cpu()


class Stack:
    """Copies with the same initial weights, as tensors with an axis of copies in front.

    A stack of twelve costs about as much time as one model, because small layers are all overhead.
    """

    def __init__(self, model: nn.Sequential, size: int, device: str | torch.device = "cpu") -> None:
        self.size = size
        self._model = deepcopy(model).to(device)
        stacked, self._buffers = stack_module_state([self._model] * size)
        self.parameters: Parameters = {
            name: value.detach().clone().requires_grad_() for name, value in stacked.items()
        }
        self.penalised = penalised(model)
        self.stochastic = is_stochastic(model)
        self.recordable = is_recordable(model)
        self._forward = _by_layers(self._model) or _by_vmap(self._model)

    def __call__(self, x: Tensor) -> Tensor:
        """Map `x` of shape (C, R, F) to (C, R, O), each copy its own rows."""
        return self._forward({**self.parameters, **self._buffers}, x)

    def train(self, mode: bool) -> None:
        """Switch between training and evaluation."""
        self._model.train(mode)

    def state(self) -> Parameters:
        """Return everything that training changes."""
        return {**self.parameters, **self._buffers}

    def mark(self, flags: Tensor, like: Tensor) -> Tensor:
        """Shape `flags` (C,) so that it chooses whole copies."""
        return flags.view(-1, *[1] * (like.ndim - 1))

    def member(self, index: int) -> nn.Sequential:
        """Return one copy as a model of its own, on the CPU."""
        model = deepcopy(self._model).cpu()
        state = {name: value[index].detach() for name, value in self.state().items()}
        # Not strict: a weight that two layers share stands in `state` once.
        model.load_state_dict(state, strict=False)
        return model


def is_stochastic(model: nn.Module) -> bool:
    """Whether the model answers otherwise while it trains."""
    return any(
        isinstance(layer, _DROPOUTS) or has_batch_statistics(layer) for layer in model.modules()
    )


def is_recordable(model: nn.Module) -> bool:
    """Whether the model does the same in every step: a module of the user's own may not.

    What its Python does besides, such as counting steps, would not be done again in a recording.
    """
    return all(
        type(layer) in _KNOWN and not any(getattr(layer, hooks) for hooks in _HOOKS)
        for layer in model.modules()
    )


def has_batch_statistics(model: nn.Module) -> bool:
    """Whether a row's answer depends on the other rows of its batch while the model trains."""
    return any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in model.modules())  # noqa: SLF001  torch has no public name for it


def can_stack(model: nn.Sequential, features: int) -> bool:
    """Whether copies of the model can train as one.

    Batch statistics cannot: a row that one copy leaves out is only weighted 0, and would still be
    part of them. A module of the user's own can if `vmap` can express it.
    """
    if has_batch_statistics(model):
        return False
    x = torch.zeros(2, 2, features)
    try:
        with torch.no_grad(), torch.random.fork_rng():
            Stack(model, 2)(x)
    # vmap raises whatever the user's module meets inside it.
    except Exception:  # noqa: BLE001  the answer is then no
        return False
    return True


def _by_layers(model: nn.Sequential) -> Callable[[Parameters, Tensor], Tensor] | None:
    """Return a forward pass of plain batched operations, half the overhead of `vmap`, or None."""
    layers = list(named_layers(model))
    linear = [layer for _, layer in layers if isinstance(layer, nn.Linear)]
    tied = len(linear) != len(set(linear))
    plain = {nn.Linear, Embeddings, *_ELEMENTWISE}
    if tied or not all(type(layer) in plain for _, layer in layers):
        return None

    def forward(tensors: Parameters, x: Tensor) -> Tensor:
        for name, layer in layers:
            if isinstance(layer, Embeddings):
                x = layer.stacked(x, tensors, name)
                continue
            if not isinstance(layer, nn.Linear):
                x = layer(x)
                continue
            weight = tensors[f"{name}.weight"].transpose(1, 2)
            if layer.bias is None:
                x = torch.bmm(x, weight)
            else:
                x = torch.baddbmm(tensors[f"{name}.bias"].unsqueeze(1), x, weight)
        return x

    return forward


def _by_vmap(model: nn.Sequential) -> Callable[[Parameters, Tensor], Tensor]:
    def one(tensors: Parameters, x: Tensor) -> Tensor:
        outputs: Tensor = functional_call(model, tensors, (x,))
        return outputs

    # Each copy draws its own numbers for Dropout.
    mapped: Callable[[Parameters, Tensor], Tensor] = vmap(one, randomness="different")
    return mapped
