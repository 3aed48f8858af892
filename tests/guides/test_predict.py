"""docs/predict.md: its commands, against a server as the page starts it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from isotherm.client.cli.readers import InputFormat
from isotherm.client.cli.writers import Format
from isotherm.client.cli.writers.table import TABLE_ROWS
from tests.guides.page import Reader, broken_links, sections, server_flags
from tests.support.environments import ROOT
from tests.support.server import serving

PAGE = "predict.md"
TEXT = (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
SECTIONS = sections(PAGE)
START = SECTIONS["Predictions from the command line"]


def test_every_link_of_the_readme_to_the_page_leads_somewhere() -> None:
    """The page itself has none, or those lead somewhere, too."""
    assert f"docs/{PAGE}" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "](" not in TEXT or [] == broken_links(PAGE)


def test_the_tests_know_every_section() -> None:
    """What is added to the page is run, too."""
    assert [heading for heading, blocks in SECTIONS.items() if blocks] == [
        "Predictions from the command line",
        "From a file to a file",
        "Long files",
        "Exit status",
        "What is served",
    ]


def test_the_page_names_every_form() -> None:
    """As flags spell it, or as people do."""
    forms = {form.value for form in (*InputFormat, *Format)}

    assert forms == {"csv", "json", "jsonl", "parquet", "table"}
    assert f"up to {TABLE_ROWS} rows" in TEXT
    for name in ("CSV", "JSON lines", "Parquet", "JSON", "table"):
        assert f"\n| {name} | " in TEXT


@pytest.mark.slow
def test_the_page_is_what_happens(tmp_path: Path) -> None:
    """From top to bottom; what goes to standard error as well."""
    repository, *flags = server_flags(START)
    with serving(ROOT / repository, *flags) as server:
        # The page's server has the default address.
        address = f" --address {server.address}"
        instead = {
            f"{command} thermometer": f"{command} thermometer{address}"
            for command in ("predict", "health", "inspect")
        }
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        reader = Reader(tmp_path, instead, {"PATH": path, "COLUMNS": "100"})

        assert [] == [text for blocks in SECTIONS.values() for text in reader.follow(blocks)]

    (told,) = (block.code for block in SECTIONS["Long files"] if block.language == "text")
    assert told == (tmp_path / "told.txt").read_text().replace(address, "")
