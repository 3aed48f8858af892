"""The composition, started by podman-compose: all of it but Grafana, which Debian does not have."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.deploy.images.shared import BASE, IMAGE
from tests.deploy.observability.prometheus import Prometheus
from tests.deploy.pages import page
from tests.deploy.places import DEPLOY, MODELS, RULES
from tests.deploy.processes import eventually, tool
from tests.deploy.server import MODEL, Address, check, wait_until_ready
from tests.support.environments import environment
from tests.support.ports import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SERVICES = ("isotherm", "prometheus", "alertmanager")
# Debian's programs in images as their makers build theirs: the same paths, the same user.
STAND_IN = """
FROM {base}
COPY root /
RUN install -d -o 65534 -g 65534 /{name}
WORKDIR /{name}
USER 65534
ENTRYPOINT ["/bin/{name}"]
"""
PROGRAMS = {
    "prometheus": {"prometheus": "prometheus", "promtool": "promtool"},
    "alertmanager": {"prometheus-alertmanager": "alertmanager", "amtool": "amtool"},
}
# Built into the makers' own; Debian's looks for them here.
TEMPLATES = Path("/usr/share/prometheus/alertmanager")


class Composition:
    """The services of a project, and the ports of this machine that lead to them."""

    def __init__(self, store, folder):
        self.store = store
        self.address = Address(free_port(), free_port())
        self.prometheus = Prometheus(free_port())
        self.alertmanager_port = free_port()
        self._file = folder / "compose" / "compose.yaml"
        self._program = environment("podman-compose", "podman-compose==1.6.0")
        self._variables = {
            "ISOTHERM_IMAGE": IMAGE,
            "ISOTHERM_MODELS": str(MODELS),
            "ISOTHERM_GRPC_PORT": str(self.address.grpc_port),
            "ISOTHERM_METRICS_PORT": str(self.address.metrics_port),
            "PROMETHEUS_IMAGE": stand_in(store, "prometheus"),
            "PROMETHEUS_PORT": str(self.prometheus.port),
            "ALERTMANAGER_IMAGE": stand_in(store, "alertmanager"),
            "ALERTMANAGER_PORT": str(self.alertmanager_port),
        }

    def __call__(self, *arguments):
        """Run a command of podman-compose."""
        program = str(self._program.with_name("podman-compose"))
        command = [program, "--in-pod", "0", "--file", str(self._file), *arguments]
        return self.store.output(command, variables=self._variables)

    def alerts(self):
        """The alerts that Alertmanager knows."""
        status, body = page(self.alertmanager_port, "/api/v2/alerts")
        assert status == 200
        return {alert["labels"]["alertname"] for alert in json.loads(body)}


def stand_in(store, name):
    """An image with Debian's programs in the place of a registry's."""
    context = store.folder / name
    if not context.exists():
        binaries = context / "root" / "usr" / "bin"
        binaries.mkdir(parents=True)
        for program, called in PROGRAMS[name].items():
            shutil.copy(tool(program, f"Debian's {program}"), binaries / called)
        shutil.copytree(TEMPLATES, context / "root" / TEMPLATES.relative_to("/"))
        (context / "Dockerfile").write_text(STAND_IN.format(base=BASE, name=name))
    store.buildah(
        "build", "--quiet", "--isolation", "chroot", "--tag", f"{name}:test", str(context)
    )
    return f"localhost/{name}:test"


def hastened(folder):
    """The files of the composition with seconds in the place of minutes, and else as they are."""
    for name in ("compose", "grafana", "prometheus"):
        shutil.copytree(DEPLOY / name, folder / name)
    config = folder / "compose" / "prometheus.yml"
    config.write_text(re.sub(r"(_interval): \d+s", r"\1: 1s", config.read_text()))
    rules = folder / "prometheus" / "rules.yml"
    rules.write_text(re.sub(r"( for|interval): \w+", r"\1: 1s", rules.read_text()))
    return folder


@pytest.fixture(scope="module", name="composition")
def _composition(store, tmp_path_factory):
    """The project, up until the last test of this module."""
    composition = Composition(store, hastened(tmp_path_factory.mktemp("project")))
    try:
        composition("up", "--detach", "--no-build", *SERVICES)
        yield composition
    finally:
        composition("down", "--volumes", "--timeout", "5")


def test_prometheus_scrapes_the_server_by_its_name(composition):
    """Through the composition's own network."""
    wait_until_ready(composition.address, within_s=60)
    query = composition.prometheus.query

    eventually(lambda: query('up{job="isotherm",instance="isotherm:8002"} == 1'), what="a scrape")
    # The last scrape may be older than the model.
    eventually(lambda: query(f'isotherm_model_info{{model="{MODEL}"}}'), what="the model")
    assert [check(composition.address.target, name, 2) for name in ("", MODEL)] == ["SERVING"] * 2


def test_prometheus_has_all_of_our_rules(composition):
    """As many as the file has, and each of them can be evaluated."""
    eventually(composition.prometheus.ready)
    written = yaml.safe_load(RULES.read_text())["groups"]
    wanted = sorted(
        rule.get("alert") or rule["record"] for group in written for rule in group["rules"]
    )

    def loaded():
        groups = composition.prometheus.get("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return None if any(rule["health"] == "unknown" for rule in rules) else rules

    rules = eventually(loaded, what="an evaluation of every rule")
    assert sorted(rule["name"] for rule in rules) == wanted
    assert {rule["health"] for rule in rules} == {"ok"}


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_is_healthy_by_its_own_check(composition, service):
    """The commands of the compose file, run in the containers."""
    name = f"isotherm_{service}_1"

    eventually(lambda: composition.store.exits("healthcheck", "run", name) == 0, what=service)


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_is_locked_in(composition, service):
    """No root, no capability, no writing, bounded memory; ports on loopback only."""
    name = f"isotherm_{service}_1"
    status = composition.store.status(name)
    (inspected,) = json.loads(composition.store.podman("inspect", name))
    host = inspected["HostConfig"]
    ports = [each for bound in host["PortBindings"].values() for each in bound]

    assert "0" not in status["Uid"].split()
    assert int(status["CapEff"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert host["ReadonlyRootfs"]
    assert host["Memory"] > 0
    assert {each["HostIp"] for each in ports} == {"127.0.0.1"}


def test_alertmanager_is_told_when_the_server_is_gone(composition):
    """By its name, too; the last test, as it stops the server."""
    wait_until_ready(composition.address, within_s=60)
    # Before its first scrape, Prometheus calls the server down.
    eventually(lambda: "IsothermDown" not in composition.alerts(), what="the end of alerts")
    composition("stop", "isotherm")

    eventually(lambda: "IsothermDown" in composition.alerts(), within_s=30, what="the alert")
