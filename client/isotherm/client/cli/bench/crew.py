"""The crew: the generators' processes, which start together and never stay behind."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Final, Self

from isotherm.client.cli.bench import generator
from isotherm.client.cli.bench.arrivals import Share
from isotherm.client.cli.bench.generator import Broken, Ready, Stop
from isotherm.client.cli.bench.load import Load, Period, Target
from isotherm.client.cli.bench.step import Order
from isotherm.client.cli.bench.tally import Tally, merge
from isotherm.client.cli.failure import Failure

# Between an order and its start: every process must have read it by then.
_NOTICE_S: Final = 0.1
_STOP_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Member:
    """One generator's process, and our end of its pipe."""

    process: BaseProcess
    pipe: Connection


class Crew:
    """Runs `processes` generators on one target while its block lasts."""

    def __init__(self, target: Target, processes: int) -> None:
        self._target = target
        self._processes = processes
        self._members: list[Member] = []

    def __enter__(self) -> Self:
        """Start the processes; raise Failure unless all of them reach the target."""
        try:
            for index in range(self._processes):
                self._members.append(_start(self._target, Share(index, self._processes)))
            for member in self._members:
                _receive(member, Ready)
        except BaseException:
            self._dismiss()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._dismiss()

    def measure(self, load: Load, period: Period) -> tuple[Tally, bool]:
        """Make the load; return what all processes counted, and whether Ctrl-C cut it short."""
        order = Order(load, period, time.monotonic() + _NOTICE_S)
        for member in self._members:
            member.pipe.send(order)
        tallies: dict[int, Tally] = {}
        try:
            self._collect(tallies)
        except KeyboardInterrupt:
            for member in self._members:
                member.pipe.send(Stop())
            self._collect(tallies)
            return merge([*tallies.values()]), True
        return merge([*tallies.values()]), False

    def _collect(self, tallies: dict[int, Tally]) -> None:
        awaited = {
            index: member for index, member in enumerate(self._members) if index not in tallies
        }
        while awaited:
            readable = wait([member.pipe for member in awaited.values()])
            for index, member in [*awaited.items()]:
                if member.pipe in readable:
                    tallies[index] = _receive(awaited.pop(index), Tally)

    def _dismiss(self) -> None:
        for member in self._members:
            member.pipe.close()
        give_up_s = time.monotonic() + _STOP_S
        for member in self._members:
            member.process.join(max(0.0, give_up_s - time.monotonic()))
            if member.process.is_alive():
                member.process.kill()
                member.process.join()
            member.process.close()
        self._members.clear()


def _start(target: Target, share: Share) -> Member:
    # Threads of gRPC run here by now: a fork would inherit their locks.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=generator.main, args=(theirs, target, share), daemon=True, name=f"load-{share.index}"
    )
    with _interrupts_ignored():
        process.start()
    theirs.close()
    return Member(process, ours)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    # What is started in here ignores Ctrl-C from its first moment on.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _receive(member: Member, kind: type[Any]) -> Any:
    try:
        message = member.pipe.recv()
    except (EOFError, ConnectionResetError) as error:
        member.process.join(_STOP_S)
        msg = f"a process of the load ended with exit status {member.process.exitcode}"
        raise Failure(msg) from error
    if isinstance(message, Broken):
        raise Failure(message.reason)
    if not isinstance(message, kind):
        msg = f"a process of the load sent {message!r}, expected its {kind.__name__}"
        raise Failure(msg)
    return message
