"""Tests of docs/streaming.md: its flags exist, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from isotherm.trainer import __main__

ROOT = Path(__file__).parents[4]
PAGE = (ROOT / "docs" / "streaming.md").read_text()


def test_every_flag_is_one_of_the_command() -> None:
    wanted = set(re.findall(r"--[a-z][a-z-]+", PAGE))
    text = CliRunner().invoke(__main__.app, ["--help"], env={"COLUMNS": "200"}).stdout
    assert {"--stream", "--memory", "--checkpoint-steps"} <= wanted
    assert [] == sorted(flag for flag in wanted if flag not in text)


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)", PAGE)
    assert links
    assert [] == [link for link in links if not (ROOT / "docs" / link).exists()]
