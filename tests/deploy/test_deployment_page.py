import re

from tests.deploy.manifests import container, flag, pod
from tests.deploy.places import DEPLOY, KUSTOMIZE, RENDERED, ROOT

PAGE = (ROOT / "docs" / "deployment.md").read_text()
BASE = RENDERED[KUSTOMIZE / "base"]


def test_every_file_that_the_page_names_exists():
    """A moved file takes the page along."""
    named = set(re.findall(r"\bdeploy/[\w./-]*\w", PAGE))

    assert len(named) > 4
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_the_page_gives_the_numbers_of_the_manifests():
    """Drain delay, grace and the pod's patience."""
    drain_s, grace_s = int(flag(BASE, "--drain-delay")), int(flag(BASE, "--grace"))
    patience_s = pod(BASE)["spec"]["terminationGracePeriodSeconds"]

    assert f"`--drain-delay` ({drain_s} s)" in PAGE
    assert f"`--grace` ({grace_s} s)" in PAGE
    assert f"`terminationGracePeriodSeconds` ({patience_s})" in PAGE
    assert f"TimeoutStopSec={patience_s}" in PAGE
    assert f"docker stop --time {patience_s}" in PAGE
    assert f"`--max-connection-age {flag(BASE, '--max-connection-age'):g}`" in PAGE


def test_every_image_of_the_page_is_of_the_version_of_the_manifests():
    """Tags in the examples are not left behind."""
    tag = container(BASE)["image"].partition(":")[2]
    tags = re.findall(r"isotherm(?:-demo)?:(\d+\.\d+\.\d+)", PAGE)
    in_dockerfile = re.findall(
        r"isotherm(?:-demo)?:(\d+\.\d+\.\d+)", (DEPLOY / "docker" / "Dockerfile").read_text()
    )

    assert {tag} == set(tags) == set(in_dockerfile)
