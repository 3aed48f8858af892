"""The flags of `isotherm tune` that `isotherm train` does not have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_SEARCH = "Search"

Trials = Annotated[
    int | None,
    typer.Option(
        help="How many in total, over all runs of the study.",
        show_default="40",
        rich_help_panel=_SEARCH,
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        help="Processes that run one trial each.", show_default="1", rich_help_panel=_SEARCH
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        help="Seconds after which no trial begins.", show_default="none", rich_help_panel=_SEARCH
    ),
]
Storage = Annotated[
    Path | None,
    typer.Option(
        help="The study's file; the same command goes on with it.",
        show_default="studies/<name>.db",
        rich_help_panel=_SEARCH,
    ),
]
Prune = Annotated[
    bool | None,
    typer.Option(
        "--prune/--no-prune",
        help="Give trials up that fall behind (from 51 rows on).",
        show_default="prune",
        rich_help_panel=_SEARCH,
    ),
]
