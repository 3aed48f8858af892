"""REST's life: off unless asked for, drained first, started again; no accepted request is lost."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import models
from tests.support.ports import free_port
from tests.support.processes import children
from tests.support.rest import Reply, Rest, binary_request, send, tensor
from tests.support.server import Server, command, eventually, failing, serving

REQUEST = {"inputs": [tensor("x", np.array([[1.0]], np.float32))]}
HEAVY = np.zeros((2048, 256), np.float32)


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of a quick model and a slow one."""
    folder = tmp_path_factory.mktemp("models")
    models.publish(folder, "doubling", models.doubling())
    models.publish(folder, "heavy", models.mlp((256, 2048, 2048, 8)))
    return folder


@contextmanager
def rest_of(folder: Path, *flags: str) -> Iterator[tuple[Server, Rest]]:
    """Run a server with REST."""
    port = free_port()
    with serving(folder, "--http-port", str(port), *flags) as server:
        rest = Rest(port)
        # Until the gateway accepts, the kernel keeps callers waiting.
        assert eventually(lambda: rest.get("/v2/health/ready").status == 200)
        yield server, rest


def processes(server: Server, module: str) -> list[int]:
    """Return the ids of a server's processes that run a module."""
    found = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in children(server.process.pid)}
    return [pid for pid, line in found.items() if f"isotherm.server.{module}" in line.split("\0")]


class Load:
    """Callers that never pause; what they got, and what went wrong after a connection was had."""

    def __init__(self, rest: Rest, model: str = "doubling", callers: int = 4) -> None:
        self.answers = 0
        self.failed: list[str] = []
        self.refused = threading.Event()
        self._rest, self._model = rest, model
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(callers)]

    def __enter__(self) -> Load:
        """Begin, and wait for the first answers."""
        for thread in self._threads:
            thread.start()
        assert eventually(lambda: self.answers > 20)
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._done.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self) -> None:
        body = json.dumps(REQUEST).encode()
        while not self._done.is_set():
            connection = self._rest.connect()
            try:
                connection.connect()
            except ConnectionRefusedError:
                self.refused.set()
                time.sleep(0.01)
                continue
            try:
                reply = send(connection, "POST", f"/v2/models/{self._model}/infer", body)
                self.answers += 1
                if reply.status != 200:
                    self.failed.append(f"{reply.status} {reply.body!r}")
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
            finally:
                connection.close()


def test_a_port_that_is_taken_is_one_sentence(folder: Path) -> None:
    """It names the port and the flag."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        status, error = failing(folder, "--http-port", str(port))

    assert status == 1
    assert error.splitlines()[-1] == (
        f"isotherm serve: cannot bind the HTTP port 127.0.0.1:{port}: Address already in use; "
        "choose another (--http-port)"
    )


def test_without_the_extra_the_flag_says_what_to_install(folder: Path) -> None:
    """One sentence, whatever Python has to say about it."""
    hidden = "import sys, runpy; sys.modules['uvicorn'] = None; runpy.run_module('isotherm.server')"
    arguments = command(folder, "--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")[3:]
    result = subprocess.run(
        [
            sys.executable,
            "-c",
            hidden.replace("server')", "server', run_name='__main__')"),
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        "isotherm serve: --http-port needs an HTTP server: pip install 'isotherm[rest]'"
    )


@pytest.mark.parametrize("transport", ["core", pytest.param("aio", marks=pytest.mark.slow)])
def test_requests_in_flight_are_answered_before_the_end(
    folder: Path, transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that a worker runs, and one whose body is still on its way; then all is gone."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    body, headers = binary_request([("x", "FP32", HEAVY)], parameters={"binary_data_output": True})
    replies: list[Reply] = []
    with rest_of(folder, "--transport", transport) as (server, rest):
        (private,) = [path for path in tmp_path.iterdir() if (path / "0").is_socket()]
        mode = private.stat().st_mode & 0o777

        def infer() -> None:
            replies.append(rest.request("POST", "/v2/models/heavy/infer", body, **headers))

        callers = [threading.Thread(target=infer) for _ in range(4)]
        for caller in callers:
            caller.start()
        slow = rest.connect()
        slow.putrequest("POST", "/v2/models/doubling/infer")
        text = json.dumps(REQUEST).encode()
        slow.putheader("Content-Length", str(len(text)))
        slow.endheaders()
        slow.send(text[:10])
        series = 'isotherm_queue_pending_requests{model="heavy",version="1"}'
        assert eventually(lambda: server.metric(series) >= 2)
        server.process.send_signal(signal.SIGTERM)
        assert eventually(lambda: "draining" in server.log)
        assert eventually(lambda: not accepts(rest))
        slow.send(text[10:])
        late = slow.getresponse().status
        for caller in callers:
            caller.join(60)
        status = server.process.wait(30)
        log = server.log

    assert [200] * 4 == [reply.status for reply in replies]
    assert late == 200
    assert status == 0, log
    assert "every accepted call was answered" in log
    assert mode == 0o700
    assert not private.exists()


def accepts(rest: Rest) -> bool:
    """Tell whether the port takes connections."""
    connection = rest.connect()
    try:
        connection.connect()
    except OSError:
        return False
    connection.close()
    return True


@pytest.mark.parametrize(
    "group",
    [pytest.param(False, marks=pytest.mark.slow), True],
    ids=["one process", "its group"],
)
def test_a_stop_under_load_loses_no_request(folder: Path, group: bool) -> None:
    """Not ready, and alive, and serving on: whoever had a connection gets an answer.

    Also when every process hears the signal. Connections end with their answers, so that callers
    move on.
    """
    flags = ("--workers", "2", "--drain-delay", "1")
    with rest_of(folder, *flags) as (server, rest), Load(rest) as load:
        before = rest.infer("doubling", REQUEST)
        targets = [server.process.pid]
        if group:
            targets = [*processes(server, "rest"), *processes(server, "process"), *targets]
        for pid in targets:
            os.kill(pid, signal.SIGTERM)
        not_ready = eventually(lambda: rest.get("/v2/health/ready").content == {"ready": False})
        live, during = rest.get("/v2/health/live"), rest.infer("doubling", REQUEST)
        assert load.refused.wait(20)
        status = server.process.wait(20)

    assert load.failed == []
    assert not_ready
    assert (200, 200) == (live.status, during.status)
    assert "connection" not in before.headers
    assert during.headers["connection"] == "close"
    assert status == 0


def test_who_sees_that_grpc_is_ready_may_ask_by_http(folder: Path) -> None:
    """A pod is ready by its gRPC: whoever is sent there by HTTP is not refused for a moment."""
    port = free_port()
    with serving(folder, "--http-port", str(port)):
        reply = Rest(port).infer("doubling", REQUEST)

    assert reply.status == 200, reply.body


def test_a_killed_gateway_is_started_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers wait meanwhile: nobody is refused; the workers never noticed.

    On any free port, which the log announces; the environment is as good as the flag.
    """
    monkeypatch.setenv("ISOTHERM_HTTP_PORT", "0")
    with serving(folder) as server:
        assert eventually(lambda: "REST on http://127.0.0.1:" in server.log)
        rest = Rest(int(server.log.partition("REST on http://127.0.0.1:")[2].partition("/")[0]))
        (first,) = processes(server, "rest")
        workers = processes(server, "process")
        os.kill(first, signal.SIGKILL)
        assert eventually(lambda: "gateway ended with status -9" in server.log)
        reply = rest.infer("doubling", REQUEST)
        (second,) = processes(server, "rest")
        same = processes(server, "process") == workers
        status = server.stop()

    assert reply.status == 200
    assert first != second
    assert same
    assert status == 0


