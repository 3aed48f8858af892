"""docs/feedback.md: its program and its commands, against a server as the page starts it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.guides.page import Reader, broken_links, sections, server_flags
from tests.support.environments import ROOT
from tests.support.server import serving

PAGE = "feedback.md"
SECTIONS = sections(PAGE)
START = SECTIONS["Feedback: live errors against the truth"]


def test_every_link_of_the_page_leads_somewhere() -> None:
    """Relative links are files of the repository."""
    assert [] == broken_links(PAGE)


def test_the_tests_know_every_section() -> None:
    """What is added to the page is run, too; the expressions are, by a real Prometheus."""
    programs = {heading for heading, blocks in SECTIONS.items() if blocks}

    assert programs == {"Feedback: live errors against the truth", "From a file", "Many servers"}


@pytest.mark.slow
def test_the_page_is_what_happens(tmp_path: Path) -> None:
    """From top to bottom: the truth is reported, the metrics show the errors."""
    repository, *flags = server_flags(START)
    with serving(ROOT / repository, *flags) as server:
        address = {
            "127.0.0.1:8001": server.address,
            "127.0.0.1:8002": f"127.0.0.1:{server.metrics_port}",
            "--version 1": f"--version 1 --address {server.address}",
        }
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        reader = Reader(tmp_path, address, {"PATH": path})

        assert [] == reader.follow(START)
        assert [] == reader.follow(SECTIONS["From a file"])
