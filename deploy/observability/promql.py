"""PromQL as the panels need it. A query over time always uses Grafana's `$__rate_interval`."""

# How every selector begins, so that the dashboard's filters reach every panel.
SERVERS = 'job=~"$job", instance=~"$instance"'
MODELS = f'{SERVERS}, model=~"$model"'


def select(metric: str, labels: str = MODELS) -> str:
    """The series of `metric` that the filters leave."""
    return f"{metric}{{{labels}}}"


def rate(metric: str, labels: str = MODELS) -> str:
    """A counter's growth per second."""
    return f"rate({select(metric, labels)}[$__rate_interval])"


def total(expr: str, by: str = "") -> str:
    """The sum of `expr`, for each value of the labels `by`."""
    return f"sum by ({by}) ({expr})" if by else f"sum({expr})"


def mean(histogram: str, by: str) -> str:
    """The mean observation of a histogram."""
    return f"{total(rate(f'{histogram}_sum'), by)} / {total(rate(f'{histogram}_count'), by)}"


def quantile(q: float, histogram: str, by: str = "") -> str:
    """The `q`-quantile of a histogram's observations over all servers."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, {total(rate(f'{histogram}_bucket'), labels)})"


def increments(histogram: str) -> str:
    """How many observations fell into each bucket: the cells of a heat map."""
    buckets = select(f"{histogram}_bucket")
    return f"sum by (le) (increase({buckets}[$__rate_interval]))"
