"""The unit for systemd: systemd reads it as it is meant, and the server stands what it forbids."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import grpc
import pytest

from tests.deploy.kustomize.pod_policy import known_settings
from tests.deploy.places import DEPLOY, MODELS
from tests.deploy.processes import output, running, tool
from tests.deploy.server import Address, Caller, wait_until_ready
from tests.support.ports import free_port

UNIT = DEPLOY / "systemd" / "isotherm.service"
ON_A_GPU = UNIT.with_name("gpu.conf")
PROGRAM = Path(sys.executable).with_name("isotherm")
CONFINED = Path(__file__).with_name("confined.py")
SPARE_S = 5
# Of 10; systemd calls it OK up to 4, and a service that sets nothing has 9.6.
EXPOSURE = 1.5
# What may open devices and write code is exposed a little more.
EXPOSURE_ON_A_GPU = 2.0


def directives(file: Path = UNIT) -> dict[str, list[str]]:
    """The unit's directives, each with its values in order."""
    found = defaultdict(list)
    for line in file.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found[name].append(value)
    return found


def variables(file: Path = UNIT) -> dict[str, str]:
    """What the unit sets."""
    return dict(each.split("=", 1) for each in directives(file)["Environment"])


def here(folder: Path, **changed: str) -> Path:
    """A copy whose program is there, with some directives changed."""
    text = UNIT.read_text().replace("/opt/isotherm/bin/isotherm", str(PROGRAM))
    for name, value in changed.items():
        text = re.sub(rf"^{name}=.*$", value, text, flags=re.MULTILINE)
    unit = folder / UNIT.name
    unit.write_text(text)
    return unit


def test_the_unit_waits_as_long_as_the_server_may_take():
    """Drain delay, grace, and some to spare."""
    told = variables()
    own_s = float(told["ISOTHERM_DRAIN_DELAY"]) + float(told["ISOTHERM_GRACE"])

    assert directives()["TimeoutStopSec"] == [f"{own_s + SPARE_S:g}"]


def test_the_unit_s_settings_are_the_server_s():
    """A variable that nobody reads would be a mistake in silence."""
    assert variables().keys() <= known_settings().keys()


def test_the_unit_starts_a_server_that_fails_again_and_lets_it_stop_its_workers():
    """The supervisor alone gets SIGTERM; a file with settings may be there or not."""
    told = directives()

    assert told["Restart"] == ["on-failure"]
    assert told["KillMode"] == ["mixed"]
    assert all(path.startswith("-/") for path in told["EnvironmentFile"])


def test_what_is_for_a_gpu_changes_what_the_unit_has():
    """A directive of a drop-in that the unit lacks would be a mistake in silence."""
    changed = directives(ON_A_GPU)

    assert changed.keys() - {"Wants", "After"} <= directives().keys()
    assert variables(ON_A_GPU).keys() <= known_settings().keys()
    for name in ("PrivateDevices", "MemoryDenyWriteExecute"):
        assert (directives()[name], changed[name]) == (["yes"], ["no"])


@pytest.fixture(name="analyze", scope="module")
def _analyze():
    return tool("systemd-analyze", "systemd")


def verified(analyze: str, unit: Path, *drop_ins: Path) -> str:
    """What systemd has to say about a unit with its drop-ins: nothing, when all is well."""
    done = subprocess.run(
        [analyze, "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    names = [file.name for file in (unit, *drop_ins)]
    lines = done.stderr.splitlines()
    complaints = [line for line in lines if any(name in line for name in names)]
    return "\n".join(complaints)


@pytest.mark.slow
def test_systemd_finds_no_fault(analyze, tmp_path):
    """Every directive is known, and every value is one that it can have."""
    assert verified(analyze, here(tmp_path)) == ""


@pytest.mark.slow
def test_systemd_finds_no_fault_with_what_is_for_a_gpu(analyze, tmp_path):
    """As a drop-in; a value that is none is found there."""
    unit = here(tmp_path)
    folder = tmp_path / f"{unit.name}.d"
    folder.mkdir()
    drop_in = folder / ON_A_GPU.name
    drop_in.write_text(ON_A_GPU.read_text())
    whole = verified(analyze, unit, drop_in)
    exposed = exposure(analyze, unit)
    drop_in.write_text(ON_A_GPU.read_text().replace("PrivateDevices=no", "PrivateDevices=now"))

    assert whole == ""
    assert exposed <= EXPOSURE_ON_A_GPU
    assert "ignoring: now" in verified(analyze, unit, drop_in)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "wrong", "culprit"),
    [
        ("ProtectSystem", "ProtectSystem=everything", "everything"),
        ("NoNewPrivileges", "NoNewPrivilege=yes", "NoNewPrivilege"),
        ("SystemCallFilter", "SystemCallFilter=@no-such-group", "@no-such-group"),
    ],
)
def test_systemd_finds_a_fault(analyze, tmp_path, name, wrong, culprit):
    """A control: a value, a name and a group that are none."""
    assert culprit in verified(analyze, here(tmp_path, **{name: wrong}))


