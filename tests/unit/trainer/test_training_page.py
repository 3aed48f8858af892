"""Tests of docs/training.md: its Python runs, its commands have flags that exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from isotherm.trainer import __main__, export_command

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "training.md").read_text()


@pytest.mark.slow
def test_the_python_runs_as_it_stands(tmp_path: Path) -> None:
    """A table in memory, a module of one's own, a published version."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["line", "models/house/1/model.onnx"]


def test_every_flag_is_one_of_the_two_commands() -> None:
    """In the text as well as in the commands."""
    wanted = set(re.findall(r"--[a-z][a-z-]+", PAGE))

    helps = [
        CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).stdout
        for app in (__main__.app, export_command.app)
    ]

    assert wanted
    assert [] == sorted(flag for flag in wanted if not any(flag in text for text in helps))


def test_every_link_leads_somewhere() -> None:
    """Relative links are files of the repository."""
    links = re.findall(r"\]\(([^)#:]+)\)", PAGE)

    assert links
    assert [] == [link for link in links if not (ROOT / "docs" / link).exists()]
