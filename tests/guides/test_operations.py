"""docs/operations.md: its commands are run, and its overlay is built."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.deploy.kubernetes.kubectl import Kubectl
from tests.deploy.kubernetes.server import cluster
from tests.deploy.kustomize.renderings import overlay
from tests.deploy.manifests import called, container, only, pod, read, settings
from tests.deploy.places import KUSTOMIZE, RENDERED
from tests.guides.page import Reader, sections, server_flags
from tests.support.environments import ROOT
from tests.support.server import Server, eventually, serving

TEXT = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
BASE = read(RENDERED[KUSTOMIZE / "base"])
SECTIONS = sections("operations.md")
PUBLISHING = "A model version"
ROTATING = "Certificates and tokens"
CANARY = "Try something on a few"


def test_the_tests_know_every_section_with_commands() -> None:
    """What is added to the page is run, too."""
    found = {
        heading
        for heading, blocks in SECTIONS.items()
        for block in blocks
        if block.language in {"console", "yaml"}
    }

    assert found == {PUBLISHING, ROTATING, CANARY}


def test_the_page_gives_the_numbers_of_the_manifests() -> None:
    """Those that its advice rests on."""
    deployment = only(BASE, "Deployment")["spec"]
    told = settings(container(BASE))
    own_s = sum(float(told[f"ISOTHERM_{name}"]) for name in ("DRAIN_DELAY", "GRACE"))
    spare_s = pod(BASE)["spec"]["terminationGracePeriodSeconds"] - own_s
    said = [
        f"`ISOTHERM_MAX_CONNECTION_AGE` ({told['ISOTHERM_MAX_CONNECTION_AGE']} s)",
        f"{told['ISOTHERM_DRAIN_DELAY']} s is enough",
        f"the sum and {spare_s:g} s",
        f"ready for {deployment['minReadySeconds']} s",
    ]

    assert [text for text in said if text not in TEXT] == []


def test_its_commands_name_the_deployment_and_the_services_that_there_are() -> None:
    """Those that no test can run; the canary's weights are all of the calls."""
    (code,) = re.findall(r"^```\n(backendRefs:.*?)```", TEXT, re.DOTALL | re.MULTILINE)
    backends = yaml.safe_load(code)["backendRefs"]

    assert {"isotherm"} == set(re.findall(r"^kubectl .*deployment[ /](\S+)", TEXT, re.MULTILINE))
    assert [each["name"] for each in backends] == ["isotherm", "isotherm-canary"]
    assert {each["port"] for each in backends} == {8001}
    assert sum(each["weight"] for each in backends) == 100


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> Iterator[Server]:
    """The page's server, over a copy of the example."""
    repository, *flags = server_flags(SECTIONS[PUBLISHING])
    shutil.copytree(ROOT / "examples" / "models", tmp_path / repository)
    with serving(tmp_path / repository, *flags) as server:
        yield server


@pytest.mark.slow
def test_a_version_is_published_and_rolled_back(server: Server, tmp_path: Path) -> None:
    """Each command ends when the server has followed; not every machine has curl."""
    here = {"127.0.0.1:8002": f"127.0.0.1:{server.metrics_port}"}
    reader = Reader(tmp_path, here, {})
    *publish, back = (block for block in SECTIONS[PUBLISHING] if block.language == "console")

    assert [] == reader.follow(publish)
    # The line is written just after the metrics have it.
    assert eventually(lambda: "version 2 is ready" in server.log)
    assert [] == reader.follow([back])
    assert (tmp_path / "models" / "thermometer" / ".2").is_dir()
    assert server.ready()


@pytest.mark.slow
def test_a_token_is_rotated(tmp_path: Path) -> None:
    """By renames: both at first, then the new one alone; strangers never see the file."""
    reader = Reader(tmp_path, {}, {})
    (tmp_path / "tokens.txt").write_text("old-token\n")
    (block,) = (block for block in SECTIONS[ROTATING] if block.language == "console")

    assert [] == reader.follow([block])
    assert (tmp_path / "tokens.txt").read_text() == "new-token\n"
    assert os.stat(tmp_path / "tokens.txt").st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_a_new_image_reaches_the_container_that_the_page_names(tmp_path: Path) -> None:
    """On an API server that keeps what it is told; pods and revisions it has none."""
    (line,) = re.findall(r"^kubectl (-n isotherm set image [^#\n]+)", TEXT, re.MULTILINE)
    image = "jsonpath={.spec.template.spec.containers[0].image}"
    with cluster() as api:
        kubectl = Kubectl.of(api, tmp_path)
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "isotherm"}}
        (tmp_path / "namespace.yaml").write_text(yaml.safe_dump(namespace))
        kubectl("apply", "--filename", str(tmp_path / "namespace.yaml"))
        kubectl("apply", "-n", "isotherm", "--kustomize", str(KUSTOMIZE / "overlays" / "cpu"))
        kubectl(*line.split())
        (found,) = kubectl("-n", "isotherm", "get", "deployment", "isotherm", "-o", image)

    assert line.split()[-1] == f"server={found}"


@pytest.mark.slow
def test_the_canary_stands_beside_the_first_one() -> None:
    """With names and labels of its own, so that no selector of one finds pods of the other."""
    (block,) = (block for block in SECTIONS[CANARY] if block.file == "kustomization.yaml")
    kustomization = yaml.safe_load(block.code)
    kustomization["resources"] = [str(KUSTOMIZE / "overlays" / "cpu")]
    objects = overlay(kustomization)
    deployment = called(objects, "Deployment", "isotherm-canary")
    labels = deployment["spec"]["template"]["metadata"]["labels"]

    assert labels["app.kubernetes.io/name"] == "isotherm-canary"
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "isotherm:0.1.1"
    for each in objects:
        assert each["metadata"]["name"].startswith("isotherm")
        assert "-canary" in each["metadata"]["name"]
        selector = each["spec"].get("selector") if "spec" in each else None
        if selector:
            assert "isotherm-canary" in str(selector)
    assert settings(deployment["spec"]["template"]["spec"]["containers"][0])
