"""The line between supervisor and worker, over a real socket pair."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from isotherm.server.control import DRAIN, SERVING, Line, Message


@pytest.fixture(name="ends")
def _ends() -> Iterator[tuple[socket.socket, Line]]:
    """A bare socket, and the line at its other end."""
    ours, theirs = socket.socketpair()
    line = Line(theirs)
    with ours:
        yield ours, line
    line.close()


def test_a_message_arrives_with_its_fields(ends):
    """Kind and fields are one JSON object a line."""
    ours, line = ends

    assert line.send(SERVING, port=1, models=["a/1"])
    assert ours.recv(1024) == b'{"kind": "serving", "port": 1, "models": ["a/1"]}\n'


def test_two_lines_understand_each_other():
    """What one sends, the other reads."""
    left, right = (Line(end) for end in socket.socketpair())
    left.send(DRAIN)
    left.send(SERVING, text="line\nbreak, ümlaut")

    assert right.read() == [{"kind": "drain"}, {"kind": "serving", "text": "line\nbreak, ümlaut"}]
    left.close()
    right.close()


def test_a_message_that_comes_in_pieces_is_read_once_it_is_whole(ends):
    """A read may end anywhere, also inside a character."""
    ours, line = ends
    data = json.dumps({"kind": "ü"}, ensure_ascii=False).encode() + b"\n"
    found = []
    for byte in data:
        ours.sendall(bytes([byte]))
        found.append(line.read())

    assert found[:-1] == [[]] * (len(data) - 1)
    assert found[-1] == [{"kind": "ü"}]


def test_a_read_may_bring_one_message_and_a_half(ends):
    """The half is kept for the next read."""
    ours, line = ends
    ours.sendall(b'{"kind": "a"}\n{"ki')
    first = line.read()
    ours.sendall(b'nd": "b"}\n')

    assert first == [{"kind": "a"}]
    assert line.read() == [{"kind": "b"}]


def test_a_message_longer_than_one_read_arrives_whole(ends):
    """A configuration may be longer than a socket's buffer."""
    ours, line = ends
    ours.sendall(json.dumps({"kind": "x" * 100_000}).encode() + b"\n")
    messages: list[Message] | None = []
    while not messages:
        messages = line.read()

    assert messages == [{"kind": "x" * 100_000}]


def test_messages_end_when_the_other_end_has_gone(ends):
    """That is how a worker learns that its supervisor died."""
    ours, line = ends
    ours.sendall(b'{"kind": "a"}\n{"kind": "cut')
    ours.close()

    assert list(line.messages()) == [{"kind": "a"}]
    assert line.read() is None


def test_sending_to_nobody_is_false_and_no_exception(ends):
    """A worker that has gone is noticed by its reader, not by whoever writes to it."""
    ours, line = ends
    ours.close()

    assert not line.send(DRAIN)


def test_reading_a_line_that_is_closed_is_none(ends):
    """Closing one's own end is an end too."""
    _, line = ends
    line.close()

    assert line.read() is None


def test_an_inherited_descriptor_becomes_a_line():
    """A worker gets its end as a number."""
    ours, theirs = socket.socketpair()
    line = Line.from_fd(theirs.detach())
    ours.sendall(b'{"kind": "start"}\n')

    assert line.fileno() > 0
    assert next(line.messages()) == {"kind": "start"}
    line.close()
    ours.close()
