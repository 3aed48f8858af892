"""Recording rules, alerts and their groups, for Prometheus 2.42 and later.

Every rule takes the job `isotherm`. An alert's runbook is `docs/runbooks/<alert>.md`; `RUNBOOKS` is
where that folder is found, and a base of your own (a wiki, a forge) is given to the generator.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from deploy.observability.document import Node

RUNBOOKS: Final = "docs/runbooks"
JOB: Final = 'job="isotherm"'


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A series that is computed before it is asked for."""

    record: str
    expr: str

    def node(self, _runbooks: str) -> Node:
        """Return the rule as Prometheus reads it."""
        return {"record": self.record, "expr": self.expr}


@dataclass(frozen=True, kw_only=True)
class Alert:
    """A condition that somebody should know of: at once (`page`), or this week (`ticket`)."""

    name: str
    expr: str
    severity: str
    summary: str
    description: str
    hold: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def node(self, runbooks: str) -> Node:
        """Return the rule as Prometheus reads it, with its page below `runbooks`."""
        return {
            "alert": self.name,
            "expr": self.expr,
            **({"for": self.hold} if self.hold else {}),
            "labels": {"severity": self.severity, **self.labels},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"{runbooks}/{self.name}.md",
            },
        }


@dataclass(frozen=True)
class Group:
    """Rules that are evaluated from top to bottom; an alert stands after what it reads."""

    name: str
    rules: Sequence[Recording | Alert]

    def alerts(self) -> Iterator[Alert]:
        """Yield its alerts."""
        return (rule for rule in self.rules if isinstance(rule, Alert))

    def node(self, runbooks: str) -> Node:
        """Return the group as Prometheus reads it."""
        return {"name": self.name, "rules": [rule.node(runbooks) for rule in self.rules]}
