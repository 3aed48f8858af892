"""The `isotherm` command, called as from a shell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from isotherm.client.cli.dispatch import app


@pytest.fixture(name="isotherm")
def _isotherm() -> Callable[..., Any]:
    def call(*arguments: object) -> Any:
        # A wide terminal, so that no table is cut.
        return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(each) for each in arguments])

    return call
