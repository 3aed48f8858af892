"""`--access-log`: lines of a real server, as docs/logs.md describes them."""

from __future__ import annotations

import re
from pathlib import Path

import grpc
import numpy as np
import pytest

from isotherm.v1 import open_inference_pb2 as pb
from tests.support.rpc import call, infer_request
from tests.support.server import serving

PAGE = (Path(__file__).parents[2] / "docs" / "logs.md").read_text()
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO worker-0 "


def lines(repository: Path, *flags: str) -> list[str]:
    """Return the lines about requests, of two that are answered and one that is wrong."""
    request = infer_request("mlp", x=np.zeros((3, 1), np.float32))
    request.id = "a\nb"
    wrong = pb.ModelInferRequest(model_name="mlp")
    with (
        serving(repository, *flags, "--log-level", "error") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        call(channel, "ModelInfer", request)
        with pytest.raises(grpc.RpcError):
            call(channel, "ModelInfer", wrong)
        call(channel, "ModelInfer", request)
        server.stop()
        return [line for line in server.log.splitlines() if "model=" in line]


def test_every_request_has_its_line(repository: Path) -> None:
    """Whatever the level; the fields are those of the page."""
    first, failed, second = lines(repository, "--access-log", "1")

    fields = (
        r"model=mlp version=1 code=OK rows=3 id=\"a\\nb\" "
        r"duration_us=\d+ queue_us=\d+ run_us=\d+ batch_rows=3"
    )
    for line in (first, second):
        assert re.fullmatch(STAMP + fields, line), line
    assert re.fullmatch(
        STAMP + r"model=mlp version=1 code=INVALID_ARGUMENT duration_us=\d+ reason=\".*\"", failed
    )
    table = PAGE.partition("## The access log")[2]
    named = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    documented = {name for cell in named for name in re.findall(r"`(\w+)`", cell)}
    # Nothing is traced here.
    assert {*re.findall(r"(\w+)=", first + " " + failed)} == documented - {"trace_id"}


def test_without_the_flag_requests_are_not_logged(repository: Path) -> None:
    """It is off unless it is wanted."""
    assert lines(repository) == []
