"""The retry policy: which failures are repeated, how often, how soon, and when no more."""

from __future__ import annotations

import math
import random
import threading
from dataclasses import dataclass
from typing import Final

from isotherm.client._errors import (
    CallCancelledError,
    OverloadedError,
    RemoteError,
    TransientError,
    UnavailableError,
)

_MOST_ATTEMPTS: Final = 10
_EARNED_BY_A_SUCCESS: Final = 0.1
# A server that has just come back is not to be waited for longer than it takes to connect.
_UNREACHED_PAUSE_S: Final = 0.25
# Callers who failed together must not come back together.
_JITTER: Final = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """Repeats a call that may succeed later, within the call's one deadline.

    That is a call that ended UNAVAILABLE, one that was CANCELLED on the way though its caller did
    not ask for it, and one that an overloaded server refused while saying when to come back
    (RESOURCE_EXHAUSTED with `grpc-retry-pushback-ms`). The server's word on the time holds; without
    one the pause grows by `multiplier` from `initial_backoff_s` to `max_backoff_s`, give or take a
    fifth.

    A budget keeps a broken server from being stormed: `budget` failures in a row use it up, and
    each success earns a tenth of a retry back.

    Attributes:
        attempts: Calls in all, 1 (no retry) to 10.
        budget: How many retries may be saved up for bad times, 1 to 1000.
    """

    attempts: int = 5
    initial_backoff_s: float = 0.1
    max_backoff_s: float = 1.0
    multiplier: float = 2.0
    budget: int = 50

    def __post_init__(self) -> None:
        if not 1 <= self.attempts <= _MOST_ATTEMPTS:
            msg = f"attempts is {self.attempts}, expected 1 to {_MOST_ATTEMPTS}"
            raise ValueError(msg)
        if not 0 < self.initial_backoff_s <= self.max_backoff_s < math.inf:
            msg = (
                f"initial_backoff_s is {self.initial_backoff_s} and max_backoff_s "
                f"{self.max_backoff_s}, expected 0 < initial <= max"
            )
            raise ValueError(msg)
        if not 1 <= self.multiplier < math.inf:
            msg = f"multiplier is {self.multiplier}, expected 1 or more"
            raise ValueError(msg)
        if not 1 <= self.budget <= 1000:  # noqa: PLR2004  more would be no limit
            msg = f"budget is {self.budget}, expected 1 to 1000"
            raise ValueError(msg)


class Retries:
    """What one client may still repeat; safe to share between threads."""

    def __init__(self, policy: Retry) -> None:
        self._policy = policy
        self._full = 2.0 * policy.budget
        self._tokens = self._full
        self._lock = threading.Lock()

    def succeeded(self) -> None:
        """Earn a part of a retry."""
        if self._tokens < self._full:
            with self._lock:
                self._tokens = min(self._full, self._tokens + _EARNED_BY_A_SUCCESS)

    def afford(self) -> bool:
        """Take from the budget for one more call that is no retry; False where it is spent."""
        with self._lock:
            self._tokens = max(0.0, self._tokens - 1)
            return self._tokens >= self._full / 2

    def pause_s(self, error: RemoteError, attempts: int) -> float | None:
        """Return how long to wait before the next attempt; None when there must be none."""
        if not isinstance(error, TransientError | CallCancelledError):
            return None
        spent = False
        # What reached no server is no load for one: how often it is tried, the channel decides.
        if not (isinstance(error, UnavailableError) and error.unreached):
            spent = not self.afford()
        if spent or attempts >= self._policy.attempts or error.final:
            return None
        if isinstance(error, TransientError) and error.retry_after_s is not None:
            # Later is allowed, sooner is not.
            return error.retry_after_s * random.uniform(1, 1 + _JITTER)
        if isinstance(error, OverloadedError):
            return None
        pause_s = _backoff_s(self._policy, attempts)
        if isinstance(error, UnavailableError) and error.unreached:
            pause_s = min(pause_s, _UNREACHED_PAUSE_S)
        return pause_s * random.uniform(1 - _JITTER, 1 + _JITTER)


def _backoff_s(policy: Retry, attempts: int) -> float:
    """Return the pause after so many attempts that failed, without jitter."""
    # Not a power first: ten attempts at a large multiplier overflow.
    pause_s = policy.initial_backoff_s
    for _ in range(attempts - 1):
        pause_s = min(pause_s * policy.multiplier, policy.max_backoff_s)
    return pause_s
