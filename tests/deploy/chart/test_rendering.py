"""What the chart makes of values, by the real engine."""

from __future__ import annotations

import pytest

from tests.deploy.chart.helm import health_pods, rendered, with_health
from tests.deploy.chart.places import SETS, values_of
from tests.deploy.chart.refusals import nested
from tests.deploy.kubernetes.validation import check
from tests.deploy.kustomize.policy import faults
from tests.deploy.manifests import container, only, pod, settings

pytestmark = pytest.mark.slow

# The oldest with all that the chart uses, kubectl's own, and the newest known.
VERSIONS = ("1.29", "1.32", "1.37")
# Models from an image need 1.33, as test_refusals.py has it.
INSTALLABLE = [
    (name, version)
    for name in sorted(SETS)
    for version in (VERSIONS if name != "keda" else VERSIONS[-1:])
]
# The policy knows the mounts of the server; those of people are theirs.
OWN_MOUNTS = {"Deployment/isotherm: nothing of the server is at /tokens"}

# Parts that may be on without the others.
ALONE = [
    {"autoscaling": {"by": "hpa"}},
    {"autoscaling": {"by": "keda"}},
    {"gateway": {"enabled": True, "parentRefs": [{"name": "gateway"}]}},
    {"gpu": {"enabled": True}},
    {"models": {"source": "fetch"}},
    {"models": {"source": "image"}},
    {"models": {"source": "oci", "oci": {"reference": "registry.example.org/models:1"}}},
    {"monitoring": {"annotations": False}},
    {"networkPolicy": {"enabled": False}, "tracing": {"enabled": True}},
    {"rest": {"enabled": True}},
    {"spread": {"topologyKeys": []}},
    {"tls": {"enabled": True}},
    {"tracing": {"enabled": True}},
    {"replicas": 1},
]

every_set = pytest.mark.parametrize("name", sorted(SETS))


@every_set
@pytest.mark.parametrize("version", VERSIONS)
def test_lint_finds_nothing(helm, name, version):
    """But for a picture, which we have none of."""
    assert helm.lint(values_of(SETS[name]), version) == ["icon is recommended"]


def test_lint_finds_a_fault(helm):
    """The control."""
    assert "additional properties 'replica'" in " ".join(helm.lint({"replica": 2}))


@pytest.mark.parametrize(("name", "version"), INSTALLABLE)
def test_every_object_is_valid(helm, name, version):
    """Strictly, by the schemas of Kubernetes and of the operators."""
    for node in with_health(helm, values_of(SETS[name])):
        check(node, version)


@every_set
def test_the_policy_finds_no_fault(helm, name):
    """The same checks as of the kustomize manifests; the test's pod among the objects."""
    assert set(faults(with_health(helm, values_of(SETS[name])))) <= OWN_MOUNTS


@pytest.mark.parametrize("values", ALONE, ids=str)
def test_each_part_is_valid_and_well_alone(helm, values):
    """What is on does not lean on another part that is off."""
    nodes = with_health(helm, values)

    for node in nodes:
        check(node, VERSIONS[-1])
    assert faults(nodes) == []


def test_the_policy_finds_a_fault(helm):
    """The control: values that are allowed and not wise."""
    found = faults(rendered(helm, {"pdb": {"enabled": False}}))

    assert len(found) == 1
    assert "no PodDisruptionBudget" in found[0]


def test_settings_become_variables(helm):
    """Whole numbers without an exponent, lists with spaces, switches as words."""
    variables = settings(container(rendered(helm, values_of(SETS["everything"]))))

    assert {
        "ISOTHERM_ACCESS_LOG": "0.01",
        "ISOTHERM_DRAIN_DELAY": "12.5",
        "ISOTHERM_EXIT_ON_ERROR": "false",
        "ISOTHERM_LOAD_MODEL": "thermometer linear",
        "ISOTHERM_LOG_FORMAT": "json",
        "ISOTHERM_MAX_BATCH_SIZE": "2048",
        "ISOTHERM_MAX_MESSAGE_BYTES": "134217728",
        "OTEL_SERVICE_NAME": "models",
    }.items() <= variables.items()


def test_times_are_computed(helm):
    """Grace period, start-up budget and the roll-out's deadline, rounded up."""
    nodes = rendered(helm, values_of(SETS["everything"]))
    startup = container(nodes)["startupProbe"]

    # 12.5 s and 60 s, and 5 to spare.
    assert pod(nodes)["spec"]["terminationGracePeriodSeconds"] == 78
    assert startup["periodSeconds"] * startup["failureThreshold"] == 1202
    assert only(nodes, "Deployment")["spec"]["progressDeadlineSeconds"] == 1501


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({}, "isotherm:0.1.0"),
        ({"gpu": {"enabled": True}}, "isotherm:0.1.0-gpu"),
        ({"image": {"repository": "r.org:5000/a/b", "tag": "2"}}, "r.org:5000/a/b:2"),
        ({"image": {"tag": "2"}, "gpu": {"enabled": True}}, "isotherm:2"),
        ({"image": {"tag": "2", "digest": f"sha256:{'0' * 64}"}}, f"isotherm@sha256:{'0' * 64}"),
    ],
    ids=str,
)
def test_the_image_is_the_tag_or_the_digest(helm, values, image):
    """The test's pod has the server's image."""
    (health,) = only(health_pods(helm, values), "Pod")["spec"]["containers"]

    assert image == container(rendered(helm, values))["image"] == health["image"]


def test_labels_and_annotations_of_all_are_on_all(helm):
    """Also on the test's pod. The pods of the server have labels of their own."""
    nodes = with_health(helm, values_of(SETS["everything"]))

    assert len(nodes) > 15
    for node in nodes:
        assert node["metadata"]["labels"]["team"] == "inference"
        assert node["metadata"]["labels"]["helm.sh/chart"] == "isotherm-0.1.0"
        assert node["metadata"]["annotations"]["example.org/owner"] == "inference@example.org"
    assert pod(nodes)["metadata"]["labels"] == {
        "app.kubernetes.io/name": "isotherm",
        "app.kubernetes.io/instance": "isotherm",
        "team": "inference",
    }


@pytest.mark.parametrize(
    "values",
    [
        nested("replicas", 5),
        nested("pdb.maxUnavailable", "50%"),
        nested("networkPolicy.enabled", value=False),
        nested("commonLabels.team", "search"),
        nested("service.annotations.a", "b"),
        nested("autoscaling.by", "hpa"),
        nested("monitoring.podMonitor.enabled", value=True),
    ],
    ids=str,
)
def test_what_is_not_of_the_pods_replaces_none(helm, values):
    """The template stays, and so do the pods."""
    assert pod(rendered(helm, {})) == pod(rendered(helm, values))


def test_a_change_of_the_pods_replaces_them(helm):
    """The control."""
    assert pod(rendered(helm, {})) != pod(rendered(helm, nested("server.grace", 31)))
