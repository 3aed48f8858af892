"""Tests of what the lesson says about readings outside the training range, on a real server."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from isotherm.client import Client
from tests.lesson.page import DOCS, PAGES
from tests.support.server import Server, serving

# The recipe runs before the first test.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(name="seed_server", scope="module")
def _seed_server(folder: Path, printed: str) -> Iterator[Server]:
    """A server of the recipe's network."""
    assert printed
    with serving(folder / "models") as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_asking_for_200_degrees_gets_the_note_that_the_lesson_shows(
    seed_server: Server, page: str
) -> None:
    """The command in the page, run as it stands there, and its sentence."""
    (console,) = re.findall(
        r"```console\n(.*isotherm predict.*?)```", (DOCS / page).read_text(), re.DOTALL
    )
    command, note = console.splitlines()
    arguments = command.removeprefix("$ isotherm ").split()

    answer = subprocess.run(
        [sys.executable, "-m", "isotherm.client.cli", *arguments, "--address", seed_server.address],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert note in f"{answer.stdout}{answer.stderr}".splitlines()


@pytest.mark.slow
def test_the_served_network_is_flat_far_from_its_readings(seed_server: Server) -> None:
    """The server answers what the network says, and the network is saturated."""
    with Client(seed_server.address) as client:
        answers = np.ravel(client.predict("thermometer", [200.0, 400.0, 800.0], outputs="y"))

    assert np.ptp(answers) < 0.5
    assert answers.max() < 50
