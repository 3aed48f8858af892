"""The groups of rules as files: for Prometheus itself, and for the Prometheus operator."""

from typing import Final

from deploy.observability.document import written
from deploy.observability.rules import gpu, models, quality, queue, requests, server
from deploy.observability.rules.rule import Group

GROUPS: Final[tuple[Group, ...]] = (
    requests.group(),
    queue.GROUP,
    server.GROUP,
    models.GROUP,
    quality.GROUP,
    gpu.GROUP,
)

_COMMENT: Final = """\
Recording and alert rules of the job `isotherm`, for Prometheus 2.42 and later.
Written by `python -m deploy.observability`; docs/observability.md lists the alerts.
"""


def rules(runbooks: str) -> str:
    """Return the rule file; each alert's page lies below `runbooks`."""
    return written(_COMMENT, {"groups": [group.node(runbooks) for group in GROUPS]})


def prometheus_rule(runbooks: str) -> str:
    """Return the same groups as an object of the Prometheus operator."""
    node = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "isotherm", "labels": {"app.kubernetes.io/name": "isotherm"}},
        "spec": {"groups": [group.node(runbooks) for group in GROUPS]},
    }
    return written(_COMMENT, node)
