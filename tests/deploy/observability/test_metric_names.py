"""The small reader of PromQL that the other tests rely on."""

import pytest

from tests.deploy.observability.metric_names import documented_families, selectors, used_names


@pytest.mark.parametrize(
    ("expr", "names"),
    [
        ("up", {"up"}),
        ('sum by (job, model) (rate(a_total{code=~"b|c"}[5m]))', {"a_total"}),
        ("histogram_quantile(0.99, sum by (le) (rate(h_bucket[$__rate_interval])))", {"h_bucket"}),
        ("x:y:rate5m > 14.4 * 0.001 and z == 1", {"x:y:rate5m", "z"}),
        ("a / on (model) group_left (sha256) (b > 0) or absent(c)", {"a", "b", "c"}),
    ],
)
def test_names_are_metrics_and_neither_functions_nor_labels(expr, names):
    """What is left of an expression without its functions, labels, strings and windows."""
    assert names == used_names(expr)


def test_selectors_give_the_labels_of_each_metric():
    """Also where a value contains what looks like another matcher."""
    found = selectors('a{job="x", code=~"b=c|}"} / sum(b_total{model!=""})')

    assert [("a", {"job", "code"}), ("b_total", {"model"})] == found


def test_the_page_documents_each_family_once():
    """And none without a type that Prometheus knows."""
    families = documented_families()
    names = [family.name for family in families]

    assert len(set(names)) == len(names)
    assert len(names) > 20
    assert {family.type for family in families} == {"counter", "gauge", "histogram", "unknown"}
    assert all(family.name.endswith("_total") for family in families if family.type == "counter")
