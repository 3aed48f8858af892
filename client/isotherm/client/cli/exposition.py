"""Prometheus' text format, as far as one histogram needs it."""

from __future__ import annotations

import http.client
import math
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Final

from isotherm.client.cli.failure import Failure

_SAMPLE: Final = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)\{(?P<labels>.*)\}\s+(?P<value>\S+)")
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def fetch(port: int) -> str:
    """Return the metrics that the server on `port` of this machine exports."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        if response.status != http.client.OK:
            msg = f"the metrics port {port} answered with status {response.status}"
            raise Failure(msg)
        return response.read().decode()
    except (OSError, http.client.HTTPException) as error:
        msg = f"the metrics port {port} does not answer: {error!r}"
        raise Failure(msg) from error
    finally:
        connection.close()


def bucket_counts(text: str, name: str, labels: Mapping[str, str]) -> dict[float, int]:
    """Return a histogram's observations by upper bound, not cumulated.

    Series that carry `labels` and differ in others, as a model's versions do, are added up.
    """
    cumulated: dict[float, float] = {}
    for sample in map(_SAMPLE.match, text.splitlines()):
        if sample is None or sample["name"] != f"{name}_bucket":
            continue
        found = dict(_LABEL.findall(sample["labels"]))
        if labels.items() <= found.items():
            bound = float(found["le"])
            cumulated[bound] = cumulated.get(bound, 0.0) + float(sample["value"])
    rising = [(-math.inf, 0.0), *sorted(cumulated.items())]
    return {bound: round(count - below) for (_, below), (bound, count) in pairwise(rising)}
