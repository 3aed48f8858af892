"""Panels in the house style: a title, a description, a unit, the templated data source."""

from typing import NamedTuple, TypeVar

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    BigValueTextMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DataTransformerConfig,
    Threshold,
    ThresholdsMode,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

# Grafana draws on a grid 24 units wide.
FULL, HALF, THIRD, QUARTER, SIXTH = 24, 12, 8, 6, 4
TALL, SHORT = 8, 4

DATA_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")

AnyPanel = TypeVar("AnyPanel", heatmap.Panel, stat.Panel, table.Panel, timeseries.Panel)


class Frame(NamedTuple):
    """What a panel of any kind says about itself."""

    title: str
    description: str
    unit: str


class Query(NamedTuple):
    """An expression, how its series are called, and whether traces of single calls are shown."""

    expr: str
    legend: str = ""
    exemplars: bool = False


def lines(
    frame: Frame,
    *queries: Query,
    span: int = HALF,
    stacked: bool = False,
    signed: bool = False,
) -> timeseries.Panel:
    """Curves over time, from zero up unless `signed`; `stacked` when they are parts of a whole."""
    panel = _framed(timeseries.Panel(), frame, span, TALL)
    panel.fill_opacity(30 if stacked else 8)
    if not signed:
        panel.min(0)
    if stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    panel.tooltip(
        common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
    )
    panel.legend(
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(show_legend=True)
    )
    for letter, query in zip("ABCDEFGH", queries, strict=False):
        panel.with_target(_target(letter, query))
    return panel


def number(
    frame: Frame, query: Query, *, red_from: float | None = None, span: int = SIXTH
) -> stat.Panel:
    """One large figure, red from `red_from` on."""
    steps = [Threshold(value=None, color="text" if red_from is None else "green")]
    if red_from is not None:
        steps.append(Threshold(value=red_from, color="red"))
    panel = _framed(stat.Panel(), frame, span, SHORT)
    panel.graph_mode(BigValueGraphMode.NONE)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    return panel.with_target(_target("A", query).instant())


def values(frame: Frame, query: Query) -> stat.Panel:
    """One figure a series, with its name."""
    panel = _framed(stat.Panel(), frame, THIRD, SHORT)
    panel.graph_mode(BigValueGraphMode.NONE)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel.text_mode(BigValueTextMode.VALUE_AND_NAME)
    return panel.with_target(_target("A", query).instant())


def heat(frame: Frame, query: Query, *, span: int = HALF) -> heatmap.Panel:
    """A classic histogram over time: `query` yields increments by `le`."""
    panel = _framed(heatmap.Panel(), frame, span, TALL)
    panel.color(
        heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    )
    # Grafana reads the unit of the buckets from the axis, that of the cells from the field.
    panel.y_axis(heatmap.YAxisConfig().unit(frame.unit))
    return panel.with_target(_target("A", query).format(PromQueryFormat.HEATMAP))


def listing(
    frame: Frame, query: Query, columns: dict[str, str], *, span: int = HALF
) -> table.Panel:
    """The labels of an info metric as a table; `columns` maps a label to its heading."""
    panel = _framed(table.Panel(), frame, span, TALL)
    keep = {
        "include": {"names": list(columns)},
    }
    panel.with_transformation(DataTransformerConfig(id_val="filterFieldsByName", options=keep))
    arrange = {
        "indexByName": {label: place for place, label in enumerate(columns)},
        "renameByName": columns,
    }
    panel.with_transformation(DataTransformerConfig(id_val="organize", options=arrange))
    return panel.with_target(_target("A", query).format(PromQueryFormat.TABLE).instant())


def _framed(panel: AnyPanel, frame: Frame, span: int, height: int) -> AnyPanel:
    panel.title(frame.title).description(frame.description).unit(frame.unit)
    return panel.datasource(DATA_SOURCE).span(span).height(height)


def _target(letter: str, query: Query) -> prometheus.Dataquery:
    target = prometheus.Dataquery().ref_id(letter).expr(query.expr).datasource(DATA_SOURCE)
    if query.exemplars:
        target.exemplar(exemplar=True)
    return target.legend_format(query.legend) if query.legend else target
