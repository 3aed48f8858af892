"""Replicas of the server with the settings of the manifest, each on an address of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import yaml

from tests.deploy.pages import page
from tests.deploy.places import KUSTOMIZE
from tests.deploy.processes import eventually
from tests.support import models
from tests.support.ports import free_port

# All of them are this machine; as with pods, the ports are the same everywhere.
HOSTS = ("127.0.0.11", "127.0.0.12", "127.0.0.13")
MODEL = "replica"
# Waits for company as long as its caller's deadline allows.
PATIENT = "patient"
PATIENCE_US = 10_000_000
# What differs from the manifest: a drain that tests have the time for, and a wait for company that
# makes calls long enough to be met in flight, at no cost.
SETTINGS = {
    "ISOTHERM_DRAIN_DELAY": "3",
    "ISOTHERM_MAX_QUEUE_DELAY_US": "100000",
    "ISOTHERM_VETTING": "off",
}


class Ports(NamedTuple):
    """The ports of every replica."""

    grpc: int
    metrics: int


def manifest_settings() -> dict[str, str]:
    """Return the variables that the Deployment gives to the server."""
    deployment = yaml.safe_load((KUSTOMIZE / "base" / "deployment.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


class Replica:
    """One server, which can be stopped and started on its address.

    Attributes:
        index: Its place in the fleet, which is also what its answers tell.
        host: The address of its own.
        ports: Where it listens there.
    """

    def __init__(self, index: int, ports: Ports, folder: Path, settings: Mapping[str, str]) -> None:
        self.index, self.host, self.ports = index, HOSTS[index], ports
        self._repository = folder / str(index)
        models.publish(self._repository, MODEL, models.times(index))
        models.publish(self._repository, PATIENT, models.times(index))
        (self._repository / PATIENT / "config.pbtxt").write_text(
            f"dynamic_batching {{ max_queue_delay_microseconds: {PATIENCE_US} }}"
        )
        self._settings = {
            **manifest_settings(),
            **SETTINGS,
            "ISOTHERM_HOST": self.host,
            "ISOTHERM_GRPC_PORT": str(ports.grpc),
            "ISOTHERM_METRICS_PORT": str(ports.metrics),
            **settings,
        }
        self._log = folder / f"{index}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where gRPC is served."""
        return f"{self.host}:{self.ports.grpc}"

    def ready(self) -> bool:
        """Tell whether it says that it is ready."""
        assert self._process is not None
        assert self._process.poll() is None, f"ended by itself:\n{self._log.read_text()}"
        return page(self.ports.metrics, "/v2/health/ready", host=self.host)[0] == 200

    def metric(self, series: str) -> float:
        """Return the value of one series; 0 when it is not there."""
        for line in page(self.ports.metrics, "/metrics", host=self.host)[1].splitlines():
            name, _, value = line.rpartition(" ")
            if name == series:
                return float(value)
        return 0.0

    def start(self) -> None:
        """Start it; `await_ready` returns when it serves."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "isotherm.server", str(self._repository)],
                env={**os.environ, **self._settings},
                stdout=log,
                stderr=subprocess.STDOUT,
                # So that all of its processes can be killed at once.
                start_new_session=True,
            )

    def await_ready(self) -> None:
        """Return when it says that it is ready."""
        eventually(self.ready, within_s=60, every_s=0.02, what=f"readiness of {self.host}")

    def stop(self) -> None:
        """Have it drain, and return when it has ended."""
        assert self._process is not None
        self._process.terminate()
        assert self._process.wait(60) == 0, self._log.read_text()

    def kill(self) -> None:
        """End all of its processes at once, as if the machine had gone."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)


class Fleet:
    """Several replicas.

    Attributes:
        replicas: All of them, also those that do not run.
        ports: Where each listens on its address.
    """

    def __init__(self, count: int, folder: Path, settings: Mapping[str, str]) -> None:
        self.ports = Ports(free_port(), free_port())
        self.replicas = [Replica(index, self.ports, folder, settings) for index in range(count)]

    @property
    def target(self) -> str:
        """All replicas, as a client is told that balances by itself."""
        return "ipv4:" + ",".join(replica.address for replica in self.replicas)

    def start(self, replicas: Sequence[Replica] | None = None) -> None:
        """Start these replicas, or all, and return when they are ready."""
        started = self.replicas if replicas is None else replicas
        for replica in started:
            replica.start()
        for replica in started:
            replica.await_ready()

    def restart(self, settle_s: float = 0.0) -> dict[int, tuple[float, float]]:
        """Restart one after the other, the next when the one before is ready: a rolling update.

        `settle_s` is what a Deployment calls minReadySeconds. Returns for each when it was told to
        stop, and when it had.
        """
        told = {}
        for replica in self.replicas:
            begun_s = time.monotonic()
            replica.stop()
            told[replica.index] = begun_s, time.monotonic()
            replica.start()
            replica.await_ready()
            time.sleep(settle_s)
        return told


@contextmanager
def fleet_of(
    count: int, folder: Path, settings: Mapping[str, str] | None = None
) -> Iterator[Fleet]:
    """Keep a fleet, of which nothing runs yet, until the block ends."""
    fleet = Fleet(count, folder, settings or {})
    try:
        yield fleet
    finally:
        for replica in fleet.replicas:
            replica.kill()
