"""Callers who ask one after the other, and what came of each call."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc

from isotherm.client import IsothermError
from tests.deploy.processes import eventually

# Makes one call; returns the index of the replica that has answered.
Ask = Callable[[], int]

CALLERS = 40
# Between the beginnings of a caller's calls, at least: quick answers are no reason to ask more.
PACE_S = 0.05
# Nobody asks a server that is gone as fast as it can say so.
PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Call:
    """One call: whose, from when to when, and who answered, or why nobody did."""

    caller: int
    begun_s: float
    ended_s: float
    replica: int | None
    error: str = ""


class Load:
    """Forty callers of one way to the replicas.

    Attributes:
        calls: What has ended so far.
    """

    def __init__(self, ask: Ask, callers: int = CALLERS) -> None:
        self.calls: list[Call] = []
        self._make = ask
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(i,)) for i in range(callers)]

    @contextmanager
    def asking(self) -> Iterator[Load]:
        """Ask as long as the block lasts."""
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join()

    def failed(self) -> list[Call]:
        """Return the calls that nobody answered."""
        return [call for call in self.calls if call.error]

    def errors(self) -> Counter[str]:
        """Return the reasons, and how often each was given."""
        return Counter(call.error for call in self.failed())

    def failed_again(self) -> int:
        """Return how many callers have more than one call that nobody answered."""
        return sum(count > 1 for count in Counter(call.caller for call in self.failed()).values())

    def in_flight(self, moment_s: float) -> int:
        """Return how many calls were on their way, once all of those have ended."""
        return sum(call.begun_s <= moment_s < call.ended_s for call in tuple(self.calls))

    def shares(self, within_s: float) -> Counter[int]:
        """Return how many answers each replica has given of late."""
        since_s = time.monotonic() - within_s
        recent = (call for call in reversed(tuple(self.calls)) if call.ended_s > since_s)
        return Counter(call.replica for call in recent if call.replica is not None)

    def await_answers(self, replicas: Collection[int], *, each: bool = True) -> None:
        """Return when `each` of these replicas has answered of late, or one; and no other has."""

        def answered() -> bool:
            those = set(self.shares(0.5))
            return those == set(replicas) if each else bool(those) and those <= set(replicas)

        eventually(answered, what=f"answers from {replicas} alone")

    def _ask(self, caller: int) -> None:
        while not self._over.is_set():
            begun_s = time.monotonic()
            replica, error = None, ""
            try:
                replica = self._make()
            except grpc.RpcError as refusal:
                assert isinstance(refusal, grpc.Call)
                error = f"{refusal.code().name}: {refusal.details()}"
            except IsothermError as refusal:
                error = f"{type(refusal).__name__}: {refusal}"
            ended_s = time.monotonic()
            self.calls.append(Call(caller, begun_s, ended_s, replica, error))
            self._over.wait(max(begun_s + PACE_S - ended_s, PAUSE_S if error else 0.0))
