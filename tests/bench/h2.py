"""Load from `h2load` (Debian: nghttp2-client) on a gRPC server, and what it cost the server."""

from __future__ import annotations

import os
import re
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from isotherm.v1 import open_inference_pb2 as pb

_MICROSECONDS = {"us": 1.0, "ms": 1e3, "s": 1e6}


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent: requests in all, connections, streams a connection."""

    requests: int
    connections: int
    streams: int


@dataclass(frozen=True, slots=True)
class Result:
    """What h2load saw."""

    per_second: float
    mean_us: float


def frame(request: pb.ModelInferRequest) -> bytes:
    """Return a request as gRPC puts it on the wire: flag, length, message."""
    message = request.SerializeToString()
    return struct.pack(">BI", 0, len(message)) + message


def send(address: str, body: Path, load: Load) -> Result:
    """Send a load; every HTTP request must succeed. gRPC's own status is the caller's to check."""
    output = subprocess.run(
        [
            "h2load",
            *("-n", str(load.requests), "-c", str(load.connections), "-m", str(load.streams)),
            *("-H", "content-type: application/grpc", "-H", "te: trailers", "-d", str(body)),
            f"http://{address}/inference.GRPCInferenceService/ModelInfer",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    ).stdout
    if f"{load.requests} succeeded, 0 failed, 0 errored, 0 timeout" not in output:
        raise SystemExit(f"requests failed:\n{output}")
    return Result(
        per_second=float(_found(r"finished in [^,]+, ([0-9.]+) req/s", output)),
        mean_us=_microseconds(_found(r"time for request: +\S+ +\S+ +(\S+)", output)),
    )


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and of all processes below it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return own + sum(cpu_seconds(int(child)) for child in children)


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise SystemExit(f"no {pattern!r} in:\n{text}")
    return match[1]


def _microseconds(text: str) -> float:
    match = re.fullmatch(r"([0-9.]+)(us|ms|s)", text)
    if match is None:
        raise SystemExit(f"'{text}' is no duration")
    return float(match[1]) * _MICROSECONDS[match[2]]
