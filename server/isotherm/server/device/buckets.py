"""Buckets: the sizes of batches for which a lane has a CUDA graph, and which rows run in which."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping


def buckets(max_rows: int) -> tuple[int, ...]:
    """Return 1, 2, 4 and so on, and `max_rows` at the end."""
    return (*(1 << exponent for exponent in range((max_rows - 1).bit_length())), max_rows)


class Choice:
    """Tells in which bucket a batch runs, by what was measured at load.

    Filled up to a bucket, a batch can replay that bucket's graph, which costs one launch. Run as
    it is, it costs a launch a layer, and no row more than it has.
    """

    def __init__(self, eager_s: Mapping[int, float], graph_s: Mapping[int, float]) -> None:
        """Both are seconds by bucket; `graph_s` has those that were captured, the smallest ones."""
        self._buckets = sorted(graph_s)
        # From how many rows on a bucket is worth it.
        self._from = []
        before, before_s = 0, 0.0
        for bucket in self._buckets:
            self._from.append(
                _first_row(before, before_s, bucket, eager_s[bucket], graph_s[bucket])
            )
            before, before_s = bucket, eager_s[bucket]

    @property
    def used(self) -> tuple[int, ...]:
        """The buckets in which any batch runs."""
        pairs = zip(self._buckets, self._from, strict=True)
        return tuple(bucket for bucket, first in pairs if first <= bucket)

    def bucket(self, rows: int) -> int:
        """Return the bucket of a batch; 0 where it runs as it is."""
        index = bisect_left(self._buckets, rows)
        if index == len(self._buckets) or rows < self._from[index]:
            return 0
        return self._buckets[index]


def _first_row(before: int, before_s: float, bucket: int, bucket_s: float, graph_s: float) -> int:
    """Return the first of a bucket's rows that run faster in its graph; one too many if none does.

    `before` is the bucket before. In between, the time of a run is taken to grow evenly.
    """
    if graph_s >= bucket_s:
        return bucket + 1
    if graph_s < before_s or bucket_s <= before_s:
        return before + 1
    share = (graph_s - before_s) / (bucket_s - before_s)
    return min(bucket, before + 1 + int(share * (bucket - before)))
