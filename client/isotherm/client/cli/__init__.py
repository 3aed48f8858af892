"""The `isotherm` command."""

from __future__ import annotations

import sys

_PARTS = frozenset({"click", "rich", "shellingham", "typer"})


def main() -> None:
    """Run the command; say what to install where the command line's own packages are missing."""
    try:
        from isotherm.client.cli.dispatch import app
    except ModuleNotFoundError as error:
        if error.name not in _PARTS:
            raise
        sys.exit("isotherm: the command needs more than the client: pip install 'isotherm[cli]'")
    app(prog_name="isotherm")
