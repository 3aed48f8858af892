"""Child processes: ready or told why not, and none left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

from isotherm.client.cli import processes
from isotherm.client.cli.failure import Failure

_SERVER = """
import http.server, signal, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

status = int(sys.argv[2])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(status))
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture(name="module")
def _module(tmp_path, monkeypatch):
    def write(text):
        (tmp_path / "child.py").write_text(text)
        return "child"

    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return write


def test_free_ports_are_different_and_free():
    """Each can be bound at once."""
    ports = processes.free_ports(3)

    assert len(set(ports)) == 3
    for port in ports:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))


def test_a_server_is_waited_for_and_stopped(module, tmp_path):
    """Ready means that it answers; stopping means exit status 0."""
    (port,) = processes.free_ports(1)
    log = tmp_path / "log"

    with processes.running(module(_SERVER), str(port), "0", log=log) as process:
        processes.wait_ready(process, port, log, 20)
        processes.stop(process, log)

    assert process.returncode == 0


def test_a_server_that_exits_with_another_status_is_a_failure(module, tmp_path):
    """The status is in the sentence."""
    (port,) = processes.free_ports(1)
    log = tmp_path / "log"

    with processes.running(module(_SERVER), str(port), "3", log=log) as process:
        processes.wait_ready(process, port, log, 20)
        with pytest.raises(Failure, match="answered SIGTERM with exit status 3"):
            processes.stop(process, log)


def test_a_server_that_ends_before_it_is_ready_is_told_with_its_last_words(module, tmp_path):
    """Nobody waits for a process that is gone."""
    log = tmp_path / "log"
    name = module("raise SystemExit('no such model')")

    with (
        processes.running(name, log=log) as process,
        pytest.raises(Failure, match=r"exit status 1 before it was ready; .*\n  no such model"),
    ):
        processes.wait_ready(process, 1, log, 20)


def test_a_server_that_is_never_ready_is_ended(module, tmp_path):
    """The wait has an end, and the process too."""
    log = tmp_path / "log"
    name = module("import signal; signal.pause()")

    with (
        pytest.raises(Failure, match=r"not ready within 0\.2 s"),
        processes.running(name, log=log) as process,
    ):
        processes.wait_ready(process, 1, log, 0.2)

    assert process.returncode == -signal.SIGTERM


def test_the_last_line_of_a_run_is_returned_and_all_are_shown(module, capsys):
    """Output appears as it comes."""
    last = processes.run(module("print('epoch 1'); print('published here'); print()"))

    assert last == "published here"
    assert capsys.readouterr().out == "epoch 1\npublished here\n\n"


def test_a_run_that_fails_is_a_failure(module):
    """The module and the status are named."""
    with pytest.raises(Failure, match="python -m child ended with exit status 4"):
        processes.run(module("raise SystemExit(4)"))


def test_sigterm_ends_the_children_as_well(module, tmp_path):
    """Whoever stops the demo stops its server."""
    name = module("import os, signal; print(os.getpid(), flush=True); signal.pause()")
    parent = (
        "import sys, pathlib\n"
        "from isotherm.client.cli import processes\n"
        "with processes.sigterm_unwinds():\n"
        f"    processes.run({name!r})\n"
    )

    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout is not None
        child = int(one.stdout.readline())
        one.terminate()
        status = one.wait(20)

    assert status == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
