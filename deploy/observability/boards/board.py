"""A dashboard's frame: filters, links to the others, rows, and numbers for its panels."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from deploy.observability.panels import DATA_SOURCE
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    Panel,
    VariableModel,
    VariableRefresh,
    VariableSort,
)

Panels = Iterator[Builder[Panel]]

TAG: Final = "isotherm"
_SERVERS: Final = 'job=~"$job", instance=~"$instance"'
_FILTERS: Final = {
    "job": ("Job", "label_values(isotherm_build_info, job)"),
    "instance": ("Instance", 'label_values(isotherm_build_info{job=~"$job"}, instance)'),
    "model": ("Model", f"label_values(isotherm_model_state{{{_SERVERS}}}, model)"),
    "version": (
        "Version",
        f'label_values(isotherm_model_state{{{_SERVERS}, model=~"$model"}}, version)',
    ),
}


class Board(NamedTuple):
    """One dashboard: `uid` is its place in Grafana and its file's name."""

    uid: str
    title: str
    description: str
    rows: Mapping[str, Callable[[], Panels]]

    def build(self) -> Dashboard:
        """Build it; the same source gives the same bytes."""
        board = (
            builders.Dashboard(self.title)
            .uid(self.uid)
            .description(self.description)
            .tags(["generated", TAG])
            .readonly()
            .refresh("30s")
            .time("now-1h", "now")
            .timezone("browser")
            .tooltip(DashboardCursorSync.CROSSHAIR)
            .link(_others())
        )
        for variable in _variables():
            board.with_variable(variable)
        for title, row in self.rows.items():
            board.with_row(builders.Row(title))
            for panel in row():
                board.with_panel(panel)
        return _numbered(board.build())


def _others() -> builders.DashboardLink:
    """Return the links to all our dashboards, side by side, which keep filters and time."""
    link = builders.DashboardLink("Isotherm").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    return link.include_vars(include_vars=True).keep_time(keep_time=True)


def _variables() -> Iterator[Builder[VariableModel]]:
    yield builders.DatasourceVariable("datasource").label("Data source").type("prometheus")
    for name, (label, query) in _FILTERS.items():
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
