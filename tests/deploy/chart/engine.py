"""Helm's engine behind lines of JSON: `helm.py` runs this file beside the package that it needs.

A line is {"action": name, "arguments": {...}}; the answer is {"result": ...} or {"error": text}.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import helm_python


@cache
def config(kubeconfig: str, namespace: str) -> helm_python.Config:
    """A connection; each release is kept in a Secret of the namespace, as by default."""
    return helm_python.Config(kubeconfig_path=kubeconfig, namespace=namespace)


def lint(chart: str, values: dict[str, Any], version: str) -> list[str]:
    """What lint has to say, warnings included."""
    report = helm_python.lint(chart, values, strict=True, kube_version=version)
    return [*report["errors"], *(each["error"] for each in report["messages"])]


def files(chart: str, values: dict[str, Any], name: str, namespace: str) -> dict[str, str]:
    """What the templates make, file by file, without a cluster."""
    with helm_python.Chart.load(chart) as loaded:
        loaded.validate_schema(values)
        made: dict[str, str] = loaded.render(values, name=name, namespace=namespace)
        return made


def package(chart: str, folder: str) -> str:
    """The path of the chart as one file."""
    return str(helm_python.package(chart, destination=folder))


def install(kubeconfig: str, namespace: str, chart: str, values: Any, name: str) -> Any:
    """Install a release."""
    return config(kubeconfig, namespace).install(chart, name, values)


def upgrade(kubeconfig: str, namespace: str, chart: str, values: Any, name: str) -> Any:
    """Upgrade a release."""
    return config(kubeconfig, namespace).upgrade(chart, name, values)


def rollback(kubeconfig: str, namespace: str, name: str, revision: int) -> None:
    """Roll back to a revision."""
    config(kubeconfig, namespace).rollback(name, version=revision)


def release(kubeconfig: str, namespace: str, name: str) -> Any:
    """All that is kept of a release: summary, hooks, notes."""
    return config(kubeconfig, namespace).get_all(name)


def history(kubeconfig: str, namespace: str, name: str) -> Any:
    """The revisions of a release."""
    return config(kubeconfig, namespace).history(name)


def test(kubeconfig: str, namespace: str, name: str, timeout: int) -> Any:
    """Run the tests of a release."""
    return config(kubeconfig, namespace).test(name, timeout=timeout)


def uninstall(kubeconfig: str, namespace: str, name: str) -> Any:
    """Remove a release."""
    return config(kubeconfig, namespace).uninstall(name)


ACTIONS: dict[str, Callable[..., Any]] = {
    action.__name__: action
    for action in (
        files,
        history,
        install,
        lint,
        package,
        release,
        rollback,
        test,
        uninstall,
        upgrade,
    )
}


def main() -> None:
    """Answer until the input ends."""
    # The library may print; what it prints must not look like an answer.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"result": ACTIONS[request["action"]](**request["arguments"])}
        except helm_python.HelmError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main()
