"""The shortcut: a small array of the type and shape that a model takes needs no looking into.

Between two calls the processor does other things, so each function that a call comes by costs ten
times what it costs in a loop. Most calls need nothing of what the others need: they take one way
with few functions on it, and leave it where anything is unusual.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np

from isotherm.client._coalescing import Group, PlainMember
from isotherm.client._conversation import Conversations, Outputs
from isotherm.client._plain import Plain
from isotherm.client._questions import Version
from isotherm.client._served import MOST_SHARED_BYTES
from isotherm.client._trace import imported

_ROWS_AND_FEATURES: Final = 2
# Beyond, numpy finds a NaN faster than a loop does.
_FEW_ELEMENTS: Final = 256

# What a call asks for, as its arguments say it.
Asked: TypeAlias = tuple[str, Version, Outputs]


class Shortcut:
    """The way to one model's outputs."""

    __slots__ = ("_conversations", "_heads", "_most_rows", "_plain", "group")

    def __init__(self, group: Group, plain: Plain, conversations: Conversations) -> None:
        self.group = group
        self._plain = plain
        self._conversations = conversations
        self._most_rows: int = group.served.shared_rows
        self._heads: Mapping[tuple[str, str, tuple[int, ...]], bytes] = group.format.envelope.heads

    def member(self, x: Any, timeout_s: float | None) -> PlainMember | None:
        """Return the caller as one of its group; None where it has to be looked into."""
        plain, group = self._plain, self.group
        if (
            type(x) is not np.ndarray
            or x.dtype is not plain.dtype
            or x.ndim != _ROWS_AND_FEATURES
            or group.stale
            or imported()
            or self._conversations.closed
        ):
            return None
        rows, features = x.shape
        if features != plain.features or not 0 < rows <= self._most_rows:
            return None
        if timeout_s is None:
            timeout_s = self._conversations.timeout_s
        if not 0 < timeout_s < math.inf or x.nbytes > MOST_SHARED_BYTES:
            return None
        return PlainMember(group, x, rows, time.monotonic() + timeout_s, timeout_s)

    def request(self, x: Any) -> bytes | None:
        """Return the request for a member's array alone; None where it has to be looked into."""
        plain = self._plain
        # Known only for shapes that the model has taken before.
        head = self._heads.get((plain.name, plain.datatype, x.shape))
        if head is None or x.size > _FEW_ELEMENTS:
            return None
        if plain.cells is not None:
            for element in x.ravel().tolist():
                # Zero, but for NaN and the infinities.
                if element - element:
                    if plain.cells.refused(x) is not None:
                        return None
                    break
        raw: bytes = x.tobytes()
        return head + raw


class Shortcuts:
    """The shortcuts that a client has found, by what calls ask for."""

    def __init__(self, conversations: Conversations) -> None:
        self._conversations = conversations
        self._found: dict[Asked, Shortcut] = {}

    def find(self, model: str, version: Version, outputs: Outputs) -> Shortcut | None:
        """Return the shortcut of a call; None where none is known."""
        if outputs is None or isinstance(outputs, str):
            return self._found.get((model, version, outputs))
        return None

    def remember(self, group: Group, model: str, version: Version, outputs: Outputs) -> None:
        """Take a shortcut the next time, where there is one."""
        plain = group.served.plain
        if plain is None or self._conversations.hedges is not None:
            return
        if outputs is None or isinstance(outputs, str):
            asked = model, version, outputs
            known = self._found.get(asked)
            if known is None or known.group is not group:
                self._found[asked] = Shortcut(group, plain, self._conversations)
