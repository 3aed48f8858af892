"""Layers: torch's notation, such as `Linear(1, 13)`, becomes modules; a factory gives its own."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from torch import nn

from isotherm.trainer.errors import LayerError

# Those of torch.nn that the exporter can express. RReLU is not among them.
ACTIVATIONS: Final[Mapping[str, type[nn.Module]]] = MappingProxyType(
    {
        activation.__name__: activation
        for activation in (
            nn.CELU,
            nn.ELU,
            nn.GELU,
            nn.Hardshrink,
            nn.Hardsigmoid,
            nn.Hardswish,
            nn.Hardtanh,
            nn.LeakyReLU,
            nn.LogSigmoid,
            nn.Mish,
            nn.PReLU,
            nn.ReLU,
            nn.ReLU6,
            nn.SELU,
            nn.SiLU,
            nn.Sigmoid,
            nn.Softplus,
            nn.Softshrink,
            nn.Softsign,
            nn.Tanh,
            nn.Tanhshrink,
            nn.Threshold,
        )
    }
)
_SIZED: Final[Mapping[str, type[nn.Module]]] = MappingProxyType(
    {
        layer.__name__: layer
        for layer in (nn.Linear, nn.Dropout, nn.AlphaDropout, nn.BatchNorm1d, nn.LayerNorm)
    }
)


def parse(text: str) -> nn.Module:
    """Make the layer that `text` describes, such as `Linear(1, 13)` or `Dropout(p=0.2)`.

    Raises:
        LayerError: there is no such layer, or its arguments do not fit.
    """
    name, arguments, keywords = _call(text)
    kind = {**ACTIVATIONS, **_SIZED}.get(name)
    if kind is None or (kind is nn.Linear and not _is_linear(arguments)):
        raise _no_layer(text)
    try:
        return kind(*arguments, **keywords)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _no_layer(text) from error


def from_factory(path: str, *, features: int, outputs: int) -> nn.Sequential:
    """Call `package.module:function`, with the widths where it takes them.

    Raises:
        LayerError: it cannot be imported or called, or gives no module.
    """
    module_name, _, name = path.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        msg = f"cannot import the factory '{path}': {error}; expected package.module:function"
        raise LayerError(msg) from error
    try:
        model = factory(*_widths(factory, features, outputs))
    # Whatever the caller's code raises is the caller's to see, with the factory's name.
    except Exception as error:
        msg = f"the factory '{path}' failed: {type(error).__name__}: {error}"
        raise LayerError(msg) from error
    if not isinstance(model, nn.Module):
        msg = f"the factory '{path}' gave {type(model).__name__}, expected an nn.Sequential"
        raise LayerError(msg)
    return sequential(model)


def sequential(model: nn.Module) -> nn.Sequential:
    """Return the model, inside an `nn.Sequential` of its own unless it is one."""
    return model if isinstance(model, nn.Sequential) else nn.Sequential(model)


def _call(text: str) -> tuple[str, list[Any], dict[str, Any]]:
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if not isinstance(call, ast.Call):
            raise _no_layer(text)
        arguments = [ast.literal_eval(argument) for argument in call.args]
        keywords = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise _no_layer(text) from error
    return ast.unparse(call.func).removeprefix("nn."), arguments, keywords


def _is_linear(arguments: list[Any]) -> bool:
    return len(arguments) > 1 and all(
        isinstance(width, int) and width > 0 for width in arguments[:2]
    )


def _widths(factory: Any, features: int, outputs: int) -> tuple[int, ...]:
    """Return the widths if the factory takes two arguments, nothing if it takes none."""
    try:
        inspect.signature(factory).bind(features, outputs)
    except (TypeError, ValueError):
        return ()
    return features, outputs


def _no_layer(text: str) -> LayerError:
    sized = "Dropout(p), BatchNorm1d(width), LayerNorm(width)"
    known = ", ".join(f"{name}()" for name in ACTIVATIONS)
    msg = f"'{text}' is no layer; expected Linear(inputs, outputs), or one of {sized}, {known}"
    return LayerError(msg)
