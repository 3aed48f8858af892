"""Core reads sockets where it is polled, on every grpcio that was tested so."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from isotherm.server.transport import experiments

VARIABLE = "GRPC_EXPERIMENTS"


@pytest.mark.parametrize(
    ("version", "tested"),
    [
        ("1.70.9", False),
        ("1.71.0", True),
        ("1.71.2", True),
        ("1.80.0.dev0", True),
        ("1.85.1", True),
        ("1.85.0rc1", True),
        ("1.86.0", False),
        ("1.100.0", False),
        ("2.0.0", False),
        ("0.99", False),
    ],
)
def test_a_version_is_tested_between_the_oldest_and_the_newest(version: str, tested: bool):
    """Minors count as numbers; patches do not count."""
    assert experiments.tested(version) is tested


def test_the_installed_grpcio_is_tested():
    """Or CI runs something else than it says."""
    import grpc

    assert experiments.tested(grpc.__version__)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (None, "-event_engine_listener", True),
        ("", "-event_engine_listener", True),
        ("tcp_frame_size_tuning", "tcp_frame_size_tuning,-event_engine_listener", True),
        ("event_engine_listener", "event_engine_listener", False),
        ("-event_engine_listener,x", "-event_engine_listener,x", True),
    ],
)
def test_the_setting_joins_what_the_user_has_set(
    before: str | None, after: str, told: bool, monkeypatch: pytest.MonkeyPatch
):
    """Whoever names the experiment decides about it."""
    monkeypatch.delenv(VARIABLE, raising=False)
    if before is not None:
        monkeypatch.setenv(VARIABLE, before)
    experiments.read_where_polled()
    assert os.environ[VARIABLE] == after
    assert experiments.reads_where_polled() is told


def test_an_untested_grpcio_is_left_alone(monkeypatch: pytest.MonkeyPatch):
    """An experiment that it no longer knows would be a line on stderr at every start."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(experiments, "version", lambda _package: "9.0.0")
    experiments.read_where_polled()
    assert VARIABLE not in os.environ
    assert not experiments.reads_where_polled()


def test_core_takes_the_setting_and_says_nothing():
    """An unknown experiment would be reported; core's reading threads would be there without it."""
    program = """
import os, threading
from isotherm.server.transport import experiments
experiments.read_where_polled()
from isotherm.server.transport.call import TransportConfig
from isotherm.server.transport.core import CoreTransport
transport = CoreTransport(lambda *ended: None, TransportConfig())
transport.listen("127.0.0.1:0", {})
transport.stop(0)
transport.run()
print([thread.name for thread in threading.enumerate()])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
    assert "socket-reader" not in done.stdout
