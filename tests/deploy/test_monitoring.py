"""What the Prometheus operator reads, against the schemas of its objects."""

import json

import jsonschema
import pytest
import yaml

from tests.deploy.manifests import container, objects, only, pod
from tests.deploy.places import MONITORED, RENDERED_MONITORED, RULES, SCHEMAS
from tests.deploy.processes import output, tool

KINDS = {"PodMonitor": "podmonitor_v1", "PrometheusRule": "prometheusrule_v1"}

every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.mark.slow
def test_the_rendering_that_fast_tests_read_is_what_kustomize_makes():
    """A changed manifest is rendered anew with `kubectl kustomize FOLDER > RENDERING`."""
    rendered = output([tool("kubectl", "Kubernetes"), "kustomize", str(MONITORED)])

    assert list(yaml.safe_load_all(rendered)) == objects(RENDERED_MONITORED)


@every_kind
def test_each_object_is_valid(kind):
    """Misspelt fields included: the schemas are closed before they are asked."""
    jsonschema.validate(only(RENDERED_MONITORED, kind), _schema(kind))


@every_kind
def test_validation_sees_a_misspelt_field(kind):
    """The control: the closed schema does refuse."""
    broken = only(RENDERED_MONITORED, kind)
    broken["spec"]["selektor"] = {}

    with pytest.raises(jsonschema.ValidationError, match="selektor"):
        jsonschema.validate(broken, _schema(kind))


def test_the_operator_gets_the_rules_that_prometheus_gets():
    """Group by group."""
    spec = only(RENDERED_MONITORED, "PrometheusRule")["spec"]

    assert yaml.safe_load(RULES.read_text()) == spec


def test_the_monitor_finds_the_pods_under_the_job_of_the_rules():
    """By label and by the name of the port."""
    spec = only(RENDERED_MONITORED, "PodMonitor")["spec"]
    (endpoint,) = spec["podMetricsEndpoints"]
    ports = {port["name"] for port in container(RENDERED_MONITORED)["ports"]}
    labels = pod(RENDERED_MONITORED)["metadata"]["labels"]

    assert spec["selector"]["matchLabels"].items() <= labels.items()
    assert endpoint["port"] in ports
    assert {"targetLabel": "job", "replacement": "isotherm"} in endpoint["relabelings"]


def _schema(kind):
    text = (SCHEMAS / f"{KINDS[kind]}.json").read_text()
    # Go's patterns may have their flags after the anchor.
    return _closed(json.loads(text.replace("^(?i)", "(?i)^")))


def _closed(node):
    """The schema that refuses fields it does not name."""
    if isinstance(node, list):
        return [_closed(each) for each in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _closed(value) for key, value in node.items()}
    named = isinstance(node.get("properties"), dict) and node.get("type") == "object"
    # `metadata` is Kubernetes' own, and these schemas leave it empty.
    if named and node["properties"] and "additionalProperties" not in node:
        closed["additionalProperties"] = False
    return closed
