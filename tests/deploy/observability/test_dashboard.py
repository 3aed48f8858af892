"""The rules of Grafana's dashboard-linter, for every dashboard."""

import json
import re

import pytest

from tests.deploy.observability.metric_names import (
    documented_samples,
    recorded_samples,
    selectors,
    used_names,
)
from tests.deploy.places import DASHBOARDS

BOARDS = {path.stem: json.loads(path.read_text()) for path in DASHBOARDS}
PANELS = {
    f"{uid}: {panel['title']}": panel
    for uid, board in BOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
}
EXPRESSIONS = sorted({target["expr"] for panel in PANELS.values() for target in panel["targets"]})
DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
# NVIDIA's exporter, another job's: shown where no server of ours shows a GPU.
FOREIGN = "DCGM_"

every_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
every_panel = pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
every_expression = pytest.mark.parametrize("expr", EXPRESSIONS)


def ours(names):
    """Without the metrics of others."""
    return {name for name in names if not name.startswith(FOREIGN)}


@every_board
def test_a_dashboard_is_not_edited_in_grafana(board):
    """An edit there would be lost with the next import."""
    assert board["editable"] is False


@every_board
def test_each_dashboard_leads_to_the_others(board):
    """By their common tag, with the filters and the time that were chosen."""
    (link,) = board["links"]

    assert set(link["tags"]) <= set(board["tags"])
    assert (link["type"], link["includeVars"], link["keepTime"]) == ("dashboards", True, True)


def test_dashboards_can_be_told_apart():
    """Each has a title of its own, and its file is called as Grafana calls it."""
    assert BOARDS.keys() == {board["uid"] for board in BOARDS.values()}
    assert len({board["title"] for board in BOARDS.values()}) == len(BOARDS) >= 7


@every_board
def test_the_data_source_is_a_variable(board):
    """The file names no data source of ours."""
    variable = _variables(board)["datasource"]

    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    assert variable["label"] == "Data source"


@every_board
@pytest.mark.parametrize("name", ["job", "instance", "model", "version"])
def test_filters_take_several_values_and_all(board, name):
    """Each is asked for anew with the time range, and "all" is a pattern, not a long list."""
    variable = _variables(board)[name]

    assert variable["type"] == "query"
    assert variable["datasource"] == DATA_SOURCE
    assert variable["label"] == name.capitalize()
    assert (variable["multi"], variable["includeAll"]) == (True, True)
    assert variable["allValue"] == ".+"
    assert variable["refresh"] == 2
    assert used_names(variable["query"]) - {name} <= documented_samples().keys()


@every_board
def test_panels_have_numbers_of_their_own_and_do_not_overlap(board):
    """Grafana tells panels apart by number and lays them out on a grid."""
    numbers = [panel["id"] for panel in board["panels"]]
    cells = [
        (x, y)
        for panel in board["panels"]
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
    samples = documented_samples() | recorded_samples()
    unknown = {name: matched - samples[name] for name, matched in selectors(expr)}

    assert ours(used_names(expr)) - samples.keys() == set()
    assert set().union(*unknown.values()) - {"instance", "job"} == set()


@every_expression
def test_every_selector_of_a_panel_obeys_the_filters(expr):
    """No metric without `job` and `instance`, none of a model without `model` and `version`."""
    samples, recorded = documented_samples(), recorded_samples()
    filters = {name: f'{name}=~"${name}"' for name in ("job", "instance", "model", "version")}
    found = re.findall(r"([a-zA-Z_][\w:]*)\{([^}]*)\}", expr)

    assert {name for name, _ in found} == ours(used_names(expr))
    for name, matchers in found:
        of_metric = recorded[name] if name in recorded else {"job", "instance", *samples[name]}
        # The version of Isotherm itself is no version of a model.
        chosen = of_metric - ({"version"} if "model" not in of_metric else set())
        needed = {text for label, text in filters.items() if label in chosen}
        assert needed <= set(matchers.split(", "))


@every_expression
def test_every_counter_is_shown_as_a_rate_over_grafanas_windows(expr):
    """A raw counter only ever rises, and a fixed window lies at other zoom levels."""
    counters = re.findall(r"(\w+)\(\w+_(?:total|bucket|count|sum)\{[^}]*\}(\[[^\]]*\])?", expr)
    raw = len(re.findall(r"\w_(?:total|bucket|count|sum)\{", expr))

    assert len(counters) == raw
    assert all(call in {"increase", "rate"} for call, _ in counters)
    assert {window for _, window in counters} <= {"[$__rate_interval]", "[$__range]"}


def _variables(board):
    return {variable["name"]: variable for variable in board["templating"]["list"]}
