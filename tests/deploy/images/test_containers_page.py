"""docs/containers.md says what the Dockerfiles and the compose file say."""

import re
import tomllib

import pytest

from tests.deploy.images import composition
from tests.deploy.images.dockerfile import instructions
from tests.deploy.places import DOCKERFILE, ROOT, TRAINER_DOCKERFILE

PAGE = (ROOT / "docs" / "containers.md").read_text()
COMPOSE = composition.FILE.read_text()
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
_TAG = r"\bisotherm(?:-\w+)?:(\d[\w.]*\d)"


@pytest.mark.parametrize(
    "text",
    [
        PAGE,
        COMPOSE,
        (composition.FILE.parent / "gpu.yaml").read_text(),
        DOCKERFILE.read_text(),
        TRAINER_DOCKERFILE.read_text(),
    ],
    ids=["page", "compose", "gpu", "server", "trainer"],
)
def test_every_image_is_of_the_version_of_the_project(text):
    """Tags in commands and comments are not left behind."""
    assert set(re.findall(_TAG, text)) == {VERSION}


def test_every_build_argument_is_in_the_table():
    """With its default, where that is short enough to be there."""
    arguments = {
        name: default
        for file in (DOCKERFILE, TRAINER_DOCKERFILE)
        for word, value in instructions(file)
        if word == "ARG"
        for name, given, default in [value.partition("=")]
        if given
    }
    rows = dict(re.findall(r"^\| (`[A-Z_`, ]+`) \| (.*?) \|", PAGE, re.MULTILINE))
    documented = {name: row for names, row in rows.items() for name in re.findall(r"\w+", names)}

    assert arguments.keys() <= documented.keys()
    assert all(
        f"`{default}`" == documented[name]
        for name, default in arguments.items()
        if "://" not in default
    )


def test_every_variable_of_the_compose_file_is_in_the_table():
    """And every one of the table is read."""
    table = PAGE.partition("## Compose")[2].partition("* **Only")[0]
    written = {*re.findall(r"`([A-Z_]+)`", table)}

    assert written == {*re.findall(r"\$\{(\w+):-", COMPOSE)}


def test_the_time_to_stop_is_the_drain_and_the_grace():
    """The same sum for the engine and for compose."""
    service = composition.read(COMPOSE)["isotherm"]
    variables = service["environment"]
    seconds = 5 + sum(int(variables[f"ISOTHERM_{name}"]) for name in ("DRAIN_DELAY", "GRACE"))

    assert service["stop_grace_period"] == f"{seconds}s"
    assert f"docker stop -t {seconds} " in PAGE
