"""Load from `h2load` (Debian: nghttp2-client) on a server of gRPC or of HTTP/1.1."""

from __future__ import annotations

import re
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from isotherm.v1 import open_inference_pb2 as pb

GRPC_HEADERS = ("content-type: application/grpc", "te: trailers")
MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent: requests in all, connections, streams a connection."""

    requests: int
    connections: int
    streams: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """What is sent: as much as is answered in so long, connections, streams a connection.

    Where a kernel deals connections out unevenly, a fixed number of requests ends with one process
    idle; a stretch ends while all are busy.
    """

    seconds: float
    connections: int
    streams: int


@dataclass(frozen=True, slots=True)
class Target:
    """Where it is sent, and the body of each request."""

    url: str
    body: Path
    headers: tuple[str, ...] = GRPC_HEADERS
    http1: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What h2load saw; `requests` that were answered, `body_bytes` of all answers together."""

    requests: int
    per_second: float
    mean_us: float
    p50_us: float
    p99_us: float
    body_bytes: int


def frame(request: pb.ModelInferRequest) -> bytes:
    """Return a request as gRPC puts it on the wire: flag, length, message."""
    return framed(request.SerializeToString())


def framed(message: bytes) -> bytes:
    """Return a message as gRPC puts it on the wire."""
    return struct.pack(">BI", 0, len(message)) + message


def send(address: str, body: Path, load: Load) -> Result:
    """Send a load of `ModelInfer`, as `drive` does."""
    return drive(Target(f"http://{address}{MODEL_INFER}", body), load)


def drive(target: Target, load: Load | Stretch) -> Result:
    """Send a load; every HTTP request must succeed. gRPC's own status is the caller's to check.

    A gRPC answer that is not OK has no body, so `body_bytes` tells.
    """
    with tempfile.NamedTemporaryFile() as log:
        headers = [part for header in target.headers for part in ("-H", header)]
        if isinstance(load, Load):
            extent = ("-n", str(load.requests))
        else:
            extent = ("-D", f"{load.seconds * 1000:.0f}ms")
        output = subprocess.run(
            [
                "h2load",
                *(*extent, "-c", str(load.connections), "-m", str(load.streams)),
                *("-d", str(target.body), "--log-file", log.name),
                *(["--h1"] if target.http1 else []),
                *headers,
                target.url,
            ],
            capture_output=True,
            text=True,
            check=True,
            timeout=TIMEOUT_S,
        ).stdout
        taken_us = np.loadtxt(log.name, dtype=np.int64, usecols=2, ndmin=1)
    requests = int(_found(r"([0-9]+) succeeded, 0 failed, 0 errored, 0 timeout", output))
    wanted = load.requests if isinstance(load, Load) else max(1, requests)
    if requests != wanted:
        raise SystemExit(f"{requests} of {wanted} requests succeeded:\n{output}")
    p50, p99 = np.percentile(taken_us, (50, 99))
    return Result(
        requests=requests,
        per_second=float(_found(r"finished in [^,]+, ([0-9.]+) req/s", output)),
        mean_us=float(taken_us.mean()),
        p50_us=float(p50),
        p99_us=float(p99),
        body_bytes=int(_found(r"\(([0-9]+)\) data$", output)),
    )


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    if match is None:
        raise SystemExit(f"no {pattern!r} in:\n{text}")
    return match[1]
