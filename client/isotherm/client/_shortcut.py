"""The shortcut: a small array of the type and shape that a model takes needs no looking into.

Between two calls the processor does other things, so each function that a call comes by costs ten
times what it costs in a loop. Most calls need nothing of what the others need: they take one way
with few functions on it, and leave it where anything is unusual.
"""

from __future__ import annotations

import math
from sys import modules
from time import monotonic
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from isotherm.client._coalescing import Group, PlainMember
from isotherm.client._conversation import Conversations, Outputs
from isotherm.client._questions import Version
from isotherm.client._served import MOST_SHARED_BYTES
from isotherm.client._trace import MODULE as TRACING

# What a call asks for, as its arguments say it.
Asked: TypeAlias = tuple[str, Version, Outputs]


class Shortcut(NamedTuple):
    """The way to one model's outputs: which arrays may take it.

    Attributes:
        group: Whom they go with.
        dtype: What they are of.
        rows: Their shapes, and how many rows each has.
    """

    group: Group
    dtype: np.dtype[Any]
    rows: dict[tuple[int, ...], int]


class Shortcuts:
    """The shortcuts that a client has found, by what calls ask for."""

    def __init__(self, conversations: Conversations) -> None:
        self._conversations = conversations
        self._found: dict[Asked, Shortcut] = {}

    def member(
        self, model: str, x: Any, version: Version, outputs: Outputs, timeout_s: float | None
    ) -> PlainMember | None:
        """Return the caller as one of a group; None where it has to be looked into."""
        if outputs is not None and not isinstance(outputs, str):
            return None
        found = self._found.get((model, version, outputs))
        if found is None or type(x) is not np.ndarray:
            return None
        group, dtype, sizes = found
        rows = sizes.get(x.shape)
        conversations = self._conversations
        if (
            rows is None
            or x.dtype is not dtype
            or group.stale
            or TRACING in modules
            or conversations.closed
        ):
            return None
        if timeout_s is None:
            timeout_s = conversations.timeout_s
        elif not 0 < timeout_s < math.inf:
            return None
        return PlainMember(group, x, rows, monotonic() + timeout_s, timeout_s)

    def remember(self, group: Group, model: str, version: Version, outputs: Outputs) -> None:
        """Take a shortcut the next time, where there is one."""
        plain = group.served.plain
        if plain is None or self._conversations.hedges is not None:
            return
        if outputs is None or isinstance(outputs, str):
            asked = model, version, outputs
            known = self._found.get(asked)
            if known is None or known.group is not group:
                most = min(group.served.shared_rows, MOST_SHARED_BYTES // plain.row_bytes)
                rows: dict[tuple[int, ...], int] = {
                    (count, plain.features): count for count in range(1, most + 1)
                }
                self._found[asked] = Shortcut(group, plain.dtype, rows)
