"""The shortcut: a small array of a caller who is alone goes out without further ado.

Between two calls of a blocking client the processor does other things, so each function that a call
comes by costs ten times what it costs in a loop. Most calls need nothing of what the others need:
they take one way with few functions on it, and leave it where anything is unusual.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import grpc
import numpy as np

from isotherm.client._answer import Answer
from isotherm.client._blocking_calls import BlockingCalls
from isotherm.client._coalescing import Group, Lone
from isotherm.client._conversation import Conversations
from isotherm.client._errors import IsothermError, was_heard
from isotherm.client._methods import MODEL_INFER
from isotherm.client._plain import Plain
from isotherm.client._prediction import Prediction
from isotherm.client._steps import Deadline
from isotherm.client._trace import imported
from isotherm.v1.tensors import Array

_ROWS_AND_FEATURES: Final = 2
# Beyond, numpy finds a NaN faster than a loop does.
_FEW_ELEMENTS: Final = 256

# What goes on where the first attempt of a call has failed.
GoOn: TypeAlias = Callable[[Group, Any, Deadline, IsothermError], Array | Prediction]


class Shortcut:
    """The way to one model's outputs of a blocking client."""

    def __init__(
        self, group: Group, plain: Plain, conversations: Conversations, calls: BlockingCalls
    ) -> None:
        self.group = group
        self._plain = plain
        self._conversations = conversations
        self._calls = calls
        self._heads: Mapping[tuple[str, str, tuple[int, ...]], bytes] = group.format.envelope.heads

    def infer(self, x: Any, timeout_s: float | None, go_on: GoOn) -> Array | Prediction | None:
        """Return the outputs for `x`; None, before anything is sent, where the way is not free."""
        group, conversations = self.group, self._conversations
        request = self._request(x)
        if timeout_s is None:
            timeout_s = conversations.timeout_s
        now_s = time.monotonic()
        lone = Lone(now_s)
        if request is None or not 0 < timeout_s < math.inf or not self._enter(lone):
            return None
        try:
            try:
                data = self._send(request, timeout_s)
            except IsothermError as error:
                return go_on(group, x, Deadline(now_s + timeout_s, timeout_s), error)
            conversations.retries.succeeded()
            answer: Answer = group.format.reader.read(data)
            if answer.version != group.served.version:
                conversations.look_at_version(group.served, group.key, answer)
            return answer.result
        finally:
            with group.lock:
                following = group.finish(lone)
                if following is not None:
                    following.leader.waiter.appoint(following)

    def _request(self, x: Any) -> bytes | None:
        plain = self._plain
        if (
            type(x) is not np.ndarray
            or x.dtype != plain.dtype
            or x.ndim != _ROWS_AND_FEATURES
            or x.size > _FEW_ELEMENTS
            or imported()
            or self._conversations.closed
            or not self._conversations.is_current(self.group)
        ):
            return None
        # Known only for shapes that the model has taken before.
        head = self._heads.get((plain.name, plain.datatype, x.shape))
        if head is None:
            return None
        if plain.checked:
            for element in x.ravel().tolist():
                # Zero, but for NaN and the infinities.
                if element - element:
                    return None
        raw: bytes = x.tobytes()
        return head + raw

    def _enter(self, lone: Lone) -> bool:
        group = self.group
        with group.lock:
            if group.running or group.pending:
                return False
            group.running.add(lone)
            return True

    def _send(self, request: bytes, timeout_s: float) -> bytes:
        calls = self._calls
        connections = calls.connections
        connection = connections.take()
        heard = False
        try:
            data: bytes = connection.stubs[MODEL_INFER.path](
                request, timeout=timeout_s, metadata=calls.bearer.metadata()
            )
            heard = True
        except grpc.RpcError as exc:
            heard = was_heard(exc)
            raise calls.error(exc, self.group.key[0], MODEL_INFER.path) from exc
        except ValueError as exc:
            calls.check_still_open(exc)
            raise
        except Exception:
            raise
        except BaseException:
            connections.forget(connection)
            raise
        finally:
            for unused in connections.give_back(connection, heard=heard):
                unused.close()
        return data
