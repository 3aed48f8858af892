"""`isotherm doctor` on made-up machines that lack one thing each."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.doctor import doctor, found, hide_torch
from tests.support.nvidia import GIB, H100, NO_DEVICE, Machine, uuid

# Their libraries are compiled.
pytestmark = pytest.mark.slow

WHOLE = Machine(devices=2)
REINSTALL = " && pip install 'isotherm[server-gpu]'"
GIVE_IT = (
    "in a container pass the GPU in (docker run --gpus all, or a limit of nvidia.com/gpu), "
    "elsewhere install NVIDIA's driver, 580 or newer"
)
REINSTALL_IF = (
    "where other programs can use the device: pip install --force-reinstall"
    " 'isotherm[server-gpu]'; else restart the machine"
)
LOOK = "look what nvidia-smi and the kernel's log (dmesg | grep -i nvrm) say"


def test_a_whole_machine_runs_a_model_on_every_device(tmp_path: Path) -> None:
    """All of it is told, and CUDA is what a server would take."""
    machine = WHOLE.instead(cudnn=True)
    facts, status = found(machine.environment(tmp_path), "--provider", "cuda")

    assert status == 0
    assert facts["works"] is True
    assert facts["provider"] == "cuda"
    assert facts["problems"] == []
    assert facts["driver"] == {"release": "580.65.06", "cuda": "13.0"}
    assert [(each["number"], each["uuid"]) for each in facts["devices"]] == [
        (0, uuid(0)),
        (1, uuid(1)),
    ]
    assert facts["devices"][1] == {
        "number": 1,
        "name": H100,
        "uuid": uuid(1),
        "capability": "9.0",
        "memory_bytes": 80 * GIB,
        "free_bytes": 79 * GIB,
    }
    assert facts["onnxruntime"] == {
        "packages": [{"name": "onnxruntime-gpu", "version": "1.31.1"}],
        "cuda": "13.0",
    }
    assert [(each["provider"], each["device"], each["works"]) for each in facts["providers"]] == [
        ("cpu", None, True),
        ("cuda", 0, True),
        ("cuda", 1, True),
    ]
    assert all(each["load_s"] > 0 and each["run_s"] > 0 for each in facts["providers"])
    assert {each["name"]: each["version"] for each in facts["libraries"]} == {
        "cublasLt": "13.14.15",
        "cublas": "13.14.15",
        "curand": "13.14.15",
        "cudart": "13.0",
        "cudnn": "13.14.15",
    }
    folder = tmp_path / "site" / "nvidia"
    for each in facts["libraries"]:
        place = "cu13" if each["needed"] else "cudnn"
        assert each["path"] == str(folder / place / "lib" / each["soname"])
    assert facts["torch"] == {"version": "2.13.0", "cuda": "13.0", "devices": 2, "error": None}
    assert facts["environment"] == {"LD_LIBRARY_PATH": str(tmp_path / "lib")}


@pytest.mark.parametrize(
    ("machine", "about", "text", "remedy"),
    [
        pytest.param(
            WHOLE.instead(built_with=None, packages=("onnxruntime-1.32.0",)),
            "onnxruntime",
            "this onnxruntime is built without CUDA",
            f"pip uninstall -y onnxruntime{REINSTALL}",
            id="the package without CUDA",
        ),
        pytest.param(
            WHOLE.instead(
                built_with=None, packages=("onnxruntime-1.32.0", "onnxruntime_gpu-1.31.1")
            ),
            "onnxruntime",
            "this onnxruntime is built without CUDA, since onnxruntime 1.32.0 and onnxruntime-gpu"
            " 1.31.1 own the same files",
            f"pip uninstall -y onnxruntime onnxruntime-gpu{REINSTALL}",
            id="both packages, the other one's files",
        ),
        pytest.param(
            WHOLE.instead(status=803),
            "driver",
            "the NVIDIA driver cannot start: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH (803)",
            "the driver was updated underneath its library: restart the machine, or the container",
            id="driver and library differ",
        ),
        pytest.param(
            WHOLE.instead(status=999),
            "driver",
            "the NVIDIA driver cannot start: status 999",
            LOOK,
            id="driver with an error of no name",
        ),
        pytest.param(
            WHOLE.instead(cuda=12040),
            "driver",
            "the NVIDIA driver runs CUDA 12.4 at the most, and this onnxruntime is built with 13.0",
            "update NVIDIA's driver to 580 or newer",
            id="driver too old",
        ),
        pytest.param(
            WHOLE.instead(status=NO_DEVICE),
            "device",
            "the NVIDIA driver shows no device to this process",
            GIVE_IT,
            id="no device",
        ),
        pytest.param(
            WHOLE.instead(devices=0),
            "device",
            "the NVIDIA driver shows no device to this process",
            GIVE_IT,
            id="not one device",
        ),
        pytest.param(
            WHOLE.instead(device_status=999),
            "device",
            "a device does not answer: status 999",
            LOOK,
            id="a device that does not answer",
        ),
        *(
            pytest.param(
                WHOLE.instead(broken=(soname,)),
                "libraries",
                f"CUDA libraries cannot be loaded ({{lib}}/{soname}: file too short)",
                "pip install 'isotherm[server-gpu]', which has them",
                id=soname,
            )
            for soname in (
                "libcublasLt.so.13",
                "libcublas.so.13",
                "libcurand.so.10",
                "libcudart.so.13",
            )
        ),
    ],
)
def test_what_is_missing_is_named_with_its_remedy(
    tmp_path: Path, machine: Machine, about: str, text: str, remedy: str
) -> None:
    """Asked for CUDA it fails; the processor works in all of these."""
    facts, status = found(machine.environment(tmp_path), "--provider", "cuda")

    assert status == 1
    assert facts["works"] is False
    assert facts["provider"] == "cpu"
    assert facts["problems"] == [
        {
            "about": about,
            "text": text.format(lib=tmp_path / "lib"),
            "remedy": remedy,
            "blocks": True,
        }
    ]
    assert [each["provider"] for each in facts["providers"]] == ["cpu"]


def test_without_a_driver_nothing_but_the_processor_is_there(tmp_path: Path) -> None:
    """As in a container that was started without the GPU; `auto` is content with that."""
    machine = WHOLE.instead(devices=None)
    environment = machine.environment(tmp_path)
    facts, status = found(environment)
    (problem,) = (each for each in facts["problems"] if each["about"] == "driver")

    assert status == 0
    assert facts["provider"] == "cpu"
    assert facts["driver"] is None
    assert facts["devices"] == []
    assert problem["text"].startswith("no NVIDIA driver (libcuda.so.1: cannot open")
    assert problem["remedy"] == GIVE_IT


def test_a_variable_that_hides_the_devices_is_named(tmp_path: Path) -> None:
    """The remedy is not a driver."""
    environment = WHOLE.environment(tmp_path) | {"CUDA_VISIBLE_DEVICES": ""}
    facts, status = found(environment, "--provider", "cuda")
    (problem,) = facts["problems"]

    assert status == 1
    assert problem["about"] == "device"
    assert problem["text"] == "CUDA_VISIBLE_DEVICES is '', which leaves no device"
    assert problem["remedy"] == "unset it, or name devices that nvidia-smi -L lists"
    assert facts["environment"]["CUDA_VISIBLE_DEVICES"] == ""


def test_two_packages_that_work_for_all_that_are_a_warning(tmp_path: Path) -> None:
    """The next update of one of them breaks the other."""
    machine = WHOLE.instead(packages=("onnxruntime-1.32.0", "onnxruntime_gpu-1.31.1"))
    facts, status = found(machine.environment(tmp_path), "--provider", "cuda")

    assert status == 0
    assert facts["problems"] == [
        {
            "about": "onnxruntime",
            "text": "onnxruntime 1.32.0 and onnxruntime-gpu 1.31.1 are both installed, and own the"
            " same files",
            "remedy": f"pip uninstall -y onnxruntime onnxruntime-gpu{REINSTALL}",
            "blocks": False,
        }
    ]


def test_a_device_that_is_nearly_full_is_a_warning(tmp_path: Path) -> None:
    """A model of two numbers fits where one of a gigabyte does not."""
    machine = Machine(free_bytes=GIB - 1)
    facts, status = found(machine.environment(tmp_path), "--provider", "cuda")
    (problem,) = facts["problems"]

    assert status == 0
    assert problem["about"] == "memory"
    assert problem["text"] == "device 0 has 1023 MiB of 81920 left"
    assert problem["blocks"] is False


@pytest.mark.parametrize(
    ("session", "error", "remedy"),
    [
        (
            "raise RuntimeError('no kernel image is available for execution on the device')",
            "no kernel image is available for execution on the device",
            "this onnxruntime has no code for the device: use a newer one, or another device",
        ),
        (
            "raise RuntimeError('<a.cc, F()> CUDA failure 2: out of memory ; GPU=0 ; hostname=h')",
            "CUDA failure 2: out of memory",
            "free memory of the device: nvidia-smi lists who holds it",
        ),
        (
            "self.provider = 'CPUExecutionProvider'",
            "the session took CPUExecutionProvider, CPUExecutionProvider without a word",
            REINSTALL_IF,
        ),
        (
            "self.run = lambda *_: [np.zeros((1, 2))]",
            "answered [[0.0, 0.0]], expected [[-531.0, -642.0]]",
            REINSTALL_IF,
        ),
        (
            # Right the first time only.
            "left = [np.zeros((1, 2)), np.array([[-531.0, -642.0]])];"
            " self.run = lambda *_: [left.pop()]",
            "answered [[0.0, 0.0]], expected [[-531.0, -642.0]]",
            REINSTALL_IF,
        ),
    ],
)
def test_a_model_that_does_not_run_on_the_device_is_the_proof(
    tmp_path: Path, session: str, error: str, remedy: str
) -> None:
    """All libraries are there, and it does not work: `auto` does not pass over a GPU that is."""
    facts, status = found(Machine(session=session).environment(tmp_path))
    (problem,) = facts["problems"]

    assert status == 1
    assert facts["asked"] == "auto"
    assert facts["provider"] == "cpu"
    assert problem["about"] == "provider"
    assert problem["text"] == f"a model does not run on device 0: {error}"
    assert problem["remedy"] == remedy


def test_one_device_of_two_is_not_enough(tmp_path: Path) -> None:
    """A server takes all that are visible."""
    machine = WHOLE.instead(session="assert self.options['device_id'] != '1', 'broken'")
    facts, status = found(machine.environment(tmp_path), "--provider", "cuda")

    assert status == 1
    assert [each["works"] for each in facts["providers"]] == [True, True, False]
    assert facts["problems"][0]["text"] == "a model does not run on device 1: broken"


@pytest.mark.parametrize(
    ("session", "how"),
    [
        ("os.kill(os.getpid(), 11)", "was ended by signal 11"),
        ("os._exit(3)", "ended with status 3 (a line that is no answer)"),
        ("import time; time.sleep(60)", "took more than 5 s"),
    ],
)
def test_a_trial_that_ends_badly_is_told_with_what_it_did(
    tmp_path: Path, session: str, how: str
) -> None:
    """What was found before is still there."""
    environment = Machine(session=session).environment(tmp_path)
    facts, status = found(environment, "--provider", "cuda", "--timeout", "5")
    (problem,) = facts["problems"]

    assert status == 1
    assert problem["text"] == (
        f"the trial {how} while running a model on the CUDAExecutionProvider of device 0"
    )
    assert problem["remedy"] == "run `python -m isotherm.server.doctor.trial` to see what it says"
    assert [each["name"] for each in facts["devices"]] == [H100]
    assert facts["providers"][0]["works"] is True


def test_people_read_it_in_80_columns(tmp_path: Path) -> None:
    """What is there, what is wrong with its remedy, and the verdict in the last line."""
    environment = WHOLE.instead(cuda=12040).environment(tmp_path)
    hide_torch(environment)
    result = doctor(environment, "--provider", "cuda")
    lines = [line.rstrip() for line in result.stdout.splitlines()]

    assert result.returncode == 1
    assert max(map(len, lines)) <= 80
    assert "NVIDIA driver   580.65.06, runs CUDA 12.4" in lines
    assert "missing" not in result.stdout
    assert f"device 1        {H100} (9.0), 80896 of 81920 MiB free," in lines
    assert "torch           2.13.0, built with CUDA 13.0, sees 2 device(s)" in lines
    assert "   remedy: update NVIDIA's driver to 580 or newer" in lines
    assert lines[-1] == "Models run on the CPU, and not on CUDA. Asked for: cuda."


def test_nobody_is_bothered_with_cuda_who_asked_for_the_processor(tmp_path: Path) -> None:
    """What else there is stands above."""
    environment = WHOLE.instead(cuda=12040).environment(tmp_path)
    hide_torch(environment)
    result = doctor(environment, "--provider", "cpu")

    assert result.returncode == 0
    assert "remedy" not in result.stdout
    assert result.stdout.endswith("Models run on the CPU, and not on CUDA.\n")


def test_without_a_runtime_no_model_runs(tmp_path: Path) -> None:
    """The base install has the command all the same."""
    environment = WHOLE.environment(tmp_path)
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import importlib.machinery as m\n"
        "old = m.PathFinder.find_spec\n"
        "def find_spec(name, path=None, target=None):\n"
        "    return None if name == 'onnxruntime' else old(name, path, target)\n"
        "m.PathFinder.find_spec = find_spec\n"
    )
    facts, status = found(environment, "--provider", "cpu")

    assert status == 1
    assert facts["provider"] is None
    assert facts["providers"] == []
    assert facts["problems"][0]["text"] == "ONNX Runtime is not installed"
