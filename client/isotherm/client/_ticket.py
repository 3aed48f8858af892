"""A ticket: where a thread waits for its share of a request, or for its turn to make one."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from isotherm.client._coalescing import Batch
from isotherm.client._errors import IsothermError
from isotherm.client._prediction import Prediction
from isotherm.v1.tensors import Array


class Ticket:
    """Where a thread waits for its rows, or for its turn to make a request for all who wait."""

    __slots__ = ("_bell", "_error", "_heirs", "_result", "asleep", "lead", "over")

    def __init__(self) -> None:
        self.over = False
        # False once it goes on without having been woken; only with the lock of its group.
        self.asleep = True
        # Whom it wakes when it is awake.
        self._heirs: Sequence[Ticket] = ()
        # The request that it is to make.
        self.lead: Batch | None = None
        self._result: Any = None
        self._error: IsothermError | None = None
        self._bell: Any = threading.Lock()
        self._bell.acquire()

    def done(self) -> bool:
        """Tell whether it waits no more."""
        return self.over

    def set_result(self, result: Array | Prediction) -> None:
        """Hand it its rows."""
        self.put_result(result)
        self.ring()

    def put_result(self, result: Array | Prediction) -> None:
        """Hand it its rows, and let it sleep on."""
        self._result = result
        self.over = True

    def set_exception(self, error: IsothermError) -> None:
        """Hand it an error of its own."""
        self._error = error
        self.over = True
        self.ring()

    def appoint(self, batch: Batch) -> None:
        """Have it make the next request."""
        self.lead = batch
        self.ring()

    def wait(self, timeout_s: float) -> bool:
        """Wait until something has come; False when nothing has."""
        bell = self._bell
        return bell is None or bool(bell.acquire(timeout=timeout_s))

    def outcome(self) -> Array | Prediction:
        """Return its rows, or raise its error."""
        if self._error is not None:
            try:
                raise self._error
            finally:
                # The traceback would hold the error in a circle.
                self._error = None
        result: Array | Prediction = self._result
        return result

    def ring(self) -> None:
        """Wake it; for once, and by one thread only."""
        bell, self._bell = self._bell, None
        if bell is not None:
            bell.release()

    def bequeath(self, heirs: Sequence[Ticket]) -> None:
        """Have it wake others before it goes on."""
        self._heirs = heirs

    def wake_heirs(self) -> None:
        """Wake the others, if there are any and it has not been done."""
        heirs, self._heirs = self._heirs, ()
        for heir in heirs:
            heir.ring()
