"""The command `isotherm demo`: the whole way from a table to measured predictions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from isotherm.client._prediction import Prediction
from isotherm.client._sync import Client
from isotherm.client.cli import exposition, load, processes
from isotherm.client.cli.failure import Failure, told_in_a_sentence

_MODEL: Final = "thermometer"
_FAHRENHEIT: Final = np.arange(20.0, 91.0, 10.0)
_READY_S: Final = 60.0
_SEQUENTIAL_CALLS: Final = 1000
_CONCURRENT_CALLS: Final = 4000
_IN_FLIGHT: Final = 64
_BAR_WIDTH: Final = 40

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def demo(
    directory: Annotated[
        Path, typer.Option("--directory", metavar="DIR", help="Where models and plots go.")
    ] = Path("demo"),
) -> None:
    """Train the thermometer model, serve it, ask it, measure it and stop; plots stay behind."""
    console = Console(markup=False, highlight=False)
    with told_in_a_sentence(), processes.sigterm_unwinds():
        directory.mkdir(parents=True, exist_ok=True)
        _train(console, directory)
        with _server(console, directory) as (address, metrics_port):
            _predictions(console, address)
            _latency(console, address)
            _batches(console, address, metrics_port)
        _plots(console, directory)


def _train(console: Console, directory: Path) -> None:
    console.rule("train")
    last = processes.run(
        "isotherm.trainer",
        _MODEL,
        *("--repository", str(directory / "models")),
        *("--plots", str(directory / "plots")),
        # The network, also where the line wins: its curve is what the plots show.
        *("--model", "network"),
    )
    if not last.startswith("published "):
        msg = f"the trainer ended with '{last}', expected the path that it published"
        raise Failure(msg)


@contextmanager
def _server(console: Console, directory: Path) -> Iterator[tuple[str, int]]:
    console.rule("serve")
    grpc_port, metrics_port = processes.free_ports(2)
    log = directory / "server.log"
    arguments = (
        str(directory / "models"),
        *("--host", "127.0.0.1"),
        *("--grpc-port", str(grpc_port)),
        *("--metrics-port", str(metrics_port)),
    )
    with processes.running("isotherm.server", *arguments, log=log) as process:
        processes.wait_ready(process, metrics_port, log, _READY_S)
        console.print(f"serving on 127.0.0.1:{grpc_port}, metrics on 127.0.0.1:{metrics_port}")
        yield f"127.0.0.1:{grpc_port}", metrics_port
        console.rule("stop")
        processes.stop(process, log)
        console.print("SIGTERM: the server drained and exited with 0")


def _predictions(console: Console, address: str) -> None:
    console.rule("predict")
    with Client(address) as client:
        contract = client.contract(_MODEL)
        answer = client.predict(_MODEL, _FAHRENHEIT)
    if not isinstance(answer, Prediction):
        msg = f"model '{_MODEL}' answered without an interval"
        raise Failure(msg)
    names = contract.tensors
    predicted, lower, upper = (
        answer[name][:, 0] for name in (names.prediction, names.lower, names.upper)
    )
    true = (_FAHRENHEIT - 32) * 5 / 9
    interval = f"{contract.interval.coverage:.0%} interval"
    table = Table()
    for head in ("F", "predicted C", interval, "true C", "error"):
        table.add_column(head, justify="right")
    for row in zip(_FAHRENHEIT, predicted, lower, upper, true, strict=True):
        reading, centre, low, high, truth = map(float, row)
        table.add_row(
            f"{reading:.0f}",
            f"{centre:.2f}",
            f"{low:.2f} .. {high:.2f}",
            f"{truth:.2f}",
            f"{centre - truth:+.2f}",
        )
    console.print(table)


def _latency(console: Console, address: str) -> None:
    console.rule("latency")
    with Client(address) as client:
        times = load.latencies_s(client, _MODEL, _FAHRENHEIT[:1], _SEQUENTIAL_CALLS)
    p50, p99 = np.percentile(times, [50, 99]) * 1e6
    console.print(
        f"{_SEQUENTIAL_CALLS} calls of one row, one after the other: "
        f"p50 {p50:.0f} us, p99 {p99:.0f} us"
    )


def _batches(console: Console, address: str, metrics_port: int) -> None:
    console.rule("dynamic batching")
    before = _batch_sizes(metrics_port)
    done = load.burst(address, _MODEL, _FAHRENHEIT[:1], _CONCURRENT_CALLS, _IN_FLIGHT)
    after = _batch_sizes(metrics_port)
    console.print(
        f"{done.calls} calls of one row, {_IN_FLIGHT} in flight: {done.rate:.0f} calls/s, "
        "in batches of"
    )
    console.print(_bars({bound: after[bound] - before.get(bound, 0) for bound in after}))


def _batch_sizes(metrics_port: int) -> dict[float, int]:
    text = exposition.fetch(metrics_port)
    sizes = exposition.bucket_counts(text, "isotherm_batch_size", {"model": _MODEL})
    if not sizes:
        msg = f"the metrics have no isotherm_batch_size of model '{_MODEL}'"
        raise Failure(msg)
    return sizes


def _bars(counts: Mapping[float, int]) -> Table:
    table = Table("rows", "batches", "", box=None)
    largest = max(counts.values(), default=0)
    below = 0.0
    for bound, count in counts.items():
        if count:
            first = f"{below + 1:g}"
            rows = first if bound == below + 1 else f"{first} to {bound:g}"
            table.add_row(rows, str(count), "#" * math.ceil(_BAR_WIDTH * count / largest))
        below = bound
    return table


def _plots(console: Console, directory: Path) -> None:
    plots = sorted((directory / "plots").glob("*.*"))
    if not plots:
        msg = f"the trainer left no plots in {directory / 'plots'}"
        raise Failure(msg)
    console.rule("plots")
    for plot in plots:
        console.print(str(plot))
