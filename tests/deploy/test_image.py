import json
import re
import tempfile
from pathlib import Path

import pytest

from tests.deploy.containers import BASE, Store
from tests.deploy.manifests import container, pod
from tests.deploy.places import DOCKERFILE, KUSTOMIZE, MODELS, RENDERED, ROOT
from tests.deploy.processes import eventually, free_port, tool
from tests.deploy.server import Address, check, wait_until_ready

MANIFEST = RENDERED[KUSTOMIZE / "base"]
IMAGE = "localhost/isotherm:test"
DEMO = "localhost/isotherm-demo:test"
LARGEST_BYTES = 350_000_000

INSTRUCTIONS = [
    line.split(maxsplit=1)
    for line in re.sub(r"\\\n\s*", "", DOCKERFILE.read_text()).splitlines()
    if line and not line.startswith("#")
]
STAGES = " ".join(word for word, _ in INSTRUCTIONS).split("FROM")[1:]
# `pip list` of an environment without pip.
INSTALLED = """
import importlib.metadata as m, json
print(json.dumps({d.metadata["Name"]: d.version for d in m.distributions()}))
"""


def test_nothing_runs_in_a_shell_at_run_time():
    """Each of the three commands is a list, so an image without a shell will do."""
    commands = [
        value[value.index("[") :]
        for word, value in INSTRUCTIONS
        if word in {"CMD", "ENTRYPOINT"} or (word == "HEALTHCHECK" and "CMD [" in value)
    ]

    assert len(commands) == 3
    assert all(isinstance(json.loads(command), list) for command in commands)


def test_the_image_that_is_built_by_default_holds_no_model():
    """The last stage is the server; the demo with its model has to be asked for."""
    stages = [value for word, value in INSTRUCTIONS if word == "FROM"]

    assert stages[-2:] == ["runtime AS demo", "runtime AS server"]


def test_only_the_build_stage_runs_commands():
    """What pip needs and leaves behind stays out of the image."""
    assert [" RUN" in stage for stage in STAGES] == [True, False, False, False]


def test_the_base_is_pinned_to_a_version():
    """No `latest`, with and without the word."""
    (base,) = (value for word, value in INSTRUCTIONS if word == "ARG" and value.startswith("BASE="))
    tag = base.partition(":")[2]

    assert re.match(r"3\.\d+-", tag)


def test_the_build_context_is_what_the_wheel_is_made_of():
    """Neither the history nor an environment nor a trained model of ours goes to the builder."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    wanted = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]

    assert rules[0] == "*"
    assert {"client", "proto", "server", "trainer", "constraints.txt", "pyproject.toml"} <= {
        *wanted
    }
    assert {*wanted}.isdisjoint({".git", ".venv", "build", "models", "tests"})


@pytest.fixture(scope="module", name="store")
def _store():
    """A store with the images of the server and of the demo, removed in the end."""
    tool("runc", "Debian's runc")
    with tempfile.TemporaryDirectory(prefix="isotherm-images-") as folder:
        store = Store(Path(folder))
        try:
            store.make_base()
            store.build(IMAGE)
            store.build(DEMO, target="demo")
            yield store
        finally:
            store.remove()


@pytest.fixture(name="address")
def _address():
    return Address(free_port(), free_port())


def _hardened():
    """The pod's security settings as podman's options."""
    limits = container(MANIFEST)["resources"]["limits"]
    user = pod(MANIFEST)["spec"]["securityContext"]
    return (
        *("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
        *("--user", f"{user['runAsUser']}:{user['runAsGroup']}"),
        *("--memory", limits["memory"].removesuffix("i").lower()),
        *("--tmpfs", "/tmp:size=64m"),  # noqa: S108
    )


def _arguments(address):
    """The image's own arguments, on loopback and on free ports."""
    ports = ("--grpc-port", str(address.grpc_port), "--metrics-port", str(address.metrics_port))
    return ("/models", "--host", "127.0.0.1", "--drain-delay", "1", *ports)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_hardened_container_serves_and_ends_by_sigterm(store, address):
    """No root, no capability, no writing; process 1 drains and exits with 0."""
    options = (*_hardened(), "--volume", f"{MODELS}:/models:ro")
    with store.running("hardened", IMAGE, *_arguments(address), options=options) as process:
        wait_until_ready(address, within_s=60)
        pid = store.podman("inspect", "--format", "{{.State.Pid}}", "hardened")
        status = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        )
        health = store.podman("exec", "hardened", "isotherm", "health", "--address", address.target)
        readiness = check(address.target, "", 2)
        store.podman("kill", "--signal", "TERM", "hardened")
        code = process.wait(timeout=60)

    assert readiness == "SERVING"
    assert "SERVING" in health
    assert {"65532"} == set(status["Uid"].split())
    assert status["NSpid"].split()[-1] == "1"
    assert int(status["CapEff"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert code == 0, store.log("hardened")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_image_brings_its_model_along(store, address):
    """What the dev overlay runs: nothing is mounted but the scratch folder."""
    with store.running("demo", DEMO, *_arguments(address), options=_hardened()):
        wait_until_ready(address, within_s=60)
        readiness = eventually(lambda: check(address.target, "thermometer", 2), within_s=5)

    assert readiness == "SERVING"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_image_holds_the_pinned_versions_and_no_torch(store):
    """constraints.txt decides about everything that is installed, and it is small."""
    printed = store.podman(
        *("run", "--rm", "--network", "none", "--ulimit", "nofile=4096:4096"),
        *("--ulimit", "nproc=4096:4096", "--entrypoint", "python3", IMAGE, "-c", INSTALLED),
    )
    installed = {_canonical(name): version for name, version in json.loads(printed).items()}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    pinned = {_canonical(name): version for name, version in pins.items()}
    ours = installed.pop("isotherm")

    assert ours
    assert installed.items() <= pinned.items()
    assert "torch" not in installed


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_image_is_small_and_labelled(store):
    """At most 350 MB on top of the base."""
    image, base = (json.loads(store.podman("image", "inspect", name))[0] for name in (IMAGE, BASE))
    own_bytes = image["Size"] - base["Size"]
    print(f"the server adds {own_bytes / 1e6:.0f} MB to its base of {base['Size'] / 1e6:.0f} MB")

    assert own_bytes <= LARGEST_BYTES
    assert image["Labels"]["org.opencontainers.image.version"] == "test"
    assert image["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"


def _canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()
