"""Pictures by headless Chromium: the status page, and a graph of the Prometheus that watches it.

    python -m tests.deploy.observability.pictures docs/images

makes those of the documentation: a server of two models is loaded for five minutes, then drawn.
"""

import subprocess
import sys
import tempfile
import time
import urllib.parse
from contextlib import ExitStack
from pathlib import Path

from tests.deploy.observability.watched import loaded_server, prometheus_of
from tests.deploy.processes import tool

STATUS_PAGE = "status-page.png"
GRAPH = "prometheus.png"
GRAPHED = "sum by (phase) (rate(isotherm_phase_duration_seconds_sum[15s]))"
# How long the server of the documentation is loaded before it is drawn.
_LOADED_S = 310.0


def draw(url: str, picture: Path, width: int, height: int) -> None:
    """Draw a page into a PNG of that size."""
    with tempfile.TemporaryDirectory() as profile:
        command = [
            tool("chromium", "Debian's chromium"),
            *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *("--disable-dev-shm-usage", "--no-first-run", "--force-color-profile=srgb"),
            *(f"--user-data-dir={profile}", f"--window-size={width},{height}"),
            *("--virtual-time-budget=4000", f"--screenshot={picture}", url),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert picture.exists(), f"chromium ended with {done.returncode}:\n{done.stderr}"


def graph(prometheus_port: int, expr: str, span: str) -> str:
    """The address of a graph in Prometheus' own pages."""
    shown = {"g0.expr": expr, "g0.tab": "0", "g0.range_input": span, "g0.stacked": "1"}
    query = urllib.parse.urlencode(shown)
    return f"http://127.0.0.1:{prometheus_port}/classic/graph?{query}"


def draw_both(metrics_port: int, prometheus_port: int, folder: Path, span: str) -> None:
    """Draw the status page and the graph into a folder."""
    draw(f"http://127.0.0.1:{metrics_port}/", folder / STATUS_PAGE, 1480, 940)
    draw(graph(prometheus_port, GRAPHED, span), folder / GRAPH, 1280, 860)


def _for_the_documentation(folder: Path) -> None:
    with ExitStack() as stack:
        places = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)]
        address = stack.enter_context(loaded_server(places[0]))
        prometheus = stack.enter_context(prometheus_of(address, places[1]))
        time.sleep(_LOADED_S)
        draw_both(address.metrics_port, prometheus.port, folder, f"{_LOADED_S:.0f}s")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    _for_the_documentation(Path(sys.argv[1]))
