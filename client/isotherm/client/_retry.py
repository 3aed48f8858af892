"""The retry policy: which failures gRPC repeats by itself, how often and how soon."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Final

# gRPC takes no more than this, whatever the policy says.
_MAX_ATTEMPTS: Final = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """Repeats a call that ended UNAVAILABLE, within the call's one deadline.

    The back-off grows by `multiplier` from `initial_backoff_s` to `max_backoff_s`, with jitter. A
    budget keeps a broken server from being stormed: `budget` failures in a row use it up, and each
    success earns a tenth of a retry back.

    Attributes:
        attempts: Calls in all, 1 (no retry) to 5.
        budget: How many retries may be saved up for bad times, 1 to 1000.
    """

    attempts: int = 5
    initial_backoff_s: float = 0.1
    max_backoff_s: float = 1.0
    multiplier: float = 2.0
    budget: int = 10

    def __post_init__(self) -> None:
        if not 1 <= self.attempts <= _MAX_ATTEMPTS:
            msg = f"attempts is {self.attempts}, expected 1 to {_MAX_ATTEMPTS}"
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
        if not 1 <= self.budget <= 1000:  # noqa: PLR2004  gRPC's own limit for maxTokens
            msg = f"budget is {self.budget}, expected 1 to 1000"
            raise ValueError(msg)

    def service_config(self, *services: str) -> str:
        """Return gRPC's service config, in JSON, that applies this policy to `services`."""
        if self.attempts == 1:
            return "{}"
        policy = {
            "maxAttempts": self.attempts,
            "initialBackoff": f"{self.initial_backoff_s:.3f}s",
            "maxBackoff": f"{self.max_backoff_s:.3f}s",
            "backoffMultiplier": self.multiplier,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        names = [{"service": service} for service in services]
        return json.dumps(
            {
                "methodConfig": [{"name": names, "retryPolicy": policy}],
                # gRPC stops retrying when half of the tokens are gone.
                "retryThrottling": {"maxTokens": 2 * self.budget, "tokenRatio": 0.1},
            }
        )
