"""What happens to a fleet while callers ask: a rolling restart, a replica more, a replica less."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.deploy.balancing.load import CALLERS, Ask, Load
from tests.deploy.balancing.replicas import Fleet
from tests.deploy.processes import eventually

# Of a replica's even share: from there on it counts as having its share.
FAIR = 0.6
# A call that begins before the end of a connection is heard of is put on it.
UNHEARD_S = 0.5
# A worker tells of the others twice a second: so long who watches may take it for not ready.
HEARD_S = 1.0
VICTIM = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of the calls of one way.

    Attributes:
        calls: How many there were.
        errors: Why calls failed, and how often.
        left_s: How long after it was told to stop a replica was still given calls, at the most.
        in_flight: How many were on their way when a replica was killed.
        late: How many failed that had begun well after it.
        again: How many callers lost more than the one that they had.
    """

    calls: int
    errors: Counter[str]
    left_s: float = 0.0
    in_flight: int = 0
    late: int = 0
    again: int = 0

    @property
    def failed(self) -> int:
        """How many calls failed."""
        return self.errors.total()


def rolling_restart(
    fleet: Fleet, ways: Mapping[str, Ask], *, spread: bool = True, settle_s: float = 0.0
) -> dict[str, Outcome]:
    """Restart every replica, one after the other, under the callers of one way or more.

    `spread` says that these ways spread calls, so that all replicas are to be heard of.
    """
    loads = {name: Load(ask) for name, ask in ways.items()}
    everybody = range(len(fleet.replicas))
    with _asking(loads, everybody, spread=spread):
        told = fleet.restart(settle_s)
        for load in loads.values():
            load.await_answers(everybody, each=spread)
    return {
        name: Outcome(len(load.calls), load.errors(), left_s(load, told))
        for name, load in loads.items()
    }


@contextmanager
def _asking(
    loads: Mapping[str, Load], replicas: Sequence[int], *, spread: bool = True
) -> Iterator[None]:
    """All ways under their callers, once these have heard of the replicas."""
    # They may have just been started.
    time.sleep(HEARD_S)
    with ExitStack() as stack:
        for load in loads.values():
            stack.enter_context(load.asking())
        for load in loads.values():
            load.await_answers(replicas, each=spread)
        yield


def left_s(load: Load, told: Mapping[int, tuple[float, float]]) -> float:
    """Return how long replicas were still given calls, at the most, once they were told to stop."""
    spans = [
        call.begun_s - told[call.replica][0]
        for call in load.calls
        if call.replica is not None and told[call.replica][0] < call.begun_s < told[call.replica][1]
    ]
    return max(spans, default=0.0)


def kill(fleet: Fleet, ways: Mapping[str, Ask], *, spread: bool = True) -> dict[str, Outcome]:
    """Kill one replica under the callers of several ways, and start it again after them.

    Where the ways do not spread calls, it is the one that has them.
    """
    loads = {name: Load(ask, CALLERS // len(ways)) for name, ask in ways.items()}
    everybody = range(len(fleet.replicas))
    with _asking(loads, everybody, spread=spread):
        *_, last = loads.values()
        victim = VICTIM if spread else last.shares(0.5).most_common(1)[0][0]
        moment_s = time.monotonic()
        fleet.replicas[victim].kill()
        others = [index for index in everybody if index != victim]
        for load in loads.values():
            load.await_answers(others, each=spread)
    fleet.start([fleet.replicas[victim]])
    return {
        name: Outcome(
            len(load.calls),
            load.errors(),
            in_flight=load.in_flight(moment_s),
            late=sum(call.begun_s > moment_s + UNHEARD_S for call in load.failed()),
            again=load.failed_again(),
        )
        for name, load in loads.items()
    }


def scale_up(
    fleet: Fleet, ways: Mapping[str, Ask], tell: Callable[[], None] = lambda: None
) -> dict[str, tuple[float, Outcome]]:
    """Start the last replica; return after how long it had its share, once it was ready.

    `tell` makes it known, where something else than its health does.
    """
    loads = {name: Load(ask, CALLERS // len(ways)) for name, ask in ways.items()}
    *old, new = fleet.replicas
    took_s: dict[str, float] = {}
    with _asking(loads, [replica.index for replica in old]):
        fleet.start([new])
        ready_s = time.monotonic()
        tell()

        def shared() -> bool:
            for name in loads.keys() - took_s.keys():
                shares = loads[name].shares(1.0)
                if shares[new.index] > FAIR * shares.total() / len(fleet.replicas):
                    took_s[name] = time.monotonic() - ready_s
            return len(took_s) == len(loads)

        eventually(shared, within_s=30, what="a share of the calls for the new replica")
    return {name: (took_s[name], Outcome(len(x.calls), x.errors())) for name, x in loads.items()}
