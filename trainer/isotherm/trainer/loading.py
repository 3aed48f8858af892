"""Loading: a module that was made and trained elsewhere, from its factory and its weights."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import torch
from torch import Tensor, nn

from isotherm.trainer.errors import LayerError

_FORMS: Final = "expected package.module:factory, file.py:factory, or a .onnx file"
_SHOWN: Final = 3


def module(source: str, state_dict: Path | None = None) -> nn.Module:
    """Return the module that `source` names, with the weights of `state_dict` if that is given.

    Args:
        source: `package.module:name` or `file.py:name`; the name is of a module, or of a function
            or class that makes one without arguments.
        state_dict: what `torch.save(model.state_dict(), path)` wrote.

    Raises:
        LayerError: there is no such module, or the weights are not its own.
    """
    place, _, name = source.rpartition(":")
    if not place or not name:
        msg = f"'{source}' is no model; {_FORMS}"
        if source.endswith((".pt", ".pth")):
            msg = (
                f"'{source}' holds weights without layers; give what makes the layers as well: "
                f"isotherm export file.py:factory --state-dict {source}"
            )
        raise LayerError(msg)
    made = _made(source, _attribute(source, _imported(place, source), name))
    if state_dict is not None:
        _load(made, weights(state_dict), state_dict)
    return made


def weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by name; nothing but tensors is unpickled.

    Raises:
        LayerError: the file cannot be read, or holds something else.
    """
    expected = "expected what torch.save(model.state_dict(), path) writes"
    try:
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        msg = f"cannot read the weights '{path}': {error.strerror}; {expected}"
        raise LayerError(msg) from error
    # Whatever a foreign file provokes in pickle or zip.
    except Exception as error:
        msg = f"'{path}' holds something else than weights; {expected}"
        raise LayerError(msg) from error
    if not isinstance(loaded, Mapping) or not all(
        isinstance(value, Tensor) for value in loaded.values()
    ):
        msg = f"'{path}' holds something else than tensors by name; {expected}"
        raise LayerError(msg)
    return dict(loaded)


def _imported(place: str, source: str) -> ModuleType:
    try:
        if not place.endswith(".py"):
            return importlib.import_module(place)
        path = Path(place)
        spec = importlib.util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            msg = f"cannot import '{place}'; {_FORMS}"
            raise LayerError(msg)
        found = importlib.util.module_from_spec(spec)
        # As `python file.py` does: the file finds its neighbours.
        sys.path.insert(0, str(path.parent.absolute()))
        try:
            spec.loader.exec_module(found)
        finally:
            sys.path.pop(0)
    except LayerError:
        raise
    # The file is the caller's, and so is what it raises.
    except Exception as error:
        msg = f"cannot import '{place}' for '{source}': {type(error).__name__}: {error}"
        raise LayerError(msg) from error
    return found


def _attribute(source: str, found: ModuleType, name: str) -> Any:
    if not hasattr(found, name):
        msg = f"'{source}': the module has no '{name}'"
        raise LayerError(msg)
    return getattr(found, name)


def _made(source: str, factory: Any) -> nn.Module:
    try:
        made = factory if isinstance(factory, nn.Module) else factory()
    # The factory is the caller's, and so is what it raises.
    except Exception as error:
        msg = f"the factory '{source}' failed: {type(error).__name__}: {error}"
        raise LayerError(msg) from error
    if not isinstance(made, nn.Module):
        msg = f"the factory '{source}' gave {type(made).__name__}, expected an nn.Module"
        raise LayerError(msg)
    return made


def _load(made: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    own = made.state_dict()
    problems = [
        *(f"{name} is missing" for name in own if name not in state),
        *(f"the model has no {name}" for name in state if name not in own),
        *(
            f"{name} is {tuple(state[name].shape)}, expected {tuple(value.shape)}"
            for name, value in own.items()
            if name in state and state[name].shape != value.shape
        ),
    ]
    if problems:
        more = f" ... ({len(problems)})" if len(problems) > _SHOWN else ""
        msg = f"the weights '{path}' are not this model's: {'; '.join(problems[:_SHOWN])}{more}"
        raise LayerError(msg)
    made.load_state_dict(state)
