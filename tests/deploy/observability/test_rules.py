import pytest
import yaml

from tests.deploy.observability.metric_names import documented_samples, selectors, used_names
from tests.deploy.places import OBSERVABILITY_PAGE, PROMETHEUS_CONFIG, RULES, RULES_TESTS
from tests.deploy.processes import output, tool

RULE_LIST = [
    rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
]
RECORDED = {rule["record"] for rule in RULE_LIST if "record" in rule}
ALERTS = {rule["alert"]: rule for rule in RULE_LIST if "alert" in rule}
CASES = [
    (group["name"], case["alertname"], bool(case["exp_alerts"]))
    for path in RULES_TESTS
    for group in yaml.safe_load(path.read_text())["tests"]
    for case in group["alert_rule_test"]
]

every_rule = pytest.mark.parametrize(
    "rule", RULE_LIST, ids=lambda rule: rule.get("alert") or rule["record"]
)


@every_rule
def test_every_metric_of_a_rule_is_documented(rule):
    """A renamed metric breaks the build, not the alert."""
    known = documented_samples().keys() | RECORDED | {"up"}

    assert used_names(rule["expr"]) - known == set()


@every_rule
def test_every_label_that_a_rule_matches_is_documented(rule):
    """A selector on a label that does not exist selects nothing, silently."""
    labels = documented_samples() | {"up": frozenset()}

    unknown = {
        name: matched - labels[name] - {"instance", "job"}
        for name, matched in selectors(rule["expr"])
    }

    assert set().union(*unknown.values()) == set()


@every_rule
def test_every_metric_of_a_rule_is_taken_from_our_job_only(rule):
    """Other jobs on the same Prometheus may have metrics of the same name."""
    unbound = {name for name, matched in selectors(rule["expr"]) if "job" not in matched}
    bare = used_names(rule["expr"]) - {name for name, _ in selectors(rule["expr"])} - RECORDED

    assert unbound | bare == set()


@pytest.mark.parametrize("rule", ALERTS.values(), ids=ALERTS)
def test_every_alert_says_what_is_wrong_and_how_bad_it_is(rule):
    """A person who is woken needs one line of what, and one of where to look."""
    assert {"description", "runbook_url", "summary"} == rule["annotations"].keys()
    assert rule["labels"]["severity"] in {"page", "ticket"}


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_seen_firing_and_quiet(alert):
    """Each has a promtool case with an alert, and a later one without."""
    name = next(group for group, name, fires in CASES if name == alert and fires)
    seen = [fires for group, each, fires in CASES if (group, each) == (name, alert)]

    # `False, True, False`: quiet before, then firing, then resolved.
    assert _without_repeats(seen) == [False, True, False]


def test_every_alert_is_on_the_page():
    """The page lists the alerts with their severity."""
    page = OBSERVABILITY_PAGE.read_text()
    rows = {
        name
        for name, rule in ALERTS.items()
        if any(
            line.startswith(f"| [`{name}`](runbooks/{name}.md) |")
            and line.endswith(f"| {rule['labels']['severity']} |")
            for line in page.splitlines()
        )
    }

    assert ALERTS.keys() == rows


@pytest.mark.slow
def test_prometheus_accepts_the_configuration_and_the_rules():
    """Checked by Prometheus' own tool, rules included."""
    printed = output(
        [tool("promtool", "Debian's prometheus"), "check", "config", str(PROMETHEUS_CONFIG)]
    )

    assert f"SUCCESS: {len(RULE_LIST)} rules found" in printed


@pytest.mark.slow
def test_every_alert_fires_rests_and_resolves_on_made_up_series():
    """Prometheus' own rule engine, with time that is counted and not waited for."""
    tests = [str(path) for path in RULES_TESTS]
    printed = output([tool("promtool", "Debian's prometheus"), "test", "rules", *tests])

    assert printed.count("SUCCESS") == len(tests)


def _without_repeats(values):
    return [value for index, value in enumerate(values) if index == 0 or value != values[index - 1]]
