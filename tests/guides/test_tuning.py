"""docs/tuning.md: what is searched, and what the search prints."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from isotherm.trainer import data
from isotherm.trainer.config import load
from isotherm.trainer.tune import space
from isotherm.trainer.tune.config import FIT, SHAPE, Range
from tests.guides.page import RELATIVE, Reader, broken_links, commands, sections
from tests.lesson.printouts import difference
from tests.support.environments import ROOT

PAGE = "tuning.md"
SECTIONS = sections(PAGE)

_ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \|", re.MULTILINE)
# A trial's seconds are those of the machine; they stand between its size and its settings.
_SECONDS = re.compile(r"^( +\d+ +\S+ +\d+) +\S+", re.MULTILINE)


def test_every_link_of_the_page_leads_somewhere() -> None:
    """Relative links are files of the repository."""
    assert [] == broken_links(PAGE)


def test_the_page_names_the_space_that_is_searched() -> None:
    """Name by name, with the values."""
    rng = np.random.default_rng(0)
    columns = {"a": rng.normal(size=2049), "b": rng.normal(size=2049)}
    table = data.table(columns, features=["a"], targets=["b"])
    searched = space.of(load(None, {"data.dataset": "thermometer"}), table).dimensions
    page = dict(_ROW.findall((ROOT / "docs" / PAGE).read_text(encoding="utf-8")))

    assert {name: _told(one) for name, one in searched.items()} == page
    text = (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
    assert [name for name in (*SHAPE, *FIT) if f"`{name}`" not in text] == []


def test_the_settings_of_the_page_are_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file is a configuration, and its space can be searched."""
    monkeypatch.chdir(tmp_path)
    (block,) = (block for block in SECTIONS["What is searched"] if block.language == "toml")
    (tmp_path / block.file).write_text(block.code)
    config = load(tmp_path / block.file, {})
    chosen = space.of(config, data.read(config.data))

    assert config.tune.jobs == 4
    assert {"width", "dropout", "activation"} <= {*chosen.dimensions}
    assert dict(chosen.fixed) == {"depth": 2}


@pytest.mark.slow
def test_the_page_shows_what_a_search_prints(tmp_path: Path) -> None:
    """But for the seconds."""
    (block,) = SECTIONS["Tuning"]
    (command,) = commands(block)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    output = Reader(tmp_path, {}, {"PATH": path}).run(command.line)
    shown = [_SECONDS.sub(r"\1", text) for text in (command.output, output)]

    assert difference(shown[0], shown[1], RELATIVE) == ""


def _told(dimension: space.Dimension) -> str:
    if not isinstance(dimension, Range):
        return ", ".join(map(str, dimension))
    return f"{dimension.low:g} to {dimension.high:g}{', log' if dimension.log else ''}"
