"""All dashboards, each as a file that Grafana imports."""

from typing import Final

from deploy.observability.boards import (
    batching,
    drift,
    gpu,
    overview,
    phases,
    saturation,
    truth,
    versions,
)
from deploy.observability.boards.board import Board
from grafana_foundation_sdk.cog.encoder import JSONEncoder

BOARDS: Final[tuple[Board, ...]] = (
    overview.BOARD,
    phases.BOARD,
    batching.BOARD,
    saturation.BOARD,
    versions.BOARD,
    drift.BOARD,
    truth.BOARD,
    gpu.BOARD,
)


def file(board: Board) -> str:
    """Return a dashboard as JSON."""
    return JSONEncoder(sort_keys=True, indent=2).encode(board.build()) + "\n"
