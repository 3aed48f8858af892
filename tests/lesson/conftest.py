"""One run of the seed's recipe for all tests of the lesson: it takes some ten seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lesson.command import train


@pytest.fixture(name="folder", scope="session")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the run leaves `models` and `plots`."""
    return tmp_path_factory.mktemp("seed")


@pytest.fixture(name="printed", scope="session")
def _printed(folder: Path) -> str:
    """What a run prints that publishes the network and draws it."""
    code, out, err = train(
        *("thermometer", "--recipe", "seed", "--summary", "--model", "network"),
        *("--repository", str(folder / "models"), "--plots", str(folder / "plots"), "--dpi", "30"),
    )
    assert (code, err) == (0, "")
    return out
