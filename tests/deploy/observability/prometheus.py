"""A real Prometheus: started with our configuration, asked over its HTTP interface."""

import json
import urllib.parse
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.deploy.pages import page
from tests.deploy.places import PROMETHEUS_CONFIG, RULES

Answer = dict[str, Any]
# What the Prometheus operator adds to a pod's series.
TARGET_LABELS = {"namespace": "isotherm", "pod": "isotherm-5b7f-x2x9k"}


class Prometheus(NamedTuple):
    """A running Prometheus."""

    port: int

    def get(self, path: str, **parameters: str) -> Any:
        """The `data` of an answer; raises ConnectionError while it is starting."""
        status, body = page(self.port, f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            # It listens before it can answer, and says so in plain text.
            raise ConnectionError(body)
        answer = json.loads(body)
        assert status == HTTPStatus.OK, answer
        return answer["data"]

    def query(self, expr: str) -> list[Answer]:
        """The series that an expression yields now."""
        result: list[Answer] = self.get("query", query=expr)["result"]
        return result

    def ready(self) -> bool:
        """Whether it answers queries."""
        return page(self.port, "/-/ready")[0] == 200


def configuration(folder: Path, metrics_port: int) -> Path:
    """Our own configuration with another target and with seconds in place of quarter minutes."""
    config = yaml.safe_load(PROMETHEUS_CONFIG.read_text())
    (job,) = config["scrape_configs"]
    target = {"targets": [f"127.0.0.1:{metrics_port}"], "labels": TARGET_LABELS}
    job["static_configs"] = [target]
    config["global"] = dict.fromkeys(config["global"], "1s")
    config["rule_files"] = [str(RULES)]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def command(program: str, config: Path, port: int) -> list[str]:
    """How it is started: on loopback, its data beside its configuration."""
    return [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={config.parent / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
