"""The retry policy as a value."""

from __future__ import annotations

import json

import pytest

from isotherm.client import Retry


def test_the_policy_becomes_a_service_config():
    """GRPC gets the back-off in its own words, for the named services only."""
    config = json.loads(Retry(attempts=4, budget=20).service_config("a.B"))

    (method,) = config["methodConfig"]
    assert method["name"] == [{"service": "a.B"}]
    assert method["retryPolicy"] == {
        "maxAttempts": 4,
        "initialBackoff": "0.100s",
        "maxBackoff": "1.000s",
        "backoffMultiplier": 2.0,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    assert config["retryThrottling"] == {"maxTokens": 40, "tokenRatio": 0.1}


def test_one_attempt_is_no_policy():
    """GRPC refuses a policy of one attempt."""
    assert Retry(attempts=1).service_config("a.B") == "{}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attempts": 0}, "attempts is 0, expected 1 to 5"),
        ({"attempts": 6}, "attempts is 6, expected 1 to 5"),
        ({"initial_backoff_s": 0.0}, "expected 0 < initial <= max"),
        ({"initial_backoff_s": 2.0}, "expected 0 < initial <= max"),
        ({"max_backoff_s": float("inf")}, "expected 0 < initial <= max"),
        ({"multiplier": 0.5}, "multiplier is 0.5, expected 1 or more"),
        ({"budget": 0}, "budget is 0, expected 1 to 1000"),
        ({"budget": 1001}, "budget is 1001, expected 1 to 1000"),
    ],
)
def test_a_policy_that_grpc_would_ignore_is_refused(arguments, message):
    """GRPC drops an invalid policy silently; here it is a ValueError."""
    with pytest.raises(ValueError, match=message):
        Retry(**arguments)
