"""docs/rest.md: its tables are the code's, and its commands answer as it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from isotherm.server.rest.operations import Operations
from isotherm.server.rest.status import HTTP_STATUS
from isotherm.server.rest.workers import Workers
from tests.guides.page import Reader, broken_links, sections, server_flags
from tests.support.environments import ROOT
from tests.support.ports import free_port
from tests.support.rest import Rest
from tests.support.server import eventually, serving

PAGE = "rest.md"
TEXT = (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
SECTIONS = sections(PAGE)


def test_every_link_of_the_page_leads_somewhere() -> None:
    """Relative links are files of the repository."""
    assert [] == broken_links(PAGE)


def test_the_tests_know_every_section() -> None:
    """What is added to the page is run, too."""
    assert {"REST", "With curl"} == {heading for heading, blocks in SECTIONS.items() if blocks}


def test_the_page_has_every_status() -> None:
    """In the table's own order."""
    rows = re.findall(r"^\| ([A-Z_]+) \| (\d{3}) \|", TEXT, re.MULTILINE)

    assert rows == [(code.name, str(status)) for code, status in HTTP_STATUS.items()]


async def test_the_page_has_every_path() -> None:
    """Of a model's two statistics one stands for both."""
    workers = Workers((), 0)
    operations = Operations(workers, lambda: True, guarded=False)
    rows = re.findall(r"^\| (GET|POST) \| `([^`]+)` \|", TEXT, re.MULTILINE)
    found = [
        (method, path)
        for method, path in rows
        for served, pattern, _ in operations._routes
        if served == method and pattern.fullmatch(path)
    ]

    assert found == rows
    assert len(operations._routes) == len(rows) + 1


@pytest.fixture(name="reader", scope="module")
def _reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Somebody who has started the page's server."""
    port = free_port()
    flags = server_flags(SECTIONS["REST"])
    assert flags[-2:] == ["--http-port", "8000"]
    with serving(ROOT / flags[0], "--http-port", str(port)):
        rest = Rest(port)
        assert eventually(lambda: rest.get("/v2/health/ready").status == 200)
        folder: Path = tmp_path_factory.mktemp("reader")
        yield Reader(folder, {"127.0.0.1:8000": f"127.0.0.1:{port}"}, {})


@pytest.mark.slow
def test_curl_is_answered_as_the_page_says(reader: Reader) -> None:
    """Not every machine has curl, hence slow."""
    assert [] == reader.follow(SECTIONS["With curl"])
