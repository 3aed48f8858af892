"""Streams of batches: how many of them may be on their way."""

from __future__ import annotations

from isotherm.client._errors import InvalidInputError


def check_in_flight(in_flight: int) -> None:
    """Refuse a number of batches that is none."""
    if in_flight < 1:
        msg = f"in_flight is {in_flight}, expected 1 or more batches"
        raise InvalidInputError(msg)
