"""Pods on this machine: the server's container of a rendering, run from this environment."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import grpc
import pytest

from isotherm.v1.open_inference_pb2 import ModelInferRequest
from tests.deploy.kustomize.kubelet import Node, budget_s
from tests.deploy.manifests import Object, settings
from tests.deploy.places import DOCKERFILE
from tests.deploy.processes import eventually, running
from tests.deploy.server import Address, Caller
from tests.support.ports import free_port

# Long enough to be looked at, and short enough to be waited for.
DRAIN_DELAY_S = 3
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
FIELDS = {"metadata.name": "isotherm-5b7f-x2x9k", "metadata.namespace": "isotherm"}
REST = 8000
PORTS = {REST: "ISOTHERM_HTTP_PORT", 8001: "ISOTHERM_GRPC_PORT", 8002: "ISOTHERM_METRICS_PORT"}


class Pod:
    """A running one."""

    def __init__(self, described: Object, node: Node, process: subprocess.Popen[bytes]) -> None:
        self.node = node
        self.process = process
        self._spec = described["spec"]
        (self.container,) = self._spec["containers"]
        self.address = Address(node.ports[8001], node.ports[8002])

    def passes(self, probe: str) -> bool:
        """Ask a probe once."""
        return self.node.passes(self.container, probe)

    def wait_until_ready(self) -> None:
        """Ask the start-up probe until it is content, and then the readiness probe."""
        patience_s = min(60, budget_s(self.container, "startupProbe"))
        for probe in ("startupProbe", "readinessProbe"):
            self.wait_until(probe, passes=True, within_s=patience_s)

    def wait_until(self, probe: str, *, passes: bool, within_s: float) -> None:
        """Ask a probe until it passes, or fails; one that has ended will not pass any more."""

        def settled() -> bool:
            if passes and self.process.poll() is not None:
                pytest.fail(f"{probe}: the server has ended with {self.process.returncode}")
            return self.passes(probe) is passes

        eventually(settled, within_s=within_s, every_s=0.1, what=probe)

    def holds(self, probe: str) -> bool:
        """Whether the kubelet would be content: it acts when a probe failed several times."""
        self.wait_until(probe, passes=True, within_s=budget_s(self.container, probe))
        return True

    def end(self) -> int:
        """Wait for its end; return its status, or raise where the kubelet would have killed it."""
        saved_s = float(settings(self.container)["ISOTHERM_DRAIN_DELAY"]) - DRAIN_DELAY_S
        patience_s: float = self._spec["terminationGracePeriodSeconds"] - saved_s
        return self.process.wait(timeout=patience_s)


@contextmanager
def running_server(
    described: Object,
    log: Path,
    *,
    folders: Mapping[str, Path],
    drain_delay_s: float = 0,
    changed: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Pod]:
    """The image's entry point with a pod's arguments and variables.

    Its ports are free ones of this machine, and its drain is shorter. `changed` are variables that
    have to be others here.
    """
    (container,) = described["spec"]["containers"]
    node = Node(folders=folders, ports={port: free_port() for port in PORTS}, fields=FIELDS)
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", DOCKERFILE.read_text(), re.MULTILINE)
    program, *rest = json.loads(entry)
    command = [str(Path(sys.executable).with_name(program)), *rest, *node.arguments(container)]
    variables = node.environment(container)
    here = {
        name: str(node.ports[port])
        for port, name in PORTS.items()
        # REST is off unless it has a port.
        if port != REST or name in variables
    }
    here |= {"ISOTHERM_DRAIN_DELAY": f"{drain_delay_s:g}"} | {**changed}
    with running(command, log, variables=variables | here) as process:
        yield Pod(described, node, process)


def code_of(caller: Caller, request: ModelInferRequest) -> grpc.StatusCode:
    """How a call ended."""
    try:
        caller.send(request).result()
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK
