"""A server under load, as loops are measured: requests of a batch's size, and of one row."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

import grpc
import numpy as np

from isotherm.client.cli.bench.crew import Crew
from isotherm.client.cli.bench.load import Closed, Load, Open, Period, Target
from isotherm.v1 import open_inference_pb2 as pb
from tests.bench import h2
from tests.bench.gpus.bare import Array
from tests.bench.gpus.figures import Served
from tests.bench.gpus.watch import Watch
from tests.support import models
from tests.support.rpc import call, infer_request
from tests.support.server import LOG_END, Server, eventually, serving

WARM_UP_S: Final = 0.2
TIMEOUT_S: Final = 20.0
# On a device every model proves itself at each size of a batch.
START_S: Final = 75.0
# Bytes of requests in flight, at most: beyond it one only measures the copying of queues.
IN_FLIGHT_BYTES: Final = 512 << 20
# Processors that the load may not have, since the server needs them.
SPARED: Final = 4
# What a generator's process can send punctually in a second.
PUNCTUAL: Final = 1500
CONNECTIONS: Final = 8
TELLING: Final = re.compile(
    r"isotherm_(phase_duration_seconds|batch_size)_(sum|count)|isotherm_model_(load_d|dev|cuda|break)"
)
QUEUES: Final = ("--max-queue-rows", str(1 << 20), "--max-queue-bytes", str(4 << 30))


def processes() -> int:
    """Return how many processes make a load: one for each processor that can be spared."""
    return min(8, max(1, len(os.sched_getaffinity(0)) - SPARED))


def name_of(network: str, batch: int) -> str:
    """Return the model's name: a network is served once for each size that its batches have."""
    return f"{network}-at-{batch}"


def publish(repository: Path, network: str, model: bytes, batches: Sequence[int]) -> None:
    """Write a network into a repository, once for each size that its batches are to have."""
    for batch in batches:
        folder = repository / name_of(network, batch)
        (folder / "1").mkdir(parents=True)
        (folder / "1" / "model.onnx").write_bytes(model)
        (folder / "config.pbtxt").write_text(f"max_batch_size: {batch}\n")


def rows(network: Sequence[int], count: int) -> Array:
    """Return random rows for a network of such widths."""
    random = np.random.default_rng(0)
    return random.standard_normal((count, network[0]), dtype=np.float32)


@cache
def h2load() -> bool:
    """Tell whether h2load runs here: one that was brought along may lack a library."""
    try:
        subprocess.run(["h2load", "--version"], capture_output=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"load comes from Python alone: {error}", file=sys.stderr, flush=True)
        return False
    return True


@contextmanager
def server(repository: Path, *flags: str) -> Iterator[Server]:
    """Run a server on all that the folder holds; RuntimeError with its log when it does not.

    At the end its log is shown: what each load took, and what was given up; with the metrics that
    tell where the time went.
    """
    with serving(repository, *QUEUES, "--drift-window", "0", *flags, wait=False) as running:
        over = eventually(lambda: running.process.poll() is not None or running.ready(), START_S)
        if not over or running.process.poll() is not None:
            raise RuntimeError(f"the server did not start: {running.log[-1500:]}")
        try:
            yield running
        finally:
            told = filter(TELLING.match, running.get("/metrics")[1].splitlines())
            print(running.log[-LOG_END:], *told, sep="\n", file=sys.stderr, flush=True)


def parameters(running: Server, model: str) -> dict[str, str]:
    """Return what the server says of a model beside its configuration."""
    with grpc.insecure_channel(running.address) as channel:
        config = call(channel, "ModelConfig", pb.ModelConfigRequest(name=model)).config
    return {name: value.string_value for name, value in config.parameters.items()}


class Loader:
    """Loads one model of a server with requests of so many rows."""

    def __init__(
        self,
        running: Server,
        folder: Path,
        model: str,
        x: Array,
        device: Callable[[], float | None],
    ) -> None:
        self._server, self._device = running, device
        self._rows = len(x)
        request = infer_request(model, x=x)
        self._message = request.SerializeToString()
        self._body = folder / f"body-{model}-{len(x)}"
        self._body.write_bytes(h2.framed(self._message))
        self._answered = f'isotherm_requests_total{{code="OK",model="{model}",version="1"}}'

    def saturate(self, in_flight: int, seconds: float) -> Served:
        """Keep so many requests in flight, fewer where they are large; every answer must be OK."""
        in_flight = max(2, min(in_flight, IN_FLIGHT_BYTES // len(self._message)))
        if h2load():
            return self._by_h2load(in_flight, seconds)
        return self._by_crew(Closed(concurrency=in_flight), in_flight, seconds)

    def offer(self, per_second: float, seconds: float) -> Served:
        """Send at a constant rate, not more than the load's processes can send punctually."""
        rate = min(per_second, float(processes() * PUNCTUAL))
        return self._by_crew(Open(rate=rate), 0, seconds)

    def _by_crew(self, load: Load, in_flight: int, seconds: float) -> Served:
        count = processes()
        target = Target(
            address=self._server.address,
            bodies=(self._message,),
            connections=max(1, CONNECTIONS // count),
            timeout_s=TIMEOUT_S,
        )
        with Crew(target, count) as crew, self._watch() as watch:
            tally, _ = crew.measure(load, Period(duration_s=seconds, warmup_s=WARM_UP_S))
        if tally.errors or not len(tally.latencies):
            raise RuntimeError(f"{tally.answered} answers, and {tally.errors} under {load}")
        (p99_s,) = tally.latencies.percentiles_s([99])
        return Served(
            rows=self._rows,
            in_flight=in_flight,
            rows_per_s=tally.completed / tally.seconds * self._rows,
            p99_ms=p99_s * 1e3,
            by=f"{count} Python processes",
            busiest_thread=watch.busiest_thread,
            server_cpus=watch.cpus,
            load_cpus=sum(tally.cpu_shares),
            device=watch.device,
        )

    def _by_h2load(self, in_flight: int, seconds: float) -> Served:
        connections = min(CONNECTIONS, in_flight)
        load = h2.Stretch(seconds + WARM_UP_S, connections, max(1, in_flight // connections))
        before, cpu_s = self._server.metric(self._answered), _children_s()
        with self._watch() as watch:
            try:
                seen = h2.drive(
                    h2.Target(f"http://{self._server.address}{h2.MODEL_INFER}", self._body), load
                )
            except SystemExit as error:
                raise RuntimeError(str(error)) from error
        cpus = (_children_s() - cpu_s) / load.seconds

        # HTTP says nothing of gRPC's status: only the server's own count does.
        def answered() -> float:
            return self._server.metric(self._answered) - before

        if not eventually(lambda: answered() >= seen.requests, 3):
            raise RuntimeError(f"{seen.requests} requests were sent, {answered():.0f} answered OK")
        return Served(
            rows=self._rows,
            in_flight=in_flight,
            rows_per_s=seen.per_second * self._rows,
            p99_ms=seen.p99_us / 1e3,
            by="h2load",
            busiest_thread=watch.busiest_thread,
            server_cpus=watch.cpus,
            load_cpus=cpus,
            device=watch.device,
        )

    def _watch(self) -> Watch:
        return Watch(self._server.workers(), self._device)


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def model_bytes(widths: tuple[int, ...]) -> bytes:
    """Return the network as a file."""
    return models.mlp(widths).SerializeToString()
