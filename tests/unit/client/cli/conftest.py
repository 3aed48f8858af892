"""The `isotherm` command, called as from a shell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from isotherm.client.cli.dispatch import app


@pytest.fixture(name="isotherm")
def _isotherm() -> Callable[..., Any]:
    def call(*arguments: object, fed: str = "") -> Any:
        # A wide terminal, so that no table is cut.
        runner = CliRunner(env={"COLUMNS": "200"})
        return runner.invoke(app, [str(each) for each in arguments], input=fed)

    return call
