"""The command `isotherm train`, run inside this process."""

from __future__ import annotations

from typer.testing import CliRunner

from isotherm.trainer.__main__ import app


def train(*arguments: str) -> tuple[int, str, str]:
    """Return the exit code, and what was printed on stdout and stderr."""
    result = CliRunner().invoke(app, arguments)
    return result.exit_code, result.stdout, result.stderr
