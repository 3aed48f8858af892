"""The dashboard `isotherm`: from "is it well?" at the top to "which process?" at the bottom."""

from collections.abc import Iterator

from deploy.observability import rows
from deploy.observability.panels import DATA_SOURCE
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    Panel,
    VariableModel,
    VariableRefresh,
    VariableSort,
)

ROWS = {
    "Overview": rows.overview,
    "Where the time goes": rows.phases,
    "Queue": rows.queue,
    "Batches": rows.batches,
    "Models": rows.models,
    "Processes": rows.processes,
}


def dashboard() -> Dashboard:
    """Build the dashboard; the same source gives the same bytes."""
    board = (
        builders.Dashboard("Isotherm")
        .uid("isotherm")
        .description("Models served by Isotherm: calls, time, queue, batches, versions, processes.")
        .tags(["generated", "isotherm"])
        .readonly()
        .refresh("30s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
    )
    for variable in _variables():
        board.with_variable(variable)
    for title, row in ROWS.items():
        board.with_row(builders.Row(title))
        for panel in row():
            board.with_panel(panel)
    return _numbered(board.build())


def _variables() -> Iterator[Builder[VariableModel]]:
    yield builders.DatasourceVariable("datasource").label("Data source").type("prometheus")
    filters = {
        "job": ("Job", "label_values(isotherm_build_info, job)"),
        "instance": ("Instance", 'label_values(isotherm_build_info{job=~"$job"}, instance)'),
        "model": (
            "Model",
            'label_values(isotherm_model_state{job=~"$job", instance=~"$instance"}, model)',
        ),
    }
    for name, (label, query) in filters.items():
        yield (
            builders.QueryVariable(name)
            .label(label)
            .datasource(DATA_SOURCE)
            .query(query)
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(VariableSort.ALPHABETICAL_ASC)
            .multi(multi=True)
            .include_all(include_all=True)
            .all_value(".+")
        )


def _numbered(board: Dashboard) -> Dashboard:
    """Grafana tells panels apart by their number; the builders leave it at 0."""
    for number, panel in enumerate(board.panels or [], start=1):
        panel.id_val = number
        if isinstance(panel, Panel):
            panel.repeat_direction = None
    return board
