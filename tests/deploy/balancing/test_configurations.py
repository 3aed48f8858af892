"""The files of deploy/lb in the programs that they are for: valid as they are, and what they do."""

from __future__ import annotations

import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from isotherm.client import Client
from isotherm.v1 import open_inference_pb2 as pb
from tests.deploy.balancing import balancers, ways
from tests.deploy.balancing.balancers import FOLDER, Balancer, relocated
from tests.deploy.balancing.load import Load
from tests.deploy.balancing.replicas import MODEL, PATIENT, Fleet
from tests.deploy.processes import eventually
from tests.support.rpc import call, infer_request

pytestmark = pytest.mark.slow

# Of 8 MiB: beyond every limit that somebody has by default.
ROWS = 2 << 20
# A batch that was closed, or a request that was dropped, for its deadline.
MINDED = (
    f'isotherm_batches_total{{model="{PATIENT}",reason="deadline",version="1"}}',
    f'isotherm_rejected_total{{model="{PATIENT}",reason="expired",version="1"}}',
)


@pytest.mark.parametrize("name", ["envoy.yaml", "haproxy.cfg", "nginx.conf"])
def test_the_file_is_valid_as_it_is(name: str) -> None:
    """With the addresses that it comes with, and without a warning."""
    status, text = checked(name, FOLDER / name)

    assert status == 0, text
    assert not warnings(text)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("envoy.yaml", "lb_policy: LEAST_REQUEST", "lb_policy: LEAST"),
        ("haproxy.cfg", "balance leastconn", "balance least"),
        ("nginx.conf", "least_conn;", "least;"),
    ],
)
def test_the_program_would_refuse_a_mistake(tmp_path: Path, name: str, good: str, bad: str) -> None:
    """The control of the test above."""
    file = tmp_path / name
    file.write_text((FOLDER / name).read_text().replace(good, bad))
    status, _ = checked(name, file)

    assert status != 0


def test_a_place_that_is_not_in_the_file_is_an_error() -> None:
    """What tests replace is what the file has, and all of it."""
    with pytest.raises(AssertionError, match="the file has no 'b'"):
        relocated("a", {"b": "c"})
    with pytest.raises(AssertionError, match=r"names \['192.0.2.14'\], too"):
        relocated("a 192.0.2.14", {"a": "c"})


@pytest.fixture(name="balancer", params=[balancers.envoy, balancers.haproxy, balancers.nginx])
def _balancer(request: pytest.FixtureRequest, fleet: Fleet, tmp_path: Path) -> Iterator[Balancer]:
    """Each balancer in front of the replicas."""
    with request.param(fleet, tmp_path) as balancer:
        yield balancer


def test_calls_of_one_connection_go_to_all_replicas(balancer: Balancer) -> None:
    """Evenly: no replica has less than half of its share."""
    with ways.plain(balancer.address) as ask:
        load = Load(ask)
        with load.asking():
            # Each was checked once.
            load.await_answers((0, 1, 2))
            known = len(load.calls)
            eventually(lambda: len(load.calls) >= known + 600, what="enough calls")
    shares = Counter(call.replica for call in load.calls[known:])

    print(shares)
    assert not load.errors()
    assert min(shares[index] for index in range(3)) > shares.total() / 6


def test_a_large_message_passes(balancer: Balancer) -> None:
    """There and back."""
    x = np.ones((ROWS, 1), np.float32)
    with Client(balancer.address, timeout=60) as client:
        answer = client.predict(MODEL, x, outputs="y")

    assert answer.shape == x.shape
    assert set(np.unique(answer)) <= {0.0, 1.0, 2.0}


def test_a_deadline_reaches_the_replica(balancer: Balancer, fleet: Fleet) -> None:
    """It waits for company no longer than its caller can wait, nor for ever."""

    def minded() -> float:
        return sum(replica.metric(series) for replica in fleet.replicas for series in MINDED)

    def minds() -> bool:
        # Where the way takes longer than the replica has reckoned, its caller is gone before.
        with suppress(grpc.RpcError):
            call(channel, "ModelInfer", request, timeout=0.3)
        return minded() > before

    before = minded()
    request = infer_request(PATIENT, x=ways.ONE)
    with grpc.insecure_channel(balancer.address) as channel:
        assert eventually(minds, what="regard for the deadline")


def test_a_stream_passes_message_by_message(balancer: Balancer) -> None:
    """Each answer comes while the caller has not said yet whether there is more."""
    asked = threading.Semaphore(1)
    over = threading.Event()

    def requests() -> Iterator[pb.ModelInferRequest]:
        while asked.acquire(timeout=20) and not over.is_set():
            yield infer_request(MODEL, x=ways.ONE)

    with grpc.insecure_channel(balancer.address) as channel:
        stream = channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelStreamInferResponse.FromString,
        )(requests(), timeout=30)
        for _ in range(3):
            assert not next(stream).error_message
            asked.release()
        over.set()
        asked.release()


def test_health_is_told_and_watched(balancer: Balancer) -> None:
    """For a client that watches one address: it hears of a replica, and stays connected."""
    request = health_pb2.HealthCheckRequest(service="")
    with grpc.insecure_channel(balancer.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        status = stub.Check(request, timeout=5).status
        watch = stub.Watch(request, timeout=30)
        first = next(watch).status
        watch.cancel()

    assert (status, first) == (health_pb2.HealthCheckResponse.SERVING,) * 2


def checked(name: str, file: Path) -> tuple[int, str]:
    """Have the file's program look at it; return its exit status, and what it has to say."""
    command = {
        "envoy.yaml": lambda: [balancers.envoy_program(), "--mode", "validate", "-c", str(file)],
        "haproxy.cfg": lambda: [balancers.haproxy_program(), "-c", "-f", str(file)],
        "nginx.conf": lambda: [balancers.nginx_program(), "-t", "-c", str(file)],
    }[name]()
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def warnings(text: str) -> list[str]:
    """Return the lines in which a program warns."""
    signs = ("[warning]", "[WARNING]", "[warn]", "[critical]", "[error]")
    return [line for line in text.splitlines() if any(sign in line for sign in signs)]
