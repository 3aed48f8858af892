"""The trainer: a table in, a published model version out."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# torch takes seconds to import: the command line's help need not wait for it.
if TYPE_CHECKING:
    from isotherm.trainer.api import Trained, fit
    from isotherm.trainer.sequential import SequentialClassifier, SequentialRegressor

__all__ = ["SequentialClassifier", "SequentialRegressor", "Trained", "fit"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        msg = f"module 'isotherm.trainer' has no attribute '{name}'"
        raise AttributeError(msg)
    module = "sequential" if name.startswith("Sequential") else "api"
    return getattr(importlib.import_module(f"isotherm.trainer.{module}"), name)
