"""The retry policy as a value."""

from __future__ import annotations

import pytest

from isotherm.client import DeadlineExceededError, Retry, ServerFaultError, UnavailableError
from isotherm.client._retry import Retries


def _unavailable(**attributes):
    error = UnavailableError("as told")
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


def test_pauses_grow_up_to_a_limit_give_or_take_a_fifth():
    """Those who failed together do not come back together."""
    retry = Retry(attempts=10, initial_backoff_s=0.1, max_backoff_s=0.5, multiplier=2, budget=1000)
    retries = Retries(retry)
    pauses = [retries.pause_s(_unavailable(), attempts) for attempts in range(1, 6)]

    assert pauses == [pytest.approx(pause, rel=0.2001) for pause in (0.1, 0.2, 0.4, 0.5, 0.5)]
    assert len({retries.pause_s(_unavailable(), 1) for _ in range(20)}) > 1


def test_the_server_s_word_on_the_time_is_kept():
    """Later is allowed, sooner is not; never is never."""
    retries = Retries(Retry(budget=1000))
    pauses = [retries.pause_s(_unavailable(retry_after_s=2.0), 1) for _ in range(20)]

    assert all(pause is not None and 2.0 <= pause <= 2.4 for pause in pauses)
    assert retries.pause_s(_unavailable(final=True), 1) is None


@pytest.mark.parametrize("error", [ServerFaultError("no"), DeadlineExceededError("late")])
def test_what_cannot_get_better_is_not_repeated(error):
    """Nor does it cost any of the budget."""
    retries = Retries(Retry(budget=1))

    assert [None] * 5 == [retries.pause_s(error, 1) for _ in range(5)]
    assert retries.pause_s(_unavailable(), 1) is not None


def test_failures_use_the_budget_up_and_successes_earn_it_back():
    """A tenth of a retry each."""
    retries = Retries(Retry(budget=2))
    spent = [retries.pause_s(_unavailable(), 1) is None for _ in range(5)]
    for _ in range(35):
        retries.succeeded()
    recovered = retries.pause_s(_unavailable(), 1) is not None

    assert [False, False, True, True, True] == spent
    assert recovered


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attempts": 0}, "attempts is 0, expected 1 to 10"),
        ({"attempts": 11}, "attempts is 11, expected 1 to 10"),
        ({"initial_backoff_s": 0.0}, "expected 0 < initial <= max"),
        ({"initial_backoff_s": 2.0}, "expected 0 < initial <= max"),
        ({"max_backoff_s": float("inf")}, "expected 0 < initial <= max"),
        ({"multiplier": 0.5}, "multiplier is 0.5, expected 1 or more"),
        ({"budget": 0}, "budget is 0, expected 1 to 1000"),
        ({"budget": 1001}, "budget is 1001, expected 1 to 1000"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(arguments, message):
    """With what was expected."""
    with pytest.raises(ValueError, match=message):
        Retry(**arguments)
