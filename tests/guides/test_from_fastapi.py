"""docs/from-fastapi.md: both services run under uvicorn, and answer over HTTP as the page says."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from isotherm.client import Client
from tests.guides.page import BACKGROUND, Reader, broken_links, commands, sections, server_flags
from tests.support.environments import ROOT, beside
from tests.support.ports import free_port
from tests.support.server import Server, eventually, halted, serving

PAGE = "from-fastapi.md"
SECTIONS = sections(PAGE)
BY_HAND, SERVED, EDGE = (
    SECTIONS[name] for name in ("By hand", "The same model, served", "A thin web edge")
)
ADDRESS, WEB = "127.0.0.1:8001", "127.0.0.1:8000"
REQUIREMENTS = ("--constraint", "constraints.txt", "fastapi==0.165.0", "uvicorn==0.54.0")
THREE = [{"t_u": 35.7}, {"t_u": 56.3}, {"t_u": 48.9}]


class Answer(NamedTuple):
    """What came over HTTP."""

    status: int
    body: Any
    headers: Mapping[str, str]


class Web:
    """A web service under uvicorn."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"

    def ask(self, path: str, body: str | None = None) -> Answer:
        """GET a path, or POST JSON to it."""
        request = urllib.request.Request(
            f"http://{self.address}{path}",
            data=None if body is None else body.encode(),
            headers={"content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return Answer(response.status, json.load(response), dict(response.headers))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, json.load(error), dict(error.headers))

    def predict(self, rows: object, query: str = "") -> Answer:
        """POST rows to the service's one route."""
        return self.ask(f"/predict{query}", json.dumps(rows))

    def listens(self) -> bool:
        """Tell whether anybody answers."""
        try:
            self.ask("/nothing")
        except OSError:
            return False
        return True


@pytest.fixture(name="fastapi", scope="module")
def _fastapi() -> Path:
    """The folder with FastAPI and uvicorn."""
    return beside("fastapi", *REQUIREMENTS)


@contextmanager
def running(fastapi: Path, folder: Path, line: str) -> Iterator[Web]:
    """Run a `uvicorn ... &` of the page in a folder that has its program."""
    port = free_port()
    arguments = shlex.split(line.removesuffix(BACKGROUND).replace("8000", str(port)))
    path = os.pathsep.join((str(fastapi), os.environ.get("PYTHONPATH", "")))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": path},
            stdout=log,
            stderr=log,
        )
    web = Web(port)
    try:
        started = eventually(lambda: process.poll() is not None or web.listens(), 60)
        assert started, (folder / "log").read_text()
        assert process.poll() is None, (folder / "log").read_text()
        yield web
    finally:
        process.terminate()
        process.wait(60)


def uvicorn(blocks: list[Any]) -> str:
    """Return the command of a section that starts its web service."""
    (line,) = (
        command.line
        for block in blocks
        if block.language == "console"
        for command in commands(block)
        if command.line.startswith("uvicorn ")
    )
    return line


@contextmanager
def edge_of(server: Server, fastapi: Path, folder: Path) -> Iterator[Web]:
    """Run the page's edge in front of a server."""
    folder.mkdir()
    reader = Reader(folder, {ADDRESS: server.address}, {})
    (program,) = (block for block in EDGE if block.file)
    reader.write(program.file, program.code)
    with running(fastapi, folder, uvicorn(EDGE)) as web:
        yield web


@pytest.fixture(name="server", scope="module")
def _server() -> Iterator[Server]:
    """The server as the page starts it."""
    with serving(*server_flags(SERVED)) as server:
        yield server


@pytest.fixture(name="edge", scope="module")
def _edge(server: Server, fastapi: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """The edge in front of it."""
    with edge_of(server, fastapi, tmp_path_factory.mktemp("web") / "edge") as web:
        yield web


def test_every_link_of_the_page_leads_somewhere() -> None:
    """Relative links are files of the repository."""
    assert [] == broken_links(PAGE)


@pytest.fixture(name="by_hand", scope="module")
def _by_hand(
    fastapi: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Web, Reader]]:
    """The service by hand, and a reader who has its program."""
    folder = tmp_path_factory.mktemp("by-hand")
    (folder / "examples").symlink_to(ROOT / "examples")
    Reader(folder, {}, {}).follow([block for block in BY_HAND if block.file])
    with running(fastapi, folder, uvicorn(BY_HAND)) as web:
        yield web, Reader(folder, {WEB: web.address}, {})


@pytest.mark.slow
def test_the_page_s_commands_print_what_stands_below_them(
    server: Server, edge: Web, by_hand: tuple[Web, Reader], tmp_path: Path
) -> None:
    """The service by hand, the command line, and the edge."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    shell = Reader(tmp_path, {"--format": f"--address {server.address} --format"}, {"PATH": path})

    assert [] == by_hand[1].follow(BY_HAND)
    assert [] == shell.follow(SERVED)
    assert [] == Reader(tmp_path, {WEB: edge.address}, {}).follow(EDGE)


@pytest.mark.slow
def test_the_edge_answers_what_the_service_by_hand_did(
    edge: Web, by_hand: tuple[Web, Reader]
) -> None:
    """The same rows, the same numbers."""
    before, after = by_hand[0].predict(THREE), edge.predict(THREE)

    assert before.status == after.status == 200
    assert [row["t_c"] for row in before.body] == pytest.approx([row["t_c"] for row in after.body])
    assert all(row["lower"] < row["t_c"] < row["upper"] for row in after.body)
    assert (200, {"ready": True}) == edge.ask("/health")[:2]


@pytest.mark.slow
def test_what_the_caller_did_wrong_is_said(edge: Web, server: Server) -> None:
    """By pydantic, by the model's contract, by the repository; never with the server's address."""
    text = edge.predict([{"t_u": "warm"}])
    not_a_number = edge.predict([{"t_u": float("nan")}])
    nothing = edge.predict([])
    version = edge.predict(THREE, "?version=7")

    assert [422, 422, 422, 404] == [
        answer.status for answer in (text, not_a_number, nothing, version)
    ]
    assert "has nan for 't_u'" in not_a_number.body["detail"]
    assert "version 7" in version.body["detail"]
    assert all(server.address not in str(each.body) for each in (not_a_number, nothing, version))


@pytest.mark.slow
def test_a_full_queue_and_a_late_answer_have_their_own_statuses(
    fastapi: Path, tmp_path: Path
) -> None:
    """A caller who waits for company leaves no room; a server that is halted answers nobody."""
    flags = ("--max-queue-delay-us", "30000000", "--max-queue-rows", "4", "--max-batch-size", "4")
    with (
        serving(*server_flags(SERVED), *flags) as server,
        edge_of(server, fastapi, tmp_path / "edge") as edge,
        ThreadPoolExecutor(1) as pool,
        Client(server.address, timeout=20.0) as client,
    ):
        # Until the client is closed.
        pool.submit(client.predict, "thermometer", [35.7, 56.3, 48.9])
        series = 'isotherm_queue_pending_rows{model="thermometer",version="1"}'
        assert eventually(lambda: server.metric(series) == len(THREE))
        refused = edge.predict(THREE)
        with halted(server):
            late = edge.predict(THREE)

    assert (429, "1") == (refused.status, refused.headers["retry-after"])
    assert late.status == 504
    assert refused.body == late.body == {"detail": "the model gives no answer now"}


@pytest.mark.slow
def test_a_server_that_is_gone_or_refuses_the_edge_is_a_fault_behind_it(
    fastapi: Path, tmp_path: Path
) -> None:
    """Its reason is in the edge's log only."""
    tokens = tmp_path / "tokens.txt"
    tokens.write_text("c2VydmluZy1qb2ItMQ3f0b9a\n")
    tokens.chmod(0o600)
    with (
        serving(*server_flags(SERVED), "--auth-token-file", str(tokens)) as server,
        edge_of(server, fastapi, tmp_path / "edge") as edge,
    ):
        refused = edge.predict(THREE)
        server.stop()
        gone = edge.predict(THREE)
        health = edge.ask("/health")

    assert [502, 503, 503] == [answer.status for answer in (refused, gone, health)]
    assert refused.body == gone.body == {"detail": "the model gives no answer now"}
    assert "UNAUTHENTICATED" in (tmp_path / "edge" / "log").read_text()
