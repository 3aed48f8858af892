"""What the component monitoring hands to the Prometheus operator and to Grafana's sidecar."""

from tests.deploy.manifests import only, read
from tests.deploy.places import DASHBOARDS, KUSTOMIZE, RULES

MONITORING = KUSTOMIZE / "components" / "monitoring"


def test_the_operator_gets_the_rules_that_prometheus_gets():
    """Group by group."""
    spec = only(read(MONITORING / "prometheusrule.yaml"), "PrometheusRule")["spec"]

    assert read(RULES) == [spec]


def test_the_sidecar_gets_the_dashboards_that_grafana_imports():
    """Each in a ConfigMap of its own, with the label that it looks for."""
    maps = read(MONITORING / "dashboards.yaml")
    texts = {name: text for each in maps for name, text in each["data"].items()}

    assert texts == {path.name: path.read_text() for path in DASHBOARDS}
    assert len(maps) == len(DASHBOARDS)
    assert {"1"} == {each["metadata"]["labels"]["grafana_dashboard"] for each in maps}


def test_the_monitor_scrapes_under_the_job_of_the_rules():
    """Whatever namespace the pods are in."""
    spec = only(read(MONITORING / "podmonitor.yaml"), "PodMonitor")["spec"]
    (endpoint,) = spec["podMetricsEndpoints"]

    assert {"targetLabel": "job", "replacement": "isotherm"} in endpoint["relabelings"]
    assert "namespaceSelector" not in spec