@pytest.mark.slow
def test_a_killed_worker_costs_its_own_calls_alone(folder: Path) -> None:
    """The other answers all that comes after; then both do again."""
    with rest_of(folder, "--workers", "2") as (server, rest):
        victim = processes(server, "process")[0]
        os.kill(victim, signal.SIGKILL)
        assert eventually(lambda: "ended with status -9" in server.log)
        meanwhile = [rest.infer("doubling", REQUEST).status for _ in range(20)]
        back = eventually(lambda: rest.get("/v2/health/ready").status == 200, 30)
        after = [rest.infer("doubling", REQUEST).status for _ in range(20)]
        status = server.stop()

    assert set(meanwhile) == {200}
    assert back
    assert set(after) == {200}
    assert status == 0


@pytest.mark.slow
def test_without_a_worker_there_is_an_answer(folder: Path) -> None:
    """503 soon, with a time to come back; and again 200 when there is one."""
    with rest_of(folder) as (server, rest):
        (worker,) = processes(server, "process")
        os.kill(worker, signal.SIGKILL)
        refused: list[Reply] = []
        assert eventually(lambda: seen(rest, refused, lambda reply: reply.status == 503))
        ready = rest.get("/v2/health/ready").status
        back = eventually(lambda: rest.infer("doubling", REQUEST).status == 200, 30)

    assert refused[-1].error.startswith(("no worker can be reached", "the worker of this request"))
    assert ready == 503
    assert back


@pytest.mark.slow
def test_a_full_queue_is_429_with_a_time_to_come_back(folder: Path) -> None:
    """What was accepted is answered; the others hear when to come again."""
    body, headers = binary_request(
        [("x", "FP32", HEAVY[:64])], parameters={"binary_data_output": True}
    )
    flags = ("--max-batch-size", "64", "--max-queue-rows", "64")
    replies: list[Reply] = []
    with rest_of(folder, *flags) as (server, rest):

        def infer() -> None:
            replies.append(rest.request("POST", "/v2/models/heavy/infer", body, **headers))

        def crowd() -> bool:
            callers = [threading.Thread(target=infer) for _ in range(40)]
            for caller in callers:
                caller.start()
            for caller in callers:
                caller.join(60)
            return any(reply.status == 429 for reply in replies)

        assert eventually(crowd, 30)
        status = server.stop()

    assert {200, 429} == {reply.status for reply in replies}
    for reply in replies:
        if reply.status != 200:
            assert int(reply.headers["retry-after"]) >= 1
            assert "Exceeds maximum queue size" in reply.error
    assert status == 0


@pytest.mark.slow
def test_connections_beyond_the_limit_are_503(folder: Path) -> None:
    """Those that are there go on; one that leaves makes room."""
    with rest_of(folder, "--max-connections", "2") as (_, rest):
        first, second, third = (rest.connect() for _ in range(3))
        statuses = [send(connection, "GET", "/v2").status for connection in (first, second, third)]
        second.close()
        room = eventually(lambda: rest.get("/v2").status == 200)
        first.close()
        third.close()

    assert statuses == [200, 200, 503]
    assert room


def seen(rest: Rest, replies: list[Reply], condition: Callable[[Reply], bool]) -> bool:
    """Make a request, keep its reply, and tell whether it is what is waited for."""
    replies.append(rest.infer("doubling", REQUEST))
    return condition(replies[-1])


@pytest.mark.slow
def test_the_gateway_ends_when_the_supervisor_is_killed(folder: Path) -> None:
    """Nothing is left behind that holds the port."""
    with rest_of(folder) as (server, rest):
        gateway: Any = processes(server, "rest")[0]
        server.process.kill()
        server.process.wait(10)

        assert eventually(lambda: not accepts(rest), 20)
        assert eventually(lambda: not Path(f"/proc/{gateway}").exists(), 20)
