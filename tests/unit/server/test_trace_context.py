"""W3C trace context: what is taken for a trace, and what is not."""

from __future__ import annotations

import pytest

from isotherm.server.trace_context import Origin, begin, parse, trace_id_of
from tests.unit.server.fakes import FakeCall

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
ORIGIN = Origin(int(TRACE, 16), int(SPAN, 16))


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        # Bits that are not ours to know.
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"00-{TRACE}-{SPAN}-fe", False),
        # A version to come may say more.
        (f"cc-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-holds", True),
    ],
)
def test_a_header_names_the_trace_the_span_and_the_decision(header: str, sampled: bool):
    """As the recommendation writes it."""
    assert parse([("user-agent", "x"), ("traceparent", header)]) == ORIGIN._replace(sampled=sampled)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "x",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-zz",
        f"00-{TRACE[:-1]}-{SPAN}-01",
    ],
)
def test_a_header_that_is_none_is_as_good_as_none(header: str):
    """A caller's mistake must not cost its answer."""
    assert parse([("traceparent", header)]) is None


def test_no_header_is_no_trace():
    """Most calls."""
    assert parse([]) is None


def test_the_state_goes_along():
    """Unless it is longer than anybody need carry."""
    parent = ("traceparent", f"00-{TRACE}-{SPAN}-01")

    assert parse([("tracestate", "vendor=7"), parent]) == ORIGIN._replace(state="vendor=7")
    assert parse([parent, ("tracestate", "vendor=" + "7" * 600)]) == ORIGIN


def test_the_last_of_two_headers_counts():
    """It is the inner one's: an interceptor's span is a part of its caller's."""
    inner = "b" * 16
    headers = [("traceparent", f"00-{TRACE}-{span}-01") for span in (SPAN, inner)]

    assert parse(headers) == ORIGIN._replace(span_id=int(inner, 16))


def test_a_trace_that_begins_has_a_number_and_no_caller():
    """Each another one."""
    origins = [begin() for _ in range(100)]

    assert len({origin.trace_id for origin in origins}) == 100
    assert all(0 < origin.trace_id < 1 << 128 for origin in origins)
    assert {(origin.span_id, origin.sampled) for origin in origins} == {(0, True)}


def test_a_call_that_is_not_followed_has_no_trace():
    """The transports' own calls know nothing of it."""
    assert trace_id_of(FakeCall()) == ""
