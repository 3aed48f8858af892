"""Triton's metric families from a real Triton and from ours, after the same calls."""

from __future__ import annotations

import contextlib
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from isotherm.v1 import open_inference_pb2 as pb
from tests.support import models, triton
from tests.support.ports import free_port
from tests.support.rpc import call, infer_request
from tests.support.server import eventually, serving

pytestmark = pytest.mark.slow

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

_SAMPLE = re.compile(r"^(nv_inference_\w+){(.*)} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="(\w+)"')

# Times differ between machines, and between two runs on one.
COUNTS = ("request_success", "request_failure", "count", "exec_count", "pending_request_count")


def samples(port: int) -> Samples:
    """Return Triton's families of a metrics port, by name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        text = response.read().decode()
    # As Prometheus reads them: its Python parser gives counters a `_total` that Triton's lack.
    return {
        (name, frozenset(_LABEL.findall(labels))): float(value)
        for name, labels, value in _SAMPLE.findall(text)
    }


def settled(port: int) -> Samples:
    """Return the samples once every answer is counted: Triton counts after it has sent."""
    success = ("nv_inference_request_success", frozenset({("model", "doubling"), ("version", "1")}))
    assert eventually(lambda: samples(port).get(success) == 3, 30)
    return samples(port)


def ask(channel: grpc.Channel) -> None:
    """Three requests that are answered, with four rows in all, and two mistakes."""
    for rows in (1, 2, 1):
        call(channel, "ModelInfer", infer_request("doubling", x=np.ones((rows, 1), np.float32)))
    for wrong in (
        infer_request("doubling", x=np.ones((1, 2), np.float32)),
        infer_request("nobody", x=np.ones((1, 1), np.float32)),
    ):
        with contextlib.suppress(grpc.RpcError):
            call(channel, "ModelInfer", wrong)


@pytest.fixture(name="scrapes", scope="module")
def _scrapes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Samples, Samples]]:
    """What a real Triton shows, and what ours does."""
    folder: Path = tmp_path_factory.mktemp("metrics")
    models.publish(folder / "ours", "doubling", models.doubling())
    port = free_port()
    with serving(folder / "ours") as server, grpc.insecure_channel(server.address) as ours:
        ask(ours)
        request = pb.ModelConfigRequest(name="doubling")
        config = call(ours, "ModelConfig", request).config
        triton.publish(folder / "triton", config, models.doubling().SerializeToString())
        with (
            triton.triton(folder / "triton", port) as (address, _),
            grpc.insecure_channel(address) as theirs,
        ):
            ask(theirs)
            yield settled(port), settled(server.metrics_port)


def test_every_series_of_triton_is_there_under_its_name_and_labels(
    scrapes: tuple[Samples, Samples],
) -> None:
    """A dashboard finds what it asks for, and nothing that Triton does not have."""
    theirs, ours = scrapes

    assert set(theirs) == set(ours)
    assert len(theirs) == 13


def test_what_is_counted_is_the_same(scrapes: tuple[Samples, Samples]) -> None:
    """Requests, rows, executions and failures; a caller's mistake is no failure."""
    theirs, ours = (
        {key: value for key, value in one.items() if key[0].removeprefix("nv_inference_") in COUNTS}
        for one in scrapes
    )

    assert theirs == ours
    assert sum(ours.values()) == 3 + 4 + 3


def test_times_are_in_the_same_unit(scrapes: tuple[Samples, Samples]) -> None:
    """The parts add up to the whole, which is some hundred microseconds a request."""
    for one in scrapes:
        times = {name.removeprefix("nv_inference_"): value for (name, _), value in one.items()}
        whole = times["request_duration_us"]
        parts = sum(
            value
            for name, value in times.items()
            if name.endswith("duration_us") and name != "request_duration_us"
        )

        assert 30 < whole < 3_000_000
        assert 0 < parts <= whole * 1.01
