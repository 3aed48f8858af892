"""Which transport is taken, and the self-check that decides over the fast one."""

from __future__ import annotations

import importlib
import logging
import subprocess
import sys
import time
from typing import Any

import pytest

from isotherm.server.transport.call import TransportConfig
from isotherm.server.transport.choose import choose_transport
from isotherm.server.transport.core import self_check
from isotherm.server.transport.experiments import TESTED_GRPCIO
from tests.unit.server.serving import Name

cygrpc: Any = importlib.import_module("grpc._cython.cygrpc")


def chosen(name: str, prelude: str = "") -> tuple[str, list[str]]:
    """Return what a fresh process takes, and the warnings it logs, after some preparation."""
    program = (
        "import logging, sys, tempfile, grpc\n"
        "logging.basicConfig(format='%(levelname)s %(message)s')\n"
        f"{prelude}\n"
        "from isotherm.server.transport.choose import choose_transport\n"
        "from isotherm.server.transport.call import TransportConfig\n"
        "name, transport = choose_transport(\n"
        "    sys.argv[1], lambda path, code: None, TransportConfig())\n"
        "transport.listen('127.0.0.1:0', {})\n"
        "transport.call_soon_threadsafe(lambda: transport.stop(0))\n"
        "transport.run()\n"
        "print(name)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, name],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    warnings = [line for line in result.stderr.splitlines() if line.startswith("WARNING")]
    return result.stdout.strip(), warnings


@pytest.mark.parametrize("name", ["core", "aio"])
def test_what_is_asked_for_is_taken(name: Name, caplog):
    """Without a word."""
    taken, transport = choose_transport(name, lambda *_ended: None, TransportConfig())
    transport.listen("127.0.0.1:0", {})
    transport.call_soon_threadsafe(lambda: transport.stop(0.0))
    transport.run()

    assert taken == name
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_auto_takes_the_fast_one_on_a_tested_grpcio():
    """Without a word."""
    newest = ".".join(map(str, TESTED_GRPCIO[1]))

    assert chosen("auto", f"grpc.__version__ = '{newest}.9'") == ("core", [])


def test_auto_takes_the_portable_one_on_an_untested_grpcio():
    """With one warning that names the version and the way to insist."""
    name, warnings = chosen("auto", "grpc.__version__ = '99.1.0'")

    assert name == "aio"
    assert warnings == [
        "WARNING transport core is untested on grpcio 99.1.0 (tested: 1.71 to 1.85): taking aio, "
        "which is slower; --transport core insists"
    ]


def test_an_untested_grpcio_does_not_stop_who_insists():
    """The self-check still decides."""
    assert chosen("core", "grpc.__version__ = '99.1.0'") == ("core", [])


def test_auto_takes_the_portable_one_when_the_self_check_fails():
    """Here the private socket's path is too long for the system."""
    prelude = "import os\ntempfile.tempdir = tempfile.mkdtemp(suffix='x' * 200)"
    name, warnings = chosen(
        "auto", f"{prelude}\nimport atexit\natexit.register(os.rmdir, tempfile.tempdir)"
    )

    assert name == "aio"
    (warning,) = warnings
    assert "transport core does not work on grpcio" in warning
    assert warning.endswith("taking aio, which is slower")


def test_auto_takes_the_portable_one_where_no_file_can_be_made():
    """A container's root may be read-only, and without /tmp."""
    name, warnings = chosen("auto", "tempfile.tempdir = '/proc/nowhere'")

    assert name == "aio"
    assert len(warnings) == 1


def test_the_self_check_returns_a_finished_call_that_can_wake():
    """An empty batch on it is an event in the queue, as often as one likes."""
    completion_queue = cygrpc.CompletionQueue()
    call = self_check(completion_queue)
    tags = []
    for number in range(3):
        assert call.start_server_batch((), number) == 0
        tags.append(completion_queue.poll(time.time() + 10).tag)
    completion_queue.shutdown()
    last = completion_queue.poll(time.time() + 10)

    assert tags == [0, 1, 2]
    assert last.completion_type == cygrpc.CompletionType.queue_shutdown
