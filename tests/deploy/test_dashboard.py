"""The rules of Grafana's dashboard-linter, and that the committed file is the generated one."""

import json
import re
import sys

import pytest

from tests.deploy.metric_names import documented_samples, selectors, used_names
from tests.deploy.places import DASHBOARD, DEPLOY, ROOT
from tests.deploy.processes import output

BOARD = json.loads(DASHBOARD.read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
VARIABLES = {variable["name"]: variable for variable in BOARD["templating"]["list"]}
EXPRESSIONS = sorted({target["expr"] for panel in PANELS for target in panel["targets"]})
DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}

every_panel = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
every_expression = pytest.mark.parametrize("expr", EXPRESSIONS)


def test_the_committed_dashboard_is_the_generated_one(tmp_path):
    """Changes are made in deploy/observability, and the output is the same every time."""
    output([sys.executable, "-m", "deploy.observability", str(tmp_path)], cwd=ROOT)
    generated = {path.relative_to(tmp_path): path.read_text() for path in tmp_path.rglob("*.*")}

    assert {DASHBOARD.relative_to(DEPLOY)} == generated.keys()
    assert {name: (DEPLOY / name).read_text() for name in generated} == generated


def test_the_dashboard_is_not_edited_in_grafana():
    """An edit there would be lost with the next import."""
    assert BOARD["editable"] is False


def test_the_data_source_is_a_variable():
    """The file names no data source of ours."""
    variable = VARIABLES["datasource"]

    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    assert variable["label"] == "Data source"


@pytest.mark.parametrize("name", ["job", "instance", "model"])
def test_filters_take_several_values_and_all(name):
    """Each is asked for anew with the time range, and "all" is a pattern, not a long list."""
    variable = VARIABLES[name]

    assert variable["type"] == "query"
    assert variable["datasource"] == DATA_SOURCE
    assert variable["label"] == name.capitalize()
    assert (variable["multi"], variable["includeAll"]) == (True, True)
    assert variable["allValue"] == ".+"
    assert variable["refresh"] == 2
    assert used_names(variable["query"]) - {name} <= documented_samples().keys()


def test_panels_have_numbers_of_their_own_and_do_not_overlap():
    """Grafana tells panels apart by number and lays them out on a grid."""
    numbers = [panel["id"] for panel in BOARD["panels"]]
    cells = [
        (x, y)
        for panel in BOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]

    assert len(set(numbers)) == len(numbers)
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


@every_panel
def test_every_panel_explains_itself(panel):
    """Title, description, unit and at least one query."""
    assert panel["title"]
    assert panel["description"].endswith((".", "?"))
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["targets"]


@every_panel
def test_every_panel_and_query_uses_the_chosen_data_source(panel):
    """And the queries of a panel can be told apart."""
    letters = [target["refId"] for target in panel["targets"]]

    assert panel["datasource"] == DATA_SOURCE
    assert all(target["datasource"] == DATA_SOURCE for target in panel["targets"])
    assert len(set(letters)) == len(letters)


@every_expression
def test_every_metric_and_label_of_a_panel_is_documented(expr):
    """A renamed metric breaks the build, not the panel."""
    samples = documented_samples()
    unknown = {name: matched - samples[name] for name, matched in selectors(expr)}

    assert used_names(expr) - samples.keys() == set()
    assert set().union(*unknown.values()) - {"instance", "job"} == set()


@every_expression
def test_every_selector_of_a_panel_obeys_the_filters(expr):
    """No metric without `job` and `instance`, and none with a model without `model`."""
    samples = documented_samples()
    filters = {'job=~"$job"', 'instance=~"$instance"'}
    found = re.findall(r"([a-zA-Z_]\w*)\{([^}]*)\}", expr)

    assert {name for name, _ in found} == used_names(expr)
    for name, matchers in found:
        needed = filters | ({'model=~"$model"'} if "model" in samples[name] else set())
        assert needed <= set(matchers.split(", "))


@every_expression
def test_every_counter_is_shown_as_a_rate_over_grafanas_interval(expr):
    """A raw counter only ever rises, and a fixed window lies at other zoom levels."""
    counters = re.findall(r"(\w+)\(\w+_(?:total|bucket|count|sum)\{[^}]*\}(\[[^\]]*\])?", expr)
    raw = len(re.findall(r"\w_(?:total|bucket|count|sum)\{", expr))

    assert len(counters) == raw
    assert all(call in {"increase", "rate"} for call, _ in counters)
    assert all(window == "[$__rate_interval]" for _, window in counters)
