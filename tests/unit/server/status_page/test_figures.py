"""Numbers as people read them."""

from __future__ import annotations

import pytest

from isotherm.server.status_page.figures import number, seconds, share, size, span

THIN = "\N{NARROW NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "\N{EN DASH}"),
        (0, "0"),
        (0.123456, "0.123"),
        (12.34, "12.3"),
        (999.4, "999"),
        (1234.6, f"1{THIN}235"),
        (1234567, f"1{THIN}234{THIN}567"),
    ],
)
def test_numbers_have_three_digits(value: float | None, text: str):
    """More would only flicker."""
    assert text == number(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "\N{EN DASH}"),
        (0, "0"),
        (0.000087, "87 \N{MICRO SIGN}s"),
        (0.0125, "12.5 ms"),
        (2.5, "2.5 s"),
        (0.0000001, "0.1 \N{MICRO SIGN}s"),
    ],
)
def test_times_have_the_unit_that_fits(value: float | None, text: str):
    """From microseconds up."""
    assert text == seconds(value)


def test_sizes_and_shares():
    """Binary units, and percent."""
    assert (size(None), size(512), size(150 << 20)) == ("\N{EN DASH}", "512 B", "150 MiB")
    assert (share(None), share(0.905)) == ("\N{EN DASH}", "90.5 %")


@pytest.mark.parametrize(
    ("value_s", "text"),
    [(0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7200, "2 h 0 min"), (90061, "1 d 1 h")],
)
def test_spans_have_two_units(value_s: float, text: str):
    """The largest two."""
    assert text == span(value_s)
