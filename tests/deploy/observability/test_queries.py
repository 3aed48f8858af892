"""Every expression of rules and dashboards, answered by a Prometheus that watches a server."""

import json
import re

import pytest
import yaml

from tests.deploy.places import DASHBOARDS, RULES
from tests.deploy.processes import eventually

pytestmark = [pytest.mark.alone, pytest.mark.slow]

GROUPS = yaml.safe_load(RULES.read_text())["groups"]
RULE_LIST = [rule for group in GROUPS for rule in group["rules"]]
RECORDED = [rule["record"] for rule in RULE_LIST if "record" in rule]
ALERTS = {rule["alert"]: rule["expr"] for rule in RULE_LIST if "alert" in rule}
QUERIES = {
    f"{board.stem}: {panel['title']} {target['refId']}": target["expr"]
    for board in DASHBOARDS
    for panel in json.loads(board.read_text())["panels"]
    for target in panel.get("targets", ())
}
# What Grafana puts in for "all", for ten scrapes and for the time that is shown.
GRAFANA = dict.fromkeys(("$job", "$instance", "$model", "$version"), ".+")
GRAFANA |= {"$__rate_interval": "10s", "$__range": "1m"}
# What a machine for tests need not have; an expression with one of these may stay empty.
ABSENT_HERE = {
    "isotherm_gpu_": "there may be no GPU, and the figures come from NVIDIA's library",
    "DCGM_": "another exporter's",
}
_COMPARISON = re.compile(r"(==|>=|<=|>|<)(?!\s*bool)")


@pytest.mark.parametrize("expr", QUERIES.values(), ids=QUERIES)
def test_every_panel_shows_data_of_a_server_under_load(prometheus, expr):
    """No panel is empty because of a name, a label or a join that is wrong."""
    for variable, value in GRAFANA.items():
        expr = expr.replace(variable, value)

    if _may_be_absent(expr):
        # Prometheus refuses with an error what it cannot parse.
        prometheus.query(expr)
    else:
        answer = eventually(lambda: _numbers(prometheus.query(expr)), what=expr)
        assert answer


@pytest.mark.parametrize("name", RECORDED)
def test_every_recording_rule_records(prometheus, name):
    """Each recorded series exists."""
    assert eventually(lambda: prometheus.query(name), what=name)


@pytest.mark.parametrize("expr", ALERTS.values(), ids=ALERTS)
def test_every_alert_has_something_to_judge(prometheus, expr):
    """With comparisons that yield 0 or 1, each condition has series: it is quiet, but not blind."""
    judged = _COMPARISON.sub(r"\1 bool", expr)

    assert _may_be_absent(expr) or eventually(lambda: prometheus.query(judged), what=judged)


def test_every_rule_is_evaluated_without_an_error(prometheus):
    """Prometheus itself calls each rule healthy."""
    rules = eventually(lambda: _evaluated(prometheus), what="an evaluation of every rule")

    assert {rule["name"]: ("ok", "") for rule in rules} == {
        rule["name"]: (rule["health"], rule.get("lastError", "")) for rule in rules
    }
    assert len(RULE_LIST) == len(rules)


def test_a_healthy_server_raises_no_alert(prometheus):
    """Mistakes of callers are part of the load, and nobody is woken by them."""
    eventually(lambda: _evaluated(prometheus), what="an evaluation of every rule")

    alerts = {alert["labels"]["alertname"] for alert in prometheus.get("alerts")["alerts"]}
    # A machine that runs other tests beside it may keep a loop waiting for a tenth of a second.
    assert alerts <= {"IsothermWorkerLoopLag"}


def _evaluated(prometheus):
    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    return rules if all(rule["health"] != "unknown" for rule in rules) else None


def _may_be_absent(expr):
    return any(name in expr for name in ABSENT_HERE)


def _numbers(answer):
    """The series, once none of them is a division by nothing any more."""
    return answer if all(series["value"][1] != "NaN" for series in answer) else None
