"""Hedging: a second attempt for the few calls that take longer than nearly all others."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

import numpy as np

# Of the last calls, the latest that a percentile is read from, and how often that is done.
_REMEMBERED: Final = 512
_EVERY: Final = 32
_MOST_TOKENS: Final = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Hedge:
    """Sends an inference a second time where it is late, on another connection.

    Late is later than `percentile` of the calls before. The answer that comes first is taken; the
    other attempt is cancelled, so a server that has not started with it never does. It shortens the
    tail where servers stall one at a time, and it is no help against one that is overloaded: hence
    the budget.

    Attributes:
        percentile: Which share of the calls must have been faster, between 0.5 and 1.
        budget: Second attempts as a share of all calls, above 0 and up to 0.5.
        minimum_s: No second attempt sooner than this.
    """

    percentile: float = 0.95
    budget: float = 0.05
    minimum_s: float = 0.001

    def __post_init__(self) -> None:
        if not 0.5 <= self.percentile < 1:  # noqa: PLR2004  below, most calls would be late
            msg = f"percentile is {self.percentile}, expected 0.5 or more and less than 1"
            raise ValueError(msg)
        if not 0 < self.budget <= 0.5:  # noqa: PLR2004  more would be a second load
            msg = f"budget is {self.budget}, expected a share above 0 and up to 0.5"
            raise ValueError(msg)
        if not self.minimum_s > 0:
            msg = f"minimum_s is {self.minimum_s}, expected a positive number of seconds"
            raise ValueError(msg)


class Hedges:
    """How long calls take, and how many second attempts are left; safe to share between threads."""

    def __init__(self, policy: Hedge) -> None:
        self._policy = policy
        self._lock = threading.Lock()
        self._seconds = np.zeros(_REMEMBERED)
        self._seen = 0
        self._late_s: float | None = None
        self._tokens = 0.0

    def answered(self, seconds: float) -> None:
        """Take note of a call's time, and earn the share of a second attempt."""
        with self._lock:
            self._seconds[self._seen % _REMEMBERED] = seconds
            self._seen += 1
            self._tokens = min(_MOST_TOKENS, self._tokens + self._policy.budget)
            if self._seen % _EVERY == 0:
                known = self._seconds[: min(self._seen, _REMEMBERED)]
                late_s = float(np.quantile(known, self._policy.percentile))
                self._late_s = max(late_s, self._policy.minimum_s)

    def after_s(self) -> float | None:
        """Return when a call that begins now is late; None while nothing is known of its kind."""
        return self._late_s

    def spend(self) -> bool:
        """Take a second attempt from the budget; False where there is none."""
        with self._lock:
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True
