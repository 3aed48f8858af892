"""The server's image, built from the Dockerfile and run as a cluster would run it."""

import json
import os
import re
import threading
from contextlib import contextmanager
from subprocess import Popen
from typing import NamedTuple

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.deploy.images.shared import DEMO, IMAGE, RUNTIME
from tests.deploy.manifests import container, pod, read
from tests.deploy.places import KUSTOMIZE, MODELS, RENDERED, ROOT
from tests.deploy.processes import eventually
from tests.deploy.server import MODEL, Address, Caller, check, wait_until_ready
from tests.support.certificates import Authority
from tests.support.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MANIFEST = read(RENDERED[KUSTOMIZE / "base"])
LARGEST_BYTES = 350_000_000
# Forty calls of them fit into the queue.
ROWS = 1000
# `pip list` of an environment without pip.
INSTALLED = """
import importlib.metadata as m, json, sys
print(json.dumps({d.metadata["Name"]: d.version for d in m.distributions(path=[
    path for path in sys.path if path.startswith("/opt/isotherm")])}))
"""


class Container(NamedTuple):
    """A running container, and where this machine reaches it."""

    name: str
    address: Address
    process: Popen[bytes]


def _hardened():
    """The pod's security settings as podman's options."""
    limits = container(MANIFEST)["resources"]["limits"]
    user = pod(MANIFEST)["spec"]["securityContext"]
    return (
        *("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        *("--user", f"{user['runAsUser']}:{user['runAsGroup']}"),
        *("--memory", limits["memory"].removesuffix("i").lower()),
        *("--tmpfs", "/tmp:size=64m"),  # noqa: S108
    )


@contextmanager
def _started(store, name, image, *options, ports=(8001, 8002)):
    """The image in a hardened container, its ports published on loopback."""
    address = Address(free_port(), free_port())
    published = [
        argument
        for here, there in zip(address, ports, strict=True)
        for argument in ("--publish", f"127.0.0.1:{here}:{there}")
    ]
    with store.running(name, image, options=(*_hardened(), *published, *options)) as process:
        yield Container(name, address, process)


def _models(folder=MODELS):
    return ("--volume", f"{folder}:/models:ro")


@pytest.fixture(scope="module", name="served")
def _served(store):
    """The server's image with the example's model."""
    with _started(store, "hardened", IMAGE, *_models()) as served:
        wait_until_ready(served.address, within_s=60)
        yield served


def test_the_hardened_container_serves(store, served):
    """No root, no capability, no privilege to gain, no writing, no shell; it is process 1."""
    status = store.status(served.name)

    assert check(served.address.target, "", 2) == "SERVING"
    assert {*status["Uid"].split(), *status["Gid"].split()} == {"65532"}
    assert status["NSpid"].split()[-1] == "1"
    assert int(status["CapEff"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert store.exits("exec", served.name, "touch", "/opt/isotherm/written") != 0
    assert store.exits("exec", served.name, "touch", "/models/written") != 0
    assert store.exits("exec", served.name, "sh", "-c", "true") != 0
    assert store.exits("exec", served.name, "true") == 0


def test_the_image_tells_whether_it_is_healthy(store, served):
    """Its own HEALTHCHECK, as the engine runs it; a port where nobody listens is not healthy."""
    elsewhere = ("exec", "--env", "ISOTHERM_METRICS_PORT=1", served.name)

    assert store.exits("healthcheck", "run", served.name) == 0
    assert "SERVING" in store.podman("exec", served.name, "isotherm", "health")
    assert store.exits(*elsewhere, "isotherm", "health", "--local") == 1


def test_the_health_check_knows_tls_tokens_and_other_ports(store, tmp_path):
    """They are set by variables, and the check reads the same ones."""
    authority = Authority(tmp_path, "authority")
    pair = authority.issue("server")
    token = tmp_path / "tokens.txt"
    token.write_text("c2VydmluZy1qb2ItMQ3f0b9a\n")
    for path in (tmp_path, pair.cert, pair.key, token):
        os.chown(path, 65532, 65532)
    variables = {
        "ISOTHERM_GRPC_PORT": "9001",
        "ISOTHERM_METRICS_PORT": "9002",
        "ISOTHERM_TLS_CERT": f"/secrets/{pair.cert.name}",
        "ISOTHERM_TLS_KEY": f"/secrets/{pair.key.name}",
        "ISOTHERM_AUTH_TOKEN_FILE": "/secrets/tokens.txt",
    }
    given = [argument for each in variables.items() for argument in ("--env", "=".join(each))]
    mounted = ("--volume", f"{tmp_path}:/secrets:ro", *_models())
    with _started(store, "secured", IMAGE, *given, *mounted, ports=(9001, 9002)) as served:
        wait_until_ready(served.address, within_s=60)

        assert store.exits("healthcheck", "run", "secured") == 0
        assert check(served.address.target, "", 2) != "SERVING"


def test_the_doctor_of_the_image_says_what_it_runs_on(store, served):
    """From inside, with nothing to write to; this is the image for processors."""
    found = json.loads(store.podman("exec", served.name, "isotherm", "doctor", "--json"))
    cuda = ("isotherm", "doctor", "--provider", "cuda")

    assert found["works"] is True
    assert found["provider"] == "cpu"
    assert {"cli", "rest", "server", "tracing"} == {
        name for name, there in found["extras"].items() if there
    }
    assert store.exits("exec", served.name, *cuda) == 1


def test_the_image_holds_the_pinned_versions_and_no_torch(store, served):
    """constraints.txt decides about everything that is installed."""
    printed = store.podman("exec", served.name, "python3", "-c", INSTALLED)
    installed = {_canonical(name): version for name, version in json.loads(printed).items()}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    pinned = {_canonical(name): version for name, version in pins.items()}
    ours = installed.pop("isotherm")

    assert ours
    assert installed.items() <= pinned.items()
    assert "torch" not in installed
    assert {"opentelemetry-sdk", "uvicorn"} <= installed.keys()


def test_the_image_is_small_and_labelled(store):
    """At most 350 MB on top of the base; a change of ours moves a few of them."""
    image, base = (
        json.loads(store.podman("image", "inspect", name))[0] for name in (IMAGE, RUNTIME)
    )
    history = json.loads(store.podman("history", "--format", "json", IMAGE))
    layers = [layer["size"] for layer in history if layer["size"]]
    own_bytes = image["Size"] - base["Size"]
    print(f"the server adds {own_bytes / 1e6:.0f} MB to its base of {base['Size'] / 1e6:.0f} MB")
    print(f"our own layer has {layers[0] / 1e6:.1f} MB")

    assert own_bytes <= LARGEST_BYTES
    assert layers[0] < 10_000_000
    assert image["Labels"]["org.opencontainers.image.version"] == "test"
    assert image["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_the_demo_image_brings_its_model_along(store):
    """Nothing is mounted but the scratch folder."""
    with _started(store, "demo", DEMO) as served:
        wait_until_ready(served.address, within_s=60)

        assert check(served.address.target, MODEL, 2) == "SERVING"


class Callers:
    """Threads that ask all the time, each with one call in flight, until health says to stop."""

    def __init__(self, target, count):
        self.faults = []
        self.answers = 0
        self._target = target
        self._leave = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]
        self._watcher = threading.Thread(target=self._watch)

    def start(self):
        for thread in (self._watcher, *self._threads):
            thread.start()

    def join(self):
        for thread in (*self._threads, self._watcher):
            thread.join(60)

    def _ask(self):
        with grpc.insecure_channel(self._target) as channel:
            caller = Caller(channel)
            request = caller.request(ROWS)
            while not self._leave.is_set():
                try:
                    caller.send(request).result()
                except grpc.RpcError as error:
                    self.faults.append(error.code())
                    return
                self.answers += 1

    def _watch(self):
        """Say when to leave, as a balancer would."""
        with grpc.insecure_channel(self._target) as channel:
            stream = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            try:
                for answer in stream:
                    if answer.status != health_pb2.HealthCheckResponse.SERVING:
                        break
            except grpc.RpcError:
                pass
            self._leave.set()


@contextmanager
def _under_load(store, name):
    """A container that forty callers ask."""
    with _started(store, name, IMAGE, "--env", "ISOTHERM_DRAIN_DELAY=1", *_models()) as served:
        wait_until_ready(served.address, within_s=60)
        callers = Callers(served.address.target, 40)
        callers.start()
        try:
            eventually(lambda: callers.answers > 80, within_s=30, what="load on the container")
            yield served, callers
        finally:
            store.exits("kill", name)
            callers.join()


def test_sigterm_costs_no_call(store):
    """Process 1 says that it is leaving, answers what it has, and ends with 0."""
    with _under_load(store, "drained") as (served, callers):
        store.podman("kill", "--signal", "TERM", "drained")
        code = served.process.wait(timeout=60)
        callers.join()
    print(f"{callers.answers} calls answered, {len(callers.faults)} failed")

    assert callers.faults == []
    assert code == 0, store.log("drained")


def test_sigkill_costs_calls(store):
    """The control: the callers do see a server that leaves without a word."""
    with _under_load(store, "killed") as (served, callers):
        store.podman("kill", "--signal", "KILL", "killed")
        code = served.process.wait(timeout=60)
        callers.join()

    assert callers.faults
    assert code == 137


def _canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()
