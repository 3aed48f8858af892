"""The chart and the program agree: what a release says is done to a real server."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.deploy.chart.helm import NAME, NAMESPACE, Helm, HelmError, Releases
from tests.deploy.kubernetes import node
from tests.deploy.kubernetes.server import Cluster, cluster
from tests.deploy.kustomize.pods import PROBES, Pod, running_server
from tests.deploy.manifests import Object, pod
from tests.deploy.places import MODELS
from tests.deploy.server import Caller
from tests.support.certificates import Authority

pytestmark = pytest.mark.slow

VALUES = {
    "server": {
        "workers": 1,
        "grace": 20,
        "settings": {
            "max-batch-size": 16,
            "max-message-bytes": 4194304,
            "model-control": "explicit",
            "load-model": ["thermometer"],
            "exit-on-error": False,
            "log-level": "debug",
        },
    },
    "rest": {"enabled": True},
}


@pytest.fixture(name="api")
def _api():
    with cluster() as api:
        api.add("", "Namespace", NAMESPACE)
        yield api


def _installed(helm: Helm, api: Cluster, folder: Path, values: Any) -> Releases:
    releases = Releases(helm, api.write_kubeconfig(folder / "kubeconfig"), NAMESPACE)
    releases.install(values)
    return releases


def test_a_server_takes_the_settings_of_the_values(helm, api, tmp_path):
    """It starts, passes every probe, serves the one model of the list, and ends in time.

    `helm test` passes while it is there, and fails when it is gone.
    """
    log = tmp_path / "log"
    releases = _installed(helm, api, tmp_path, VALUES)
    folders = {"/models": MODELS}
    release = list(api.objects(NAMESPACE).values())
    with running_server(pod(release), log, folders=folders) as served:
        served.wait_until_ready()
        passed = [served.passes(probe) for probe in PROBES]
        with grpc.insecure_channel(served.address.target) as channel:
            caller = Caller(channel)
            answer = caller.send(caller.request(4)).result()
        with node.running(api, lambda pod: _run(pod, served, tmp_path)):
            releases.test()
            tested = api.objects(NAMESPACE).keys()
            served.process.send_signal(signal.SIGTERM)
            status = served.end()
            with pytest.raises(HelmError, match="pod isotherm-test failed"):
                releases.test()

    settings = log.read_text().replace('\\"', '"')
    assert passed == [True] * 3
    assert answer.model_name == "thermometer"
    assert status == 0
    # The pod of a test that has passed is gone; that of one that has failed is there to be asked.
    assert ("Pod", "isotherm-test") not in tested
    assert ("Pod", "isotherm-test") in api.objects(NAMESPACE)
    assert '"max_batch_size": 16' in settings
    assert '"max_message_bytes": 4194304' in settings
    assert '"load_models": ["thermometer"]' in settings
    assert '"exit_on_error": false' in settings
    assert '"grace_s": 20.0' in settings


def test_with_tls_the_test_checks_the_certificate(helm, api, tmp_path):
    """By the authority of the Secret; the control is another one."""
    releases = _installed(helm, api, tmp_path, {"tls": {"enabled": True}, "server": {"workers": 1}})
    authorities = [Authority(tmp_path, name) for name in ("ours", "another")]
    secret = tmp_path / "secret"
    secret.mkdir()
    pair = authorities[0].issue("server")
    pair.cert.rename(secret / "tls.crt")
    pair.key.rename(secret / "tls.key")
    known = secret / "ca.crt"
    folders = {"/models": MODELS, "/tls": secret}
    release = list(api.objects(NAMESPACE).values())
    with running_server(pod(release), tmp_path / "log", folders=folders) as served:
        served.wait_until_ready()
        passed = [served.passes(probe) for probe in PROBES]
        with node.running(api, lambda pod: _run(pod, served, secret)):
            known.write_bytes(authorities[0].pair.cert.read_bytes())
            releases.test()
            known.write_bytes(authorities[1].pair.cert.read_bytes())
            with pytest.raises(HelmError, match="pod isotherm-test failed"):
                releases.test()

    assert passed == [True] * 3


def _run(pod: Object, served: Pod, tls: Path) -> int:
    """Run the pod of `helm test` as a process of this machine; return its exit status."""
    program, *arguments = pod["spec"]["containers"][0]["command"]
    here = {
        f"--address={NAME}.{NAMESPACE}.svc:8001": f"--address={served.address.target}",
        "--timeout=10": "--timeout=2",
        "--tls-ca=/tls/ca.crt": f"--tls-ca={tls / 'ca.crt'}",
    }
    command = [Path(sys.executable).with_name(program), *(here.get(a, a) for a in arguments)]
    return subprocess.run(command, check=False, timeout=60).returncode
