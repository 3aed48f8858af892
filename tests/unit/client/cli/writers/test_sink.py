"""A file of whole pieces."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest

from isotherm.client.cli.writers.sink import FileSink


def test_nothing_happens_to_a_file_before_the_first_piece(tmp_path):
    """It may be all that somebody has."""
    path = tmp_path / "x"
    path.write_bytes(b"old\nhalf a li")

    FileSink(path, 4).close()
    assert path.read_bytes() == b"old\nhalf a li"

    sink = FileSink(path, 4)
    sink.write(b"new\n")
    sink.close()
    assert path.read_bytes() == b"old\nnew\n"


def test_a_file_that_got_nothing_is_not_left_behind(tmp_path):
    """An empty one would look like an answer."""
    FileSink(tmp_path / "x").close()

    assert list(tmp_path.iterdir()) == []


def test_a_piece_that_does_not_fit_is_taken_back(tmp_path):
    """As where the disk is full: here the process may write no longer files."""
    path = tmp_path / "x"
    sink = FileSink(path)
    sink.write(b"whole\n")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            sink.write(b"too long\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"whole\n"

    sink.write(b"again\n")
    sink.close()
    assert path.read_bytes() == b"whole\nagain\n"


def test_what_is_no_file_is_written_to_as_well():
    """A device cannot be cut."""
    sink = FileSink(Path("/dev/null"))
    sink.write(b"gone")
    sink.close()

    assert Path("/dev/null").exists()


def test_a_place_that_cannot_be_written_to_is_told_at_once(tmp_path):
    """Before anything is asked for."""
    with pytest.raises(FileNotFoundError):
        FileSink(tmp_path / "absent" / "x")
