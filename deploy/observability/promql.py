"""PromQL as the panels need it: a query over time uses Grafana's `$__rate_interval`.

Only what is summed over all the time that is shown uses `$__range`.
"""

from typing import Final

# How every selector begins, so that the dashboard's filters reach every panel.
SERVERS: Final = 'job=~"$job", instance=~"$instance"'
MODELS: Final = f'{SERVERS}, model=~"$model", version=~"$version"'
# Recorded series have no servers any more, and no versions.
RECORDED: Final = 'job=~"$job", model=~"$model"'

INTERVAL: Final = "$__rate_interval"
RANGE: Final = "$__range"


def select(metric: str, labels: str = MODELS) -> str:
    """The series of `metric` that the filters leave."""
    return f"{metric}{{{labels}}}"


def rate(metric: str, labels: str = MODELS, window: str = INTERVAL) -> str:
    """A counter's growth per second."""
    return f"rate({select(metric, labels)}[{window}])"


def total(expr: str, by: str = "") -> str:
    """The sum of `expr`, for each value of the labels `by`."""
    return f"sum by ({by}) ({expr})" if by else f"sum({expr})"


def ratio(part: str, whole: str, by: str = "") -> str:
    """The sum of `part` among the sum of `whole`."""
    return f"{total(part, by)} / {total(whole, by)}"


def mean(histogram: str, by: str, labels: str = MODELS) -> str:
    """The mean observation of a histogram."""
    return ratio(rate(f"{histogram}_sum", labels), rate(f"{histogram}_count", labels), by)


def quantile(q: float, histogram: str, by: str = "", labels: str = MODELS) -> str:
    """The `q`-quantile of a histogram's observations over all servers."""
    grouped = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, {total(rate(f'{histogram}_bucket', labels), grouped)})"


def increments(histogram: str, labels: str = MODELS) -> str:
    """How many observations fell into each bucket: the cells of a heat map."""
    buckets = select(f"{histogram}_bucket", labels)
    return f"sum by (le) (increase({buckets}[{INTERVAL}]))"
