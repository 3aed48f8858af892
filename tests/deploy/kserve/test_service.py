"""InferenceServices with the real server: laid out, started, probed, called, ended as by KServe."""

from __future__ import annotations

import functools
import json
import shutil
import signal
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.deploy.kserve.files import KSERVE, example
from tests.deploy.kserve.pods import running_pod
from tests.deploy.kserve.storage import lay_out, web_server
from tests.deploy.kustomize.pods import DRAIN_DELAY_S, Pod
from tests.deploy.manifests import of_kind, read, settings
from tests.deploy.places import MODELS
from tests.deploy.processes import eventually
from tests.support import kserve
from tests.support.environments import environment, run

pytestmark = pytest.mark.slow

READY_WITHIN_S = 30
READY_8 = 'isotherm_model_state{model="thermometer",state="READY",version="8"} 1.0'
MODEL = MODELS / "thermometer" / "1" / "model.onnx"
# Both of KServe's own clients; it asks each service what it has and for two readings.
CLIENTS = """
import asyncio
import json
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve import RESTConfig

READINGS = np.array([[35.7], [56.3]], np.float32)


async def ask(name, kind, address):
    tensor = InferInput("x", [2, 1], "FP32")
    tensor.set_data_from_numpy(READINGS, binary_data=kind == "grpc-v2")
    request = InferRequest(model_name="thermometer", infer_inputs=[tensor])
    if kind == "grpc-v2":
        async with InferenceGRPCClient(address) as client:
            assert await client.is_server_ready()
            assert await client.is_model_ready("thermometer")
            answer = await client.infer(request)
    else:
        url = f"http://{address}"
        async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
            assert await client.is_server_ready(url)
            assert await client.is_model_ready(url, "thermometer")
            answer = await client.infer(url, request, model_name="thermometer")
    (output,) = (each for each in answer.outputs if each.name == "y")
    return name, [answer.model_name, answer.model_version, output.as_numpy().ravel().tolist()]


async def main(services):
    answers = await asyncio.gather(*(ask(*service) for service in services))
    print("ANSWERS", json.dumps(dict(answers)))


asyncio.run(main(json.loads(sys.argv[1])))
"""


class Service(NamedTuple):
    """A running service: its pod, and what its models' folder is."""

    pod: Pod
    folder: Path
    protocol: str

    @property
    def address(self) -> str:
        """Where its Service leads: the container's one port."""
        (port,) = self.pod.container["ports"]
        return f"127.0.0.1:{self.pod.node.ports[port['containerPort']]}"


@pytest.fixture(name="services", scope="module")
def _services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Service]]:
    """One of each layout that there is; the canary's folder comes late, by a link."""
    folder = tmp_path_factory.mktemp("kserve")
    store = folder / "store"
    store.mkdir()
    shutil.copy(MODEL, store / "thermometer.onnx")
    shutil.copytree(MODEL.parent, store / "claim" / "thermometer" / "7")
    shutil.copytree(MODEL.parent, store / "image" / "2")
    with tarfile.open(store / "thermometer.tar.gz", "w:gz") as archive:
        archive.add(MODEL, "1/model.onnx")
    (canary,) = of_kind(read(KSERVE / "examples" / "canary-standard.yaml"), "InferenceService")
    described = {
        "file": (example("https"), folder / "file"),
        "archive": (example("http"), folder / "archive"),
        "claim": (example("pvc"), store / "claim" / "thermometer"),
        "canary": (canary, folder / "late"),
    }
    with web_server(store) as url:
        lay_out(
            file=(f"{url}/thermometer.onnx", folder / "file"),
            archive=(f"{url}/thermometer.tar.gz", folder / "archive"),
        )
    with ExitStack() as stack:
        services = {
            name: Service(
                stack.enter_context(
                    running_pod(
                        service,
                        models,
                        folder / f"{name}.log",
                        # It is the one whose drain is looked at.
                        drain_delay_s=DRAIN_DELAY_S if name == "canary" else 0,
                    )
                ),
                models,
                service["spec"]["predictor"]["model"]["protocolVersion"],
            )
            for name, (service, models) in described.items()
        }
        late = services["canary"].pod
        eventually(lambda: late.passes("livenessProbe"), what="life while the folder is missing")
        assert not late.passes("readinessProbe")
        (folder / "late").symlink_to(store / "image")
        for name, service in services.items():
            ready = functools.partial(service.pod.passes, "readinessProbe")
            eventually(ready, within_s=READY_WITHIN_S, what=f"readiness of {name}")
        yield services
        # All at once.
        for service in services.values():
            service.pod.process.terminate()


@pytest.fixture(name="answers", scope="module")
def _answers(services: dict[str, Service]) -> dict[str, list[object]]:
    """What KServe's clients are told: model, version, predictions."""
    python = environment(kserve.ENVIRONMENT, *kserve.REQUIREMENTS)
    asked = [(name, each.protocol, each.address) for name, each in services.items()]
    output = run(python, "-c", CLIENTS, json.dumps(asked))
    (line,) = (line for line in output.splitlines() if line.startswith("ANSWERS "))
    found: dict[str, list[object]] = json.loads(line.removeprefix("ANSWERS "))
    return found


def test_a_downloaded_file_is_version_1_of_the_service_s_model(answers):
    """It keeps its own name on disk, thermometer.onnx."""
    assert answers["file"][:2] == ["thermometer", "1"]


def test_an_unpacked_archive_is_served_over_rest(answers):
    """By the runtime for HTTP, to KServe's REST client, which keeps no version."""
    assert answers["archive"][:2] == ["thermometer", None]


def test_a_claim_s_folder_has_versions(answers):
    """The subfolder of `pvc://` is the model."""
    assert answers["claim"][:2] == ["thermometer", "7"]


def test_a_canary_answers_to_the_first_one_s_name_with_its_own_version(answers):
    """So that a route may weigh both: which of the two gets a call is the route's to say."""
    assert answers["canary"][:2] == ["thermometer", "2"]


def test_all_predict_the_same(answers):
    """It is one file everywhere."""
    predictions = [answer[2] for answer in answers.values()]

    assert predictions[0] == pytest.approx([1.73152, 12.4923], rel=1e-3)
    assert all(each == pytest.approx(predictions[0]) for each in predictions)


def test_a_version_that_is_published_on_the_claim_is_served(services):
    """As the example's variable says, without a new pod."""
    claim = services["claim"]
    assert settings(claim.pod.container)["ISOTHERM_MODEL_CONTROL"] == "poll"
    shutil.copytree(claim.folder / "7", claim.folder / ".8")
    (claim.folder / ".8").rename(claim.folder / "8")
    eventually(
        lambda: READY_8 in page(claim),
        within_s=READY_WITHIN_S,
        what="version 8",
    )

    assert claim.pod.passes("readinessProbe")


def page(service: Service) -> str:
    """The metrics, at the port that the annotations name."""
    return service.pod.address.page("/metrics")[1]


def test_a_service_drains_and_ends(services):
    """NOT_SERVING first, and then status 0."""
    service = services["canary"]
    service.pod.process.send_signal(signal.SIGTERM)
    eventually(
        lambda: not service.pod.passes("readinessProbe"), within_s=DRAIN_DELAY_S, what="the drain"
    )

    assert service.pod.passes("livenessProbe")
    assert service.pod.process.wait(DRAIN_DELAY_S + 15) == 0
