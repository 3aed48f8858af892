"""The guides of deployment: what they name is there, and their numbers are those of the files."""

import re

import pytest

from tests.deploy.manifests import container, pod, read, setting
from tests.deploy.places import DEPLOY, KUSTOMIZE, RENDERED, ROOT
from tests.guides.page import broken_links

PAGE = (ROOT / "docs" / "deployment.md").read_text()
README = (DEPLOY / "README.md").read_text()
# Their owners have tests of their own for what they say.
GUIDES = (
    "deployment",
    "kubernetes",
    "helm",
    "kserve",
    "scale-out",
    "containers",
    "balancing",
    "gpu",
    "operations",
    "sizing",
)
BASE = read(RENDERED[KUSTOMIZE / "base"])
PATH = re.compile(r"(?<![\w/])deploy/[\w./-]*\w")
IMAGE = re.compile(r"isotherm(?:-demo)?:(\d+\.\d+\.\d+)")


@pytest.mark.parametrize("guide", GUIDES)
def test_every_file_that_a_guide_names_exists(guide):
    """A moved file takes its pages along."""
    named = set(PATH.findall((ROOT / "docs" / f"{guide}.md").read_text()))

    assert {name for name in named if not (ROOT / name).exists()} == set()


@pytest.mark.parametrize("guide", GUIDES)
def test_every_link_of_a_guide_leads_somewhere(guide):
    """To a file, and to a heading that it has."""
    assert [] == broken_links(f"{guide}.md")


@pytest.mark.parametrize("guide", GUIDES)
def test_a_guide_says_what_was_never_run(guide):
    """Plainly, but for the one that only reckons."""
    text = (ROOT / "docs" / f"{guide}.md").read_text()

    assert "never run" in text.lower() or guide == "sizing"


def test_the_folder_s_page_names_what_is_in_it():
    """Each folder once; its links lead to the guides."""
    folders = {
        path.name for path in DEPLOY.iterdir() if path.is_dir() and path.name != "__pycache__"
    }
    (table,) = re.findall(r"\| folder \|.*?\n\n", README, re.DOTALL)
    listed = re.findall(r"`([\w-]+)/`", "".join(re.findall(r"^\|[^|]*\|", table, re.MULTILINE)))
    links = set(re.findall(r"\]\(\.\./docs/([\w-]+)\.md", README))

    assert sorted(listed) == sorted(folders)
    assert links == set(GUIDES)


def test_the_page_gives_the_numbers_of_the_manifests():
    """Drain delay, grace and the pod's patience, in all places."""
    drain_s, grace_s = setting(BASE, "ISOTHERM_DRAIN_DELAY"), setting(BASE, "ISOTHERM_GRACE")
    patience_s = pod(BASE)["spec"]["terminationGracePeriodSeconds"]
    unit = (DEPLOY / "systemd" / "isotherm.service").read_text()
    age_s = setting(BASE, "ISOTHERM_MAX_CONNECTION_AGE")

    assert f"drain delay ({drain_s} s)" in PAGE
    assert f"grace ({grace_s} s)" in PAGE
    assert f"`terminationGracePeriodSeconds` ({patience_s})" in PAGE
    assert f"`TimeoutStopSec={patience_s}`" in PAGE
    assert f"TimeoutStopSec={patience_s}\n" in unit
    assert f"Environment=ISOTHERM_DRAIN_DELAY={drain_s}\n" in unit
    assert f"Environment=ISOTHERM_GRACE={grace_s}\n" in unit
    assert f"`ISOTHERM_MAX_CONNECTION_AGE` ({age_s} s)" in PAGE


def test_every_image_is_of_the_version_of_the_manifests():
    """Tags in guides, examples and the Dockerfile are not left behind; but for an upgrade's."""
    tag = container(BASE)["image"].partition(":")[2]
    texts = [(ROOT / "docs" / f"{guide}.md") for guide in GUIDES if guide != "operations"]
    texts += [DEPLOY / "docker" / "Dockerfile", *(DEPLOY / "kserve").rglob("*.yaml")]
    found = {found for path in texts for found in IMAGE.findall(path.read_text())}

    assert found == {tag}


def test_a_broken_link_is_found(tmp_path, monkeypatch):
    """A control."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text("[a](nowhere.md) [b](page.md#nothing) [c](page.md)")
    monkeypatch.setattr("tests.guides.page.ROOT", tmp_path)

    assert broken_links("page.md") == ["nowhere.md#", "page.md#nothing"]
