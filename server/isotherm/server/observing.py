"""The flags of `isotherm serve` about what is said of its calls: logs, traces, windows."""

from __future__ import annotations

from typing import Annotated

import typer

LogControl = Annotated[
    bool,
    typer.Option(
        help="Whether callers may change the level while the server runs (LogSettings).",
        envvar="ISOTHERM_LOG_CONTROL",
    ),
]
AccessLog = Annotated[
    float,
    typer.Option(
        help="Share of the answered requests to log, 0 to 1; failed ones are then logged too.",
        envvar="ISOTHERM_ACCESS_LOG",
    ),
]
TracingEndpoint = Annotated[
    str | None,
    typer.Option(
        help="URL of an OTLP receiver over HTTP, such as http://127.0.0.1:4318: trace calls, with "
        "the extra isotherm[tracing].",
        envvar="ISOTHERM_TRACING_ENDPOINT",
        show_default="off",
    ),
]
TracingShare = Annotated[
    float,
    typer.Option(
        help="Share of the calls without a trace to begin one for, 0 to 1; for the others their "
        "callers have decided.",
        envvar="ISOTHERM_TRACING_SHARE",
    ),
]
DriftWindow = Annotated[
    float,
    typer.Option(
        help="Seconds of rows that are compared with the training's; 0 looks at none.",
        envvar="ISOTHERM_DRIFT_WINDOW",
    ),
]
FeedbackWindow = Annotated[
    float,
    typer.Option(
        help="Seconds that the live errors against reported truths look back.",
        envvar="ISOTHERM_FEEDBACK_WINDOW",
    ),
]
