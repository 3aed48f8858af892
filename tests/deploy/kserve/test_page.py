"""docs/kserve.md: its commands, by the real kubectl; the files and the numbers that it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.deploy.kserve.files import EXAMPLES, KSERVE, NAMESPACED, RUNTIMES
from tests.deploy.kubernetes.kubectl import Kubectl
from tests.deploy.kubernetes.server import cluster
from tests.deploy.places import ROOT

PAGE = (ROOT / "docs" / "kserve.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_runtimes_and_services_are_applied(tmp_path: Path):
    """Once created, then unchanged; a service that says something unknown is refused."""
    with cluster() as api:
        kubectl = Kubectl.of(api, tmp_path)
        applied = [
            *(("--kustomize", str(folder)) for folder in (RUNTIMES, NAMESPACED)),
            *(
                ("--filename", str(KSERVE / file))
                for file in ("examples/s3.yaml", "podmonitor.yaml")
            ),
        ]
        results = [
            [line.rpartition(" ")[2] for each in applied for line in kubectl("apply", *each)]
            for _ in range(2)
        ]
        wrong = tmp_path / "wrong.yaml"
        wrong.write_text((KSERVE / "examples" / "s3.yaml").read_text().replace("storageUri", "uri"))
        refused = kubectl.run("apply", "--filename", str(wrong))

    assert results == [["created"] * 6, ["unchanged"] * 6]
    assert refused.returncode != 0
    assert "uri" in refused.stderr


def test_the_page_names_every_example():
    """And none that is not there."""
    named = set(re.findall(r"`(?:deploy/kserve/examples/)?([\w-]+\.yaml)`", PAGE))

    assert named == {file.name for file in EXAMPLES}


def test_the_page_gives_the_numbers_of_the_runtimes():
    """Those of the drain, and how long a folder is waited for."""
    text = (RUNTIMES / "clusterservingruntime.yaml").read_text(encoding="utf-8")
    told = dict(re.findall(r"- name: (ISOTHERM_\w+)\n\s+value: \"?([^\"\n]+)", text))

    assert f"drain delay is {told['ISOTHERM_DRAIN_DELAY']} s" in PAGE
    assert f"grace {told['ISOTHERM_GRACE']} s" in PAGE
    assert f"(`ISOTHERM_REPOSITORY_WAIT`, {told['ISOTHERM_REPOSITORY_WAIT']} s)" in PAGE
    assert f"ISOTHERM_MODEL_NAME={told['ISOTHERM_MODEL_NAME']}" in PAGE
