"""Every expression of rules and dashboard, answered by a Prometheus that watches a server."""

import json
import re

import pytest
import yaml

from tests.deploy.places import DASHBOARD, RULES
from tests.deploy.processes import eventually

pytestmark = pytest.mark.slow

GROUPS = yaml.safe_load(RULES.read_text())["groups"]
RULE_LIST = [rule for group in GROUPS for rule in group["rules"]]
RECORDED = [rule["record"] for rule in RULE_LIST if "record" in rule]
ALERTS = {rule["alert"]: rule["expr"] for rule in RULE_LIST if "alert" in rule}
BOARD = json.loads(DASHBOARD.read_text())
QUERIES = {
    f"{panel['id']} {panel['title']} {target['refId']}": target["expr"]
    for panel in BOARD["panels"]
    for target in panel.get("targets", ())
}
# What Grafana puts in for "all" and for ten scrapes.
GRAFANA = {"$job": ".+", "$instance": ".+", "$model": ".+", "$__rate_interval": "10s"}
_THRESHOLD = re.compile(r"\s*(?:==|>|<)\s*[\d.]+(?:\s*[*/]\s*[\d.]+)?")


@pytest.mark.parametrize("expr", QUERIES.values(), ids=QUERIES)
def test_every_panel_shows_data_of_a_server_under_load(prometheus, expr):
    """No panel is empty because of a name, a label or a join that is wrong."""
    for variable, value in GRAFANA.items():
        expr = expr.replace(variable, value)

    answer = eventually(lambda: prometheus.query(expr), what=expr)

    assert all(_is_number(series) for series in answer)


@pytest.mark.parametrize("name", RECORDED)
def test_every_recording_rule_records(prometheus, name):
    """Each recorded series exists."""
    assert eventually(lambda: prometheus.query(name), what=name)


@pytest.mark.parametrize("expr", ALERTS.values(), ids=ALERTS)
def test_every_alert_has_something_to_judge(prometheus, expr):
    """Without its threshold each condition yields series: it is quiet, but it is not blind."""
    assert eventually(lambda: prometheus.query(_THRESHOLD.sub("", expr)), what=expr)


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

    assert prometheus.get("alerts")["alerts"] == []


def _evaluated(prometheus):
    rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    return rules if all(rule["health"] != "unknown" for rule in rules) else None


def _is_number(series):
    return series["value"][1] != "NaN"
