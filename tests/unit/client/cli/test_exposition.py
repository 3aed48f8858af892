"""One histogram out of Prometheus' text format."""

from __future__ import annotations

import http.server
import math
import threading

import pytest

from isotherm.client.cli import exposition
from isotherm.client.cli.failure import Failure

_TEXT = r"""
# HELP isotherm_batch_size Rows a batch.
# TYPE isotherm_batch_size histogram
isotherm_batch_size_bucket{le="1.0",model="thermometer",version="1"} 3
isotherm_batch_size_bucket{le="2.0",model="thermometer",version="1"} 3
isotherm_batch_size_bucket{le="4.0",model="thermometer",version="1"} 8
isotherm_batch_size_bucket{le="+Inf",model="thermometer",version="1"} 9
isotherm_batch_size_bucket{model="thermometer",version="2",le="1.0"} 1e1
isotherm_batch_size_bucket{model="thermometer",version="2",le="+Inf"} 12.0
isotherm_batch_size_bucket{le="1.0",model="a\"}b",version="1"} 7
isotherm_batch_size_sum{model="thermometer",version="1"} 30
isotherm_other_bucket{le="1.0",model="thermometer",version="1"} 99
isotherm_up 1
"""


def test_buckets_are_counted_by_themselves():
    """The text's counts are cumulative, ours are not."""
    labels = {"model": "thermometer", "version": "1"}

    assert exposition.bucket_counts(_TEXT, "isotherm_batch_size", labels) == {
        1.0: 3,
        2.0: 0,
        4.0: 5,
        math.inf: 1,
    }


def test_series_that_differ_in_other_labels_are_added():
    """A model's versions count together."""
    counts = exposition.bucket_counts(
        _TEXT.replace('le="2.0"', 'le="1.5"'), "isotherm_batch_size", {"version": "2"}
    )

    assert counts == {1.0: 10, math.inf: 2}


def test_a_label_may_hold_quotes_and_braces():
    """Escaped characters do not end it."""
    counts = exposition.bucket_counts(_TEXT, "isotherm_batch_size", {"model": r"a\"}b"})

    assert counts == {1.0: 7}


def test_a_metric_that_is_not_there_has_no_buckets():
    """An empty answer, no error."""
    assert exposition.bucket_counts(_TEXT, "absent", {}) == {}


@pytest.fixture(name="http_port")
def _http_port():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(503 if self.path == "/metrics" else 200)
            self.end_headers()

        def log_message(self, *_arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_port_that_answers_with_an_error_is_a_failure(http_port):
    """The status is in the sentence."""
    with pytest.raises(Failure, match=f"the metrics port {http_port} answered with status 503"):
        exposition.fetch(http_port)


def test_a_port_where_nobody_answers_is_a_failure():
    """The port is in the sentence."""
    with pytest.raises(Failure, match="the metrics port 1 does not answer"):
        exposition.fetch(1)
