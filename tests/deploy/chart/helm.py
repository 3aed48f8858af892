"""The real Helm, as a library in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.deploy.chart.places import CHART
from tests.deploy.manifests import Objects, parsed
from tests.support.environments import beside

REQUIREMENT: Final = "helm-python-sdk==0.2.2"
NAME: Final = "isotherm"
NAMESPACE: Final = "isotherm"


class HelmError(Exception):
    """What Helm has refused, in its words."""


class Helm:
    """Helm's actions; the chart is ours unless another is named."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, action: str, **arguments: Any) -> Any:
        """Run an action of the engine; return its result, or raise HelmError."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"action": action, "arguments": arguments}
        print(json.dumps(request, default=str), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        assert line, "Helm's engine has ended: its complaint is above"
        answer = json.loads(line)
        if "error" in answer:
            raise HelmError(answer["error"])
        return answer["result"]

    def lint(self, values: Any, version: str = "1.32") -> list[str]:
        """What lint has to say of the chart with these values."""
        messages: list[str] = self("lint", chart=CHART, values=values, version=f"v{version}.0")
        return messages

    def files(
        self, values: Any, name: str = NAME, namespace: str = NAMESPACE, chart: Path = CHART
    ) -> dict[str, str]:
        """What each template makes, by its path in the chart."""
        found: dict[str, str] = self(
            "files", chart=chart, values=values, name=name, namespace=namespace
        )
        return {path.partition("/templates/")[2]: text for path, text in found.items()}


class Releases:
    """The releases of one namespace of a cluster."""

    def __init__(self, helm: Helm, kubeconfig: Path, namespace: str) -> None:
        self._helm = helm
        self._where = {"kubeconfig": kubeconfig, "namespace": namespace}

    def install(self, values: Any, name: str = NAME) -> Any:
        """Install a release; return its summary."""
        return self._helm("install", **self._where, chart=CHART, values=values, name=name)

    def upgrade(self, values: Any, name: str = NAME) -> Any:
        """Upgrade a release; return its summary."""
        return self._helm("upgrade", **self._where, chart=CHART, values=values, name=name)

    def rollback(self, revision: int, name: str = NAME) -> None:
        """Roll a release back."""
        self._helm("rollback", **self._where, name=name, revision=revision)

    def kept(self, name: str = NAME) -> Any:
        """What Helm remembers of a release."""
        return self._helm("release", **self._where, name=name)

    def history(self, name: str = NAME) -> Any:
        """The revisions of a release."""
        return self._helm("history", **self._where, name=name)

    def test(self, name: str = NAME, timeout_s: int = 60) -> Any:
        """Run the tests of a release."""
        return self._helm("test", **self._where, name=name, timeout=timeout_s)

    def uninstall(self, name: str = NAME) -> Any:
        """Remove a release."""
        return self._helm("uninstall", **self._where, name=name)


@contextmanager
def engine() -> Iterator[Helm]:
    """Run the engine until the block ends."""
    folder = beside("helm", REQUIREMENT)
    process = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("engine.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(folder), "HOME": str(folder)},
    )
    # It ends with its input, which the block closes.
    with process:
        yield Helm(process)


def rendered(helm: Helm, values: Any, name: str = NAME, namespace: str = NAMESPACE) -> Objects:
    """The objects of a release, without what only a test or a reader sees."""
    made = helm.files(values, name, namespace)
    return [
        node
        for path, text in sorted(made.items())
        if path.endswith(".yaml") and not path.startswith("tests/")
        for node in parsed(text)
    ]


def health_pods(helm: Helm, values: Any, name: str = NAME) -> Objects:
    """What `helm test` runs: one pod, or none."""
    return parsed(helm.files(values, name)["tests/health.yaml"])


def with_health(helm: Helm, values: Any, name: str = NAME) -> Objects:
    """All objects that a release ever has."""
    return rendered(helm, values, name) + health_pods(helm, values, name)
