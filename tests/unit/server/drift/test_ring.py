"""The ring: what is written comes out whole and in order, or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from isotherm.server.drift import ring as rings
from isotherm.server.drift.ring import CAPACITY, Reader, Records, Ring, Text, Writer


@pytest.fixture(name="ring")
def _ring():
    """An empty ring."""
    return Ring.create()


def table(rows: int, columns: int, start: float = 0.0):
    """Return numbers that are all different."""
    return (start + np.arange(rows * columns, dtype=np.float32)).reshape(rows, columns)


class _Deadly(int):
    """A number whose sum is the death of who adds it."""

    def __add__(self, _other: int) -> int:
        raise SystemExit


def read(reader: Reader, features: int, predictions: int) -> list[tuple[int, list[list[float]]]]:
    """Return the rows that were written since the last time, with their models' numbers."""
    reader.look()
    found = []
    for record in reader.read():
        assert isinstance(record, Records)
        found.append((record.number, record.table(features, predictions).tolist()))
    return found


@pytest.mark.parametrize(("features", "predictions"), [(1, 1), (3, 2), (2, 0), (5, 1)])
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_rows_come_out_as_they_went_in(ring, rows, features, predictions):
    writer, reader = Writer(ring), Reader(ring)
    x, y = table(rows, features), table(rows, predictions, 1000)
    assert writer.rows(3, x, y)

    assert read(reader, features, predictions) == [(3, np.hstack((x, y)).tolist())]
    assert read(reader, features, predictions) == []


def test_what_cannot_be_copied_as_it_lies_is_copied_all_the_same(ring):
    """Strided columns, and bytes that a message holds at an odd place."""
    writer, reader = Writer(ring), Reader(ring)
    wide = table(6, 4)
    odd = np.frombuffer(b"\0" + table(3, 1, 50).tobytes(), np.uint8)[1:].view("<f4")
    assert writer.rows(0, wide[::2, :2], odd.reshape(3, 1))
    assert writer.rows(1, wide[1::2, 1:3], wide[1::2, :1])

    assert read(reader, 2, 1) == [
        (0, [[0, 1, 50], [8, 9, 51], [16, 17, 52]]),
        (1, [[5, 6, 4], [13, 14, 12], [21, 22, 20]]),
    ]


def test_records_that_are_alike_come_together(ring):
    """A thousand batches of a row cost the reader one step."""
    writer, reader = Writer(ring), Reader(ring)
    for row in range(1000):
        writer.rows(5, table(1, 3, row), table(1, 1, -row))
    writer.rows(6, table(1, 3), table(1, 1))
    first, second = read(reader, 3, 1)

    assert first[0] == 5
    assert first[1] == [[row, row + 1, row + 2, -row] for row in range(1000)]
    assert second == (6, [[0, 1, 2, 0]])


def test_it_goes_round_and_round(ring):
    """Three times the ring's size, in records of many sizes, and of text among them."""
    random = np.random.default_rng(0)
    writer, reader = Writer(ring), Reader(ring)
    written: list[object] = []
    found: list[object] = []
    words = 0
    while words < 3 * CAPACITY:
        rows = int(random.integers(1, 4000))
        x, y = table(rows, 8, len(written)), table(rows, 1)
        assert writer.rows(1, x, y)
        written.append(float(x.sum(dtype=float) + y.sum(dtype=float)))
        assert writer.text(2, b"t" * (rows % 13))
        written.append(rows % 13)
        words += rows * 9 // 2
        reader.look()
        for record in reader.read():
            if isinstance(record, Text):
                found.append(len(record.text))
            else:
                assert record.payload.shape[0] == 1
                x, y = record.table(8, 1)[:, :8], record.table(8, 1)[:, 8:]
                found.append(float(x.sum(dtype=float) + y.sum(dtype=float)))

    assert found == written


def test_a_full_ring_takes_nothing_and_loses_nothing(ring):
    writer, reader = Writer(ring), Reader(ring)
    x, y = table(rings.MAX_ROWS, 32), table(rings.MAX_ROWS, 1)
    count = 0
    while writer.rows(0, x, y):
        count += 1
    assert not writer.text(0, b"x" * 8 * CAPACITY)

    assert len(read(reader, 32, 1)[0][1]) == count * rings.MAX_ROWS
    assert writer.rows(0, x, y)


def test_what_a_writer_did_not_finish_is_not_there(ring, monkeypatch):
    """It dies between the copy and the word that makes the copy a record."""
    writer, reader = Writer(ring), Reader(ring)
    writer.rows(0, table(1, 1, 1), table(1, 1, 1))
    with monkeypatch.context() as patched:
        patched.setattr(rings, "_DATA", _Deadly(rings._DATA))
        with pytest.raises(SystemExit):
            writer.rows(0, table(2, 1, 70), table(2, 1, 80))
    # Its successor.
    Writer(ring).rows(0, table(1, 1, 2), table(1, 1, 2))

    assert [rows for _, rows in read(reader, 1, 1)] == [[[1, 1], [2, 2]]]


def test_only_what_was_there_at_the_look_is_read(ring):
    """Processors may show a count of words before the words."""
    writer, reader = Writer(ring), Reader(ring)
    writer.rows(0, table(1, 1), table(1, 1))
    assert reader.look()
    writer.rows(0, table(1, 1), table(1, 1))

    assert sum(len(record.payload) for record in reader.read() if isinstance(record, Records)) == 1
    assert reader.look()


@pytest.mark.parametrize("size", [0, 1 << 20])
def test_what_is_no_record_is_given_up(ring, size):
    """And the next look goes on behind it."""
    writer, reader = Writer(ring), Reader(ring)
    writer.rows(0, table(1, 1), table(1, 1))
    ring.words[rings._DATA] = 1 | size << 24 | 1 << 60
    reader.look()
    with pytest.raises(ValueError, match=f"a record of {size} words where 2 are left"):
        list(reader.read())
    writer.rows(0, table(1, 1, 5), table(1, 1, 6))

    assert read(reader, 1, 1) == [(0, [[5, 6]])]


def test_records_too_short_for_their_model_are_refused(ring):
    writer, reader = Writer(ring), Reader(ring)
    writer.rows(0, table(2, 1), table(2, 1))
    reader.look()
    (record,) = reader.read()

    assert isinstance(record, Records)
    with pytest.raises(ValueError, match="cannot hold 2 rows"):
        record.table(3, 1)


def test_the_reader_says_how_many_rows_it_wants(ring):
    """By the rows that it sees go by."""
    writer, reader = Writer(ring), Reader(ring)
    writer.open(4)
    words, seen, stride = writer.counts(4)
    assert words[stride] == 1
    words[seen] += 150
    reader.want(4, 7)
    assert (words[stride], reader.seen(4)) == (7, 150)
    writer.open(4)
    assert (words[stride], reader.seen(4)) == (1, 0)
