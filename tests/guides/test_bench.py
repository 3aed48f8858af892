"""docs/bench.md: its commands run, its sample has the columns printed, its names are all there."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from isotherm.client.cli.bench import report, samples, step
from isotherm.client.cli.bench.figures import Figures
from isotherm.client.cli.bench.ramp import Ended
from isotherm.client.cli.bench.tally import NOT_SENT
from tests.guides.page import Reader, broken_links, commands, sections, server_flags
from tests.support.environments import ROOT
from tests.support.server import serving

PAGE = "bench.md"
TEXT = (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
SECTIONS = sections(PAGE)
START = SECTIONS["Measuring a server"]


def test_every_link_of_the_page_leads_somewhere() -> None:
    """Relative links are files of the repository."""
    assert [] == broken_links(PAGE)


def test_the_tests_know_every_section() -> None:
    """What is added to the page is run, too."""
    assert {heading for heading, blocks in SECTIONS.items() if blocks} == {
        *("Measuring a server", "Two kinds of load", "The highest rate", "For programs"),
    }


def test_the_page_has_every_name_of_the_json() -> None:
    """And no other."""
    named = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]*) \|", TEXT, re.MULTILINE)))
    setting, load = (
        [field.name for field in dataclasses.fields(kind)] for kind in (report.Setting, Figures)
    )

    assert named == [*setting, "interrupted", "loads", "ramp", *load]
    assert all(f"`{ended.value}`" in TEXT for ended in Ended)


def test_the_pages_numbers_are_the_programs() -> None:
    """Limits that the page names."""
    for text in (
        f"Up to {samples.EXACT} answers",
        f"`{NOT_SENT}`",
        f"since {step.MAX_IN_FLIGHT} others",
        f"while `schema_version` is {report.SCHEMA_VERSION}",
    ):
        assert text in TEXT


@pytest.fixture(name="reader", scope="module")
def _reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Somebody who has started the page's server, and has less patience."""
    repository, *flags = server_flags(START)
    with serving(ROOT / repository, *flags) as server:
        instead = {
            "isotherm bench thermometer": f"isotherm bench thermometer --address {server.address}",
            "--duration 10": "--duration 0.3 --warmup 0",
        }
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        folder: Path = tmp_path_factory.mktemp("reader")
        yield Reader(folder, instead, {"PATH": path, "COLUMNS": "100"})


@pytest.mark.slow
def test_the_first_bench_prints_what_the_page_shows(reader: Reader) -> None:
    """Words and columns; the figures are another machine's."""
    console, sample = START
    *_, head, units, _ = map(_squeezed, sample.code.splitlines())

    printed = reader.run(commands(console)[-1].line)

    lines = [*map(_squeezed, printed.splitlines())]
    assert lines[lines.index(head) + 1] == units
    assert lines[lines.index(head) + 2].startswith("500/s ")
    assert _squeezed(sample.code).startswith("model thermometer at 127.0.0.1:8001, 1 row a request")
    assert printed.startswith("model thermometer at ")


@pytest.mark.slow
@pytest.mark.parametrize("heading", ["Two kinds of load", "The highest rate", "For programs"])
def test_the_commands_of_the_page_run(reader: Reader, heading: str) -> None:
    """Each with exit status 0."""
    assert [] == reader.follow(SECTIONS[heading])
    if heading == "Two kinds of load":
        assert (reader.folder / "load.png").stat().st_size > 5000


def _squeezed(text: str) -> str:
    return " ".join(text.split())
