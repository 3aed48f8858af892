"""The layout of a block: nothing overlaps, and the lists that index it are in order."""

from __future__ import annotations

from itertools import pairwise

from isotherm.server import layout
from isotherm.server.layout import CloseReason, ErrorSum, Phase, Rejection


def test_the_fields_of_a_model_follow_each_other_without_overlap():
    """Every field starts where the one before ends."""
    latency = layout.LATENCY_BUCKETS + 1
    sizes = [
        *((offset, 1) for offset in range(layout.REQUESTS)),
        (layout.REQUESTS, layout.CODES),
        (layout.REJECTED, len(Rejection)),
        (layout.BATCHES, len(CloseReason)),
        (layout.BATCH_HISTOGRAM, layout.BATCH_BUCKETS),
        (layout.DURATION, latency),
        *((layout.phase_offset(phase), latency) for phase in Phase),
        (layout.EXEMPLARS, layout.EXEMPLAR_WORDS * layout.LATENCY_BUCKETS),
        (layout.EXACT_BATCHES, 4 * layout.MAX_EXACT_BATCH_SIZE),
        (layout.NAME, 32),
        (layout.PROVIDER, 8),
        (layout.SHA256, 8),
        (layout.FEEDBACK_TARGETS, 1),
        (layout.FEEDBACK_SUMS, layout.MAX_TARGETS * len(ErrorSum)),
        (layout.FEEDBACK_CENTRES, layout.MAX_TARGETS),
        (layout.FEEDBACK_DELAY, 2),
        (layout.FEEDBACK_NAMES, layout.MAX_TARGETS * layout.TARGET_NAME_WORDS),
        (layout.MODEL_WORDS, 0),
    ]

    assert all(start + size == following for (start, size), (following, _) in pairwise(sizes))


def test_single_words_have_places_of_their_own():
    """No two counters share a word."""
    places = [
        layout.USED,
        layout.VERSION,
        layout.MODEL_STATE,
        layout.LOAD_NS,
        layout.QUEUE_REQUESTS,
        layout.QUEUE_ROWS,
        layout.QUEUE_LIMIT_ROWS,
        layout.QUEUE_OLDEST_NS,
        layout.QUEUE_WAIT_NS,
        *(layout.BREAK_EVEN_ROWS, layout.DEVICE_BYTES, layout.GRAPH_SIZES),
        *(layout.BUFFERS_LENT, layout.FELL_BACK),
        layout.UNKNOWN_SINCE_NS,
        layout.OPTIONAL,
        *(layout.LOADS, layout.LOADS + 1),
        layout.LAST_INFERENCE_MS,
        layout.ROWS,
        layout.FAIL_NS,
    ]

    assert sorted(places) == list(range(layout.REQUESTS))


def test_edges_rise():
    """A bucket's edge is above the one before; latencies begin at 50 us."""
    for edges in (layout.LATENCY_EDGES_NS, layout.BATCH_EDGES):
        assert all(left < right for left, right in pairwise(edges))
    assert layout.LATENCY_EDGES_NS[0] == 50_000
    assert layout.LATENCY_EDGES_NS[-1] == 10_000_000_000
    assert layout.BATCH_EDGES[-1] == 1024