@pytest.mark.slow
def test_the_unit_exposes_little(analyze, tmp_path):
    """By systemd's own reckoning; the control without some of its hardening exposes more."""
    unit = exposure(analyze, here(tmp_path))
    control = exposure(analyze, here(tmp_path, DynamicUser="", SystemCallFilter=""))

    assert unit <= EXPOSURE < control


def exposure(analyze: str, unit: Path) -> float:
    """What systemd reckons, from 0 to 10."""
    text = output([analyze, "security", "--offline=true", "--no-pager", str(unit)])
    (score,) = re.findall(r"exposure level for \S+: ([\d.]+)", text)
    return float(score)


@pytest.fixture(name="confined", scope="module")
def _confined(analyze, tmp_path_factory):
    """How to run a program under the unit's filters, without writable code."""
    allowed, taken = directives()["SystemCallFilter"]
    assert directives()["MemoryDenyWriteExecute"] == ["yes"]
    assert taken.startswith("~")
    calls = system_calls(analyze, allowed) - system_calls(analyze, taken.removeprefix("~"))
    names = tmp_path_factory.mktemp("filter") / "names"
    names.write_text("\n".join(sorted(calls)))
    (families,) = directives()["RestrictAddressFamilies"]
    return [sys.executable, str(CONFINED), str(names), families.replace(" ", ",")]


def system_calls(analyze: str, group: str) -> set[str]:
    """The system calls of a group, and of the groups in it."""
    lines = output([analyze, "syscall-filter", "--no-pager", group]).splitlines()
    words = [line.strip() for line in lines if line.startswith(" ") and "#" not in line]
    inner = [word for word in words if word.startswith("@")]
    return {w for w in words if w not in inner}.union(*(system_calls(analyze, w) for w in inner))


@pytest.mark.slow
def test_the_server_stands_what_the_unit_forbids(confined, tmp_path):
    """By its own command it loads, vets and serves a model, and ends in good order."""
    (start,) = directives()["ExecStart"]
    program, *arguments, folder = start.split()
    assert (Path(program).name, folder) == (PROGRAM.name, "/srv/models")
    address = Address(free_port(), free_port())
    told = variables() | {
        "ISOTHERM_GRPC_PORT": str(address.grpc_port),
        "ISOTHERM_METRICS_PORT": str(address.metrics_port),
        "ISOTHERM_DRAIN_DELAY": "0",
    }
    command = [*confined, str(PROGRAM), *arguments, str(MODELS)]
    with running(command, tmp_path / "log", variables=told) as process:
        wait_until_ready(address, within_s=60)
        with grpc.insecure_channel(address.target) as channel:
            caller = Caller(channel)
            answer = caller.send(caller.request(7)).result()
        process.send_signal(signal.SIGTERM)
        status = process.wait(30)
    log = (tmp_path / "log").read_text()

    assert answer.outputs[0].shape[0] == 7
    assert status == 0
    assert "golden rows agree" in log
    assert "ERROR" not in log
    # Without sockets of Unix it would serve, by the slower transport.
    assert "self-check" not in log


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [
        "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)",
        "import os, tempfile; os.chown(tempfile.gettempdir(), -1, -1)",
        "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
    ],
    ids=["code", "privileged", "family"],
)
def test_what_the_unit_forbids_fails(confined, script):
    """A control: writable code, a privileged call, another kind of socket; all work outside."""
    python = [sys.executable, "-c", script]
    forbidden = subprocess.run([*confined, *python], capture_output=True, text=True, check=False)

    assert output(python) == ""
    assert "PermissionError" in forbidden.stderr
