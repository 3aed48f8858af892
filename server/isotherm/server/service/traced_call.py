"""A call that is followed: passes everything on, and notes when and how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable

from isotherm.server.trace_context import Origin
from isotherm.server.transport.call import Call, Metadata, StatusCode


class TracedCall:
    """A call around another one. `ended(call, details)` is told once, when it has its answer."""

    __slots__ = (
        "_call",
        "_ended",
        "answered",
        "code",
        "deadline",
        "ended_ns",
        "model",
        "origin",
        "path",
        "started_ns",
    )

    def __init__(
        self,
        call: Call,
        origin: Origin,
        started_ns: int,
        ended: Callable[[TracedCall, str], None],
    ) -> None:
        self._call = call
        self._ended = ended
        self.path = call.path
        self.deadline = call.deadline
        self.origin = origin
        # Both as perf_counter_ns(); nought while it is open.
        self.started_ns = started_ns
        self.ended_ns = 0
        self.code = StatusCode.OK
        # Whether there is an answer, though its caller may have gone before it came.
        self.answered = False
        # Name and version, where one was found.
        self.model: tuple[str, int] | None = None

    @property
    def trace_id(self) -> str:
        """The trace in hexadecimal digits."""
        return f"{self.origin.trace_id:032x}"

    @property
    def cancelled(self) -> bool:
        """Whether the caller has gone."""
        return self._call.cancelled

    def reply(self, message: bytes) -> None:
        """Answer the call, and note it."""
        if self.ended_ns:
            return
        code = StatusCode.OK
        if self._call.cancelled:
            late = self.deadline is not None and self.deadline <= time.time()
            code = StatusCode.DEADLINE_EXCEEDED if late else StatusCode.CANCELLED
        self._call.reply(message)
        self.answered = True
        self._end(code, "the caller has gone")

    def fail(self, code: StatusCode, details: str, metadata: Metadata = ()) -> None:
        """End the call with an error, and note it."""
        if self.ended_ns:
            return
        self._call.fail(code, details, metadata)
        self._end(code, details)

    def _end(self, code: StatusCode, details: str) -> None:
        self.ended_ns = time.perf_counter_ns()
        self.code = code
        self._ended(self, details)
