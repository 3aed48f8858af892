"""One alert all the way: a server dies, Prometheus notices, Alertmanager tells somebody."""

import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from tests.deploy.observability import alertmanager
from tests.deploy.observability.prometheus import (
    TARGET_LABELS,
    Prometheus,
    command,
    configuration,
)
from tests.deploy.places import MODELS, RULES
from tests.deploy.processes import eventually, running, tool
from tests.deploy.server import Address, wait_until_ready
from tests.support.ports import free_port

pytestmark = pytest.mark.slow


def _impatient_rules(folder: Path) -> Path:
    """Our rules, whose conditions need to hold for a second only."""
    rules = yaml.safe_load(RULES.read_text())
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        if "for" in rule:
            rule["for"] = "1s"
    path = folder / "rules.yml"
    path.write_text(yaml.safe_dump(rules))
    return path


def _configuration(folder: Path, metrics_port: int, alertmanager_port: int) -> Path:
    """Our configuration, with these rules and an Alertmanager to tell."""
    path = configuration(folder, metrics_port)
    config = yaml.safe_load(path.read_text())
    config["rule_files"] = [str(_impatient_rules(folder))]
    targets = [{"targets": [f"127.0.0.1:{alertmanager_port}"]}]
    config["alerting"] = {"alertmanagers": [{"static_configs": targets}]}
    path.write_text(yaml.safe_dump(config))
    return path


def _told(prometheus: Prometheus) -> list[dict[str, str]]:
    """The Alertmanagers that a Prometheus has found."""
    found: list[dict[str, str]] = prometheus.get("alertmanagers")["activeAlertmanagers"]
    return found


def test_somebody_is_told_of_a_server_that_is_gone_and_when_it_is_back(tmp_path):
    """With the words, the severity and the page that the rules give."""
    programs = [
        tool("prometheus", "Debian's prometheus"),
        tool("prometheus-alertmanager", "Debian's prometheus-alertmanager"),
    ]
    address, prometheus = Address(free_port(), free_port()), Prometheus(free_port())
    alertmanager_port = free_port()
    serve = [sys.executable, "-m", "isotherm.server", str(MODELS), "--vetting", "off"]
    serve += ["--grpc-port", str(address.grpc_port), "--metrics-port", str(address.metrics_port)]
    config = _configuration(tmp_path, address.metrics_port, alertmanager_port)
    alert = {"alertname": "IsothermDown", "instance": f"127.0.0.1:{address.metrics_port}"}
    with ExitStack() as stack:
        receiver = stack.enter_context(alertmanager.receiving())
        telling = alertmanager.command(programs[1], tmp_path, alertmanager_port, receiver)
        stack.enter_context(running(telling, tmp_path / "alertmanager.log"))
        eventually(lambda: alertmanager.ready(alertmanager_port), what="Alertmanager")
        with running(serve, tmp_path / "first.log"):
            wait_until_ready(address, within_s=60)
            watching = command(programs[0], config, prometheus.port)
            stack.enter_context(running(watching, tmp_path / "prometheus.log"))
            eventually(prometheus.ready, within_s=60, what="Prometheus")
            eventually(lambda: prometheus.query('up{job="isotherm"} == 1'), what="a scrape")
            # Whom it cannot tell at once, it tells a minute later.
            eventually(lambda: _told(prometheus), what="whom Prometheus tells")
        eventually(lambda: receiver.alerts("firing", **alert), what="an alert")
        with running(serve, tmp_path / "second.log"):
            wait_until_ready(address, within_s=60)
            eventually(lambda: receiver.alerts("resolved", **alert), what="its end")
        told = receiver.alerts("firing", **alert)[0]

    assert told["labels"] == {**alert, **TARGET_LABELS, "job": "isotherm", "severity": "page"}
    assert told["annotations"]["summary"] == f"Prometheus cannot scrape {alert['instance']}."
    assert told["annotations"]["runbook_url"].endswith("runbooks/IsothermDown.md")
