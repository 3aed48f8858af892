"""docs/from-tritonclient.md: both clients at one prompt, against a server as the page starts it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from tritonclient.grpc import InferenceServerClient

from isotherm.client import Client
from tests.guides.page import Prompt, Reader, broken_links, sections, server_flags
from tests.support.environments import ROOT
from tests.support.server import serving

PAGE = "from-tritonclient.md"
SECTIONS = sections(PAGE)
START = SECTIONS["From tritonclient to isotherm.client"]
# Said to be missing, in other words.
LEFT_OUT = re.compile(r"shared_memory|trace_settings|log_settings|plugin|^close$|^stop_stream$")


def test_every_link_of_the_page_leads_somewhere() -> None:
    """Relative links are files of the repository, and headings in them."""
    assert [] == broken_links(PAGE)


def test_the_page_has_a_name_for_every_method() -> None:
    """Of tritonclient's, unless the page says that there is none; and ours exist."""
    text = (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.*) \| (.*) \|$", text, re.MULTILINE)
    before = {name for row in rows for name in re.findall(r"`(\w+)", row[0])}
    after = {name for row in rows for name in re.findall(r"`([a-z]\w+)(?:\(\w*\))?`", row[1])}
    theirs = {name for name in vars(InferenceServerClient) if not name.startswith("_")}

    assert {name for name in theirs if not LEFT_OUT.search(name)} <= before
    assert after - {"timeout"} <= set(dir(Client))


@pytest.mark.slow
def test_the_page_is_what_happens(tmp_path: Path) -> None:
    """From top to bottom: the same answers of both."""
    repository, *flags = server_flags(START)
    with serving(ROOT / repository, *flags) as server:
        instead = {"127.0.0.1:8001": server.address}
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        reader, prompt = Reader(tmp_path, instead, {"PATH": path}), Prompt(instead)

        for blocks in SECTIONS.values():
            assert [] == reader.follow(blocks) + prompt.type(blocks)
