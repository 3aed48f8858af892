"""All dashboards: each as a file that Grafana imports, and all as objects of Kubernetes."""

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
from deploy.observability.document import written
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


# Grafana's sidecar imports every ConfigMap that carries this label.
_LABELS: Final = {"app.kubernetes.io/name": "isotherm", "grafana_dashboard": "1"}
_COMMENT: Final = """\
The dashboards, one a ConfigMap: together they would be too large for `kubectl apply`.
Written by `python -m deploy.observability`.
"""


def file(board: Board) -> str:
    """Return a dashboard as JSON."""
    return JSONEncoder(sort_keys=True, indent=2).encode(board.build()) + "\n"


def config_maps() -> str:
    """Return the files of all dashboards as ConfigMaps."""
    maps = (
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"{board.uid}-dashboard", "labels": dict(_LABELS)},
            "data": {f"{board.uid}.json": file(board)},
        }
        for board in BOARDS
    )
    return written(_COMMENT, *maps)
