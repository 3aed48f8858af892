"""The manifests and the program agree: what the Deployment says is done to a real server."""

import json
import signal

import grpc
import pytest

from tests.deploy.kustomize.kubelet import SecretVolume
from tests.deploy.kustomize.pods import DRAIN_DELAY_S, FIELDS, PROBES, code_of, running_server
from tests.deploy.kustomize.renderings import rendered
from tests.deploy.manifests import container, pod
from tests.deploy.pages import page
from tests.deploy.places import KUSTOMIZE, MODELS
from tests.deploy.server import Caller
from tests.support.certificates import Authority
from tests.support.otlp import receiving

pytestmark = pytest.mark.slow

BASE = KUSTOMIZE / "base"
PAGES = ("/healthz", "/v2/health/ready")
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture(name="served")
def _served(tmp_path):
    """The base's pod, ready."""
    objects, folders = rendered(BASE), {"/models": MODELS}
    with running_server(
        pod(objects), tmp_path / "log", folders=folders, drain_delay_s=DRAIN_DELAY_S
    ) as served:
        served.wait_until_ready()
        yield served


@pytest.fixture(name="authority")
def _authority(tmp_path):
    return Authority(tmp_path, "authority")


@pytest.fixture(name="secret")
def _secret(authority, tmp_path):
    """The Secret isotherm-tls, as the kubelet mounts it."""
    return SecretVolume(tmp_path / "secret", _files(authority.issue("server")))


@pytest.fixture(name="encrypted")
def _encrypted(secret, tmp_path):
    """The pod of the component tls, ready."""
    objects, folders = rendered(BASE, ("tls",)), {"/models": MODELS, "/tls": secret.folder}
    with running_server(
        pod(objects), tmp_path / "log", folders=folders, drain_delay_s=DRAIN_DELAY_S
    ) as served:
        served.wait_until_ready()
        yield served


def test_a_server_without_models_passes_none(tmp_path):
    """The control: it ends, and says why."""
    empty = tmp_path / "models"
    empty.mkdir()
    log = tmp_path / "log"
    with running_server(pod(rendered(BASE)), log, folders={"/models": empty}) as served:
        status = served.process.wait(timeout=60)
        passed = [served.passes(probe) for probe in PROBES]

    assert status == 1
    assert [False] * 3 == passed
    assert str(empty) in log.read_text()


def test_a_started_server_passes_every_probe_until_sigterm_and_then_ends(served):
    """The pod leaves the endpoints while it still answers; then it exits 0 within its grace."""
    assert [True] * 3 == [served.holds(probe) for probe in PROBES]
    assert [200, 200] == [served.address.page(path)[0] for path in PAGES]
    with grpc.insecure_channel(served.address.target) as channel:
        caller = Caller(channel)
        request = caller.request(1)
        served.process.send_signal(signal.SIGTERM)
        served.wait_until("readinessProbe", passes=False, within_s=DRAIN_DELAY_S)
        answer = caller.send(request).result()
        alive = served.passes("livenessProbe")
        http = [served.address.page(path)[0] for path in PAGES]

    assert answer.model_name == request.model_name
    assert alive
    assert http == [200, 503]
    assert served.end() == 0


def test_a_call_that_arrives_during_the_drain_is_answered(served):
    """Forty calls, one after the other, from before the signal to after it: none fails."""
    with grpc.insecure_channel(served.address.target) as channel:
        caller = Caller(channel)
        request = caller.request(2)
        codes = [code_of(caller, request) for _ in range(20)]
        served.process.send_signal(signal.SIGTERM)
        codes += [code_of(caller, request) for _ in range(20)]

    assert codes == [grpc.StatusCode.OK] * 40
    assert served.end() == 0


def test_with_tls_probes_ask_by_http_and_sigterm_ends_it_as_well(encrypted):
    """The base's probe, the control, speaks no TLS: hence the component's own."""
    assert [True] * 3 == [encrypted.holds(probe) for probe in PROBES]
    assert not encrypted.node.passes(container(rendered(BASE)), "readinessProbe")

    encrypted.process.send_signal(signal.SIGTERM)
    encrypted.wait_until("readinessProbe", passes=False, within_s=DRAIN_DELAY_S)

    assert encrypted.passes("livenessProbe")
    assert encrypted.end() == 0


def test_with_tls_a_renewed_secret_is_served_without_a_restart(
    encrypted, authority, secret, tmp_path
):
    """Whoever trusts its authority is served, and after the kubelet's update the next one's."""
    other = Authority(tmp_path, "other")
    before = [_trusting(encrypted, each) for each in (authority, other)]
    secret.update(_files(other.issue("renewed")))
    after = [_trusting(encrypted, each) for each in (authority, other)]

    assert before == [grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE]
    assert after == [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.OK]


def test_with_tracing_spans_say_which_pod_they_come_from(tmp_path):
    """The names of the pod and its namespace are put in as Kubernetes does it."""
    metadata = (("traceparent", f"00-{TRACE}-b7ad6b7169203331-01"),)
    objects = rendered(BASE, ("tracing",))
    folders = {"/models": MODELS}
    with receiving() as receiver:
        endpoint = {"ISOTHERM_TRACING_ENDPOINT": receiver.url}
        with running_server(
            pod(objects), tmp_path / "log", folders=folders, changed=endpoint
        ) as served:
            served.wait_until_ready()
            with grpc.insecure_channel(served.address.target) as channel:
                caller = Caller(channel)
                caller.send(caller.request(1), metadata).result()
            # The last spans are sent at the end.
            served.process.send_signal(signal.SIGTERM)
            status = served.end()
        spans = receiver.in_trace(TRACE, 3)

    assert status == 0
    assert {"inference.GRPCInferenceService/ModelInfer", "queue", "run"} == {s.name for s in spans}
    for span in spans:
        assert span.resource["service.name"] == "isotherm"
        assert span.resource["k8s.pod.name"] == FIELDS["metadata.name"]
        assert span.resource["k8s.namespace.name"] == FIELDS["metadata.namespace"]


def test_with_rest_models_are_served_by_http_too(tmp_path):
    """At the port that the Service leads to."""
    folders = {"/models": MODELS}
    with running_server(
        pod(rendered(BASE, ("rest",))), tmp_path / "log", folders=folders
    ) as served:
        served.wait_until_ready()
        status, text = page(served.node.ports[8000], "/v2/models/thermometer")

    assert status == 200
    assert json.loads(text)["name"] == "thermometer"


def _files(pair):
    return {"tls.crt": pair.cert.read_bytes(), "tls.key": pair.key.read_bytes()}


def _trusting(served, authority):
    """How a call ends on a new connection that trusts an authority."""
    credentials = grpc.ssl_channel_credentials(authority.pair.cert.read_bytes())
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(served.address.target, credentials, options) as channel:
        try:
            caller = Caller(channel)
            return code_of(caller, caller.request(1))
        except grpc.RpcError as error:
            return error.code()
