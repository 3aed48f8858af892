"""What the autoscalers ask for: it exists, and a real Prometheus answers it."""

import pytest
import yaml

from tests.deploy.observability.metric_names import documented_samples, selectors, used_names
from tests.deploy.observability.prometheus import TARGET_LABELS
from tests.deploy.places import ADAPTER, KUSTOMIZE
from tests.deploy.processes import eventually

COMPONENTS = KUSTOMIZE / "components"
HPA = yaml.safe_load((COMPONENTS / "hpa" / "horizontalpodautoscaler.yaml").read_text())
KEDA = yaml.safe_load((COMPONENTS / "keda" / "scaledobject.yaml").read_text())
(RULE,) = yaml.safe_load(ADAPTER.read_text())["rules"]["custom"]
(TRIGGER,) = (each for each in KEDA["spec"]["triggers"] if each["type"] == "prometheus")
QUERY = TRIGGER["metadata"]["query"]
POD = TARGET_LABELS["pod"]


def _asked(pods: str) -> str:
    """The adapter's question for some pods, as its template makes it."""
    series = RULE["seriesQuery"].partition("{")[0]
    matchers = f'namespace="{TARGET_LABELS["namespace"]}",pod=~"{pods}"'
    query: str = RULE["metricsQuery"]
    for placeholder, text in (("Series", series), ("LabelMatchers", matchers), ("GroupBy", "pod")):
        query = query.replace(f"<<.{placeholder}>>", text)
    assert "<<" not in query
    return query


@pytest.mark.parametrize("expr", [RULE["seriesQuery"], _asked("a|b"), QUERY])
def test_every_metric_and_label_is_documented_and_of_our_job(expr):
    """A renamed metric breaks the build, not the autoscaler."""
    known = documented_samples()
    of_target = {"instance", "job", "namespace", "pod"}
    matched = dict(selectors(expr))

    assert used_names(expr) == matched.keys() <= known.keys()
    for name, labels in matched.items():
        assert "job" in labels
        assert labels <= known[name] | of_target


def test_the_autoscaler_asks_for_what_the_adapter_gives():
    """By the name of the series, of each pod."""
    (metric,) = (
        each["pods"]["metric"] for each in HPA["spec"]["metrics"] if each["type"] == "Pods"
    )

    assert metric["name"] == RULE["seriesQuery"].partition("{")[0]
    assert {"namespace", "pod"} == RULE["resources"]["overrides"].keys()
    assert "name" not in RULE


def test_both_autoscalers_want_the_same():
    """The same figure for each pod, the same bounds and the same pace."""
    (pods,) = (each["pods"] for each in HPA["spec"]["metrics"] if each["type"] == "Pods")
    (cpu,) = (each["resource"] for each in HPA["spec"]["metrics"] if each["type"] == "Resource")
    (other_cpu,) = (each for each in KEDA["spec"]["triggers"] if each["type"] == "cpu")
    advanced = KEDA["spec"]["advanced"]["horizontalPodAutoscalerConfig"]

    assert pods["target"]["averageValue"] == TRIGGER["metadata"]["threshold"]
    assert str(cpu["target"]["averageUtilization"]) == other_cpu["metadata"]["value"]
    assert HPA["spec"]["behavior"] == advanced["behavior"]
    assert HPA["spec"]["minReplicas"] == KEDA["spec"]["minReplicaCount"]
    assert HPA["spec"]["maxReplicas"] == KEDA["spec"]["maxReplicaCount"]


@pytest.mark.alone
@pytest.mark.slow
def test_prometheus_answers_the_adapter_for_each_pod(prometheus):
    """One figure a pod: two models are one queue, and a stranger's pod has none."""
    series = eventually(lambda: prometheus.query(RULE["seriesQuery"]), what="the series")
    (answer,) = eventually(lambda: prometheus.query(_asked(f"{POD}|other")), what="the figure")

    assert len(series) > 1
    assert answer["metric"] == {"pod": POD}
    assert float(answer["value"][1]) >= 0
    assert prometheus.query(_asked("other")) == []


@pytest.mark.alone
@pytest.mark.slow
def test_prometheus_answers_keda_with_one_figure(prometheus):
    """KEDA takes no more than one; none, as of another namespace, is an error for it."""
    (answer,) = eventually(lambda: prometheus.query(QUERY), what="the figure")
    elsewhere = QUERY.replace(f'namespace="{TARGET_LABELS["namespace"]}"', 'namespace="other"')

    assert answer["metric"] == {}
    assert elsewhere != QUERY
    assert prometheus.query(elsewhere) == []
