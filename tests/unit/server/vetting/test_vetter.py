"""A file is vetted in a process of its own: what is refused, in which words, and what passes."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from isotherm.server.config import ServerConfig, VettingConfig
from isotherm.server.errors import LoadError
from isotherm.server.loader import Loader
from isotherm.server.vetting.vetter import Vetter
from tests.support import hostile, models
from tests.support.processes import children
from tests.support.server import eventually

EXAMPLES = Path(__file__).parents[4] / "examples" / "models"
SECONDS = 2
MEMORY_MIB = 1024
MIB = 1 << 20
TOO_LARGE = f"it takes more than {MEMORY_MIB} MiB to load and to run on zeros"


@contextmanager
def vetting(**settings: Any) -> Iterator[Vetter]:
    """Vet within bounds that tests can wait for."""
    vetter = Vetter(VettingConfig(seconds=SECONDS, memory_mib=MEMORY_MIB, **settings))
    try:
        yield vetter
    finally:
        vetter.close()


@pytest.fixture(name="standard", scope="module")
def _standard() -> Iterator[Vetter]:
    """One process for the files of all tests: none of them may harm the next."""
    with vetting() as vetter:
        # As at a server's start: beside calls it has the time that others leave, and the clock's
        # bound may be met before that of the processor.
        vetter.start()
        yield vetter


@pytest.fixture(name="strict", scope="module")
def _strict() -> Iterator[Vetter]:
    with vetting(level="strict") as vetter:
        yield vetter


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    """Where a version's file lies, with a file outside its folder."""
    (tmp_path / "m" / "secret.bin").parent.mkdir()
    (tmp_path / "m" / "secret.bin").write_bytes(bytes(64))
    return models.publish(tmp_path, "m", models.doubling())


def check(vetter: Vetter, path: Path, content: onnx.ModelProto | bytes | None = None) -> None:
    """Vet a file as the loader does."""
    if content is not None:
        data = content if isinstance(content, bytes) else content.SerializeToString()
        path.write_bytes(data)
    vetter.check(path, hashlib.sha256(path.read_bytes()).hexdigest(), 64)


def reason(vetter: Vetter, path: Path, content: onnx.ModelProto | bytes | None = None) -> str:
    """Return why a file is refused: one line."""
    with pytest.raises(LoadError) as error:
        check(vetter, path, content)
    text = str(error.value)
    assert text
    assert "\n" not in text
    return text


GOOD: dict[str, Callable[[], onnx.ModelProto | bytes]] = {
    "mlp": models.mlp,
    "contract": lambda: models.with_contract(models.doubling(), models.doubling_contract()),
    "labelled": models.labelled,
    "simple": models.simple,
    "text": models.identity,
    "half": lambda: models.identity(TensorProto.FLOAT16, (2,)),
    "variable": lambda: models.identity(TensorProto.FLOAT, ("length",)),
    "lookup": models.lookup,
    "fixed": models.fixed_batch,
    "functions": lambda: hostile.doubling_functions(6),
    "branches": lambda: hostile.nested_ifs(3),
    "output without a shape": lambda: hostile.with_weights(2.0),
    "convolution": hostile.convolution,
    "scikit-learn": hostile.scaler,
    "one megabyte of zeros": lambda: hostile.constant_bomb(1 << 18),
}


@pytest.mark.parametrize("kind", GOOD)
def test_ordinary_models_pass_the_standard_level(standard: Vetter, path: Path, kind: str):
    """Of every kind that this suite serves, and of those that exporters write."""
    check(standard, path, GOOD[kind]())


@pytest.mark.parametrize("level", ["standard", "strict"])
def test_what_the_trainer_exports_passes_both_levels(request: Any, level: str):
    """The example in the repository was exported by it."""
    vetter: Vetter = request.getfixturevalue(level)
    files = sorted(EXAMPLES.glob("*/*/model.onnx"))
    for file in files:
        check(vetter, file)

    assert files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: models.doubling().SerializeToString()[:-30], "it is cut off"),
        (lambda: b"<html>not found</html>", "it is cut off, nested too deeply, or no ONNX file"),
        (lambda: b"", "it holds no graph: it is empty, cut off, or no ONNX file"),
        (
            lambda: hostile.foreign_operator("evil", "Thing"),
            "operator evil.Thing is not allowed: only operators of ai.onnx, ai.onnx.ml are",
        ),
        (
            lambda: hostile.foreign_operator("com.microsoft", "Gelu"),
            "operator com.microsoft.Gelu is not allowed: only operators of ai.onnx, ai.onnx.ml are "
            "(--vetting-domain adds one)",
        ),
        (
            lambda: hostile.foreign_operator("", "ImageDecoder"),
            "operator ai.onnx.ImageDecoder is not allowed: it hands a caller's bytes to image",
        ),
        (
            lambda: hostile.constant_bomb(1 << 31),
            "operator ConstantOfShape makes the constant 'zeros' of 8589934592 bytes: the "
            "constants of a file of 130 bytes may take 67110944",
        ),
        (
            lambda: hostile.constant_bomb(1 << 26),
            "operator ConstantOfShape makes the constant 'zeros' of 268435456 bytes",
        ),
        (lambda: hostile.hidden_constant_bomb(1 << 31), TOO_LARGE),
        (hostile.broadcast_bomb, "it takes more than 1026 MiB"),
        (lambda: hostile.bomb_where(0.0), TOO_LARGE),
        (hostile.golden_bomb, TOO_LARGE),
        (
            hostile.endless_loop,
            f"it takes more than {SECONDS} s of processor time to load and to run on zeros",
        ),
        (lambda: hostile.nested_ifs(9), "it has bodies of If, Loop or Scan 9 deep: at most 8"),
        (lambda: hostile.nested_ifs(200), "it is cut off, nested too deeply, or no ONNX file"),
        (lambda: hostile.doubling_functions(40), "it has 1099511627776 nodes once its functions"),
        (hostile.endless_functions, "its local function 'f' calls itself"),
        (
            lambda: hostile.giant_metadata(5 << 20),
            "its metadata has 5242884 bytes, at most 4194304 are allowed",
        ),
        (lambda: hostile.of_opset(99), "it has opset 99, expected 7 to "),
        (lambda: hostile.of_ir(99), "it has IR version 99, expected 3 to "),
    ],
)
def test_a_hostile_file_is_refused_in_one_sentence(
    standard: Vetter, path: Path, content: Callable[[], Any], message: str
):
    """It names the culprit, and the bound or the rule that it broke."""
    assert message in reason(standard, path, content())


@pytest.mark.parametrize(
    "location",
    ["../secret.bin", "/etc/passwd", "a/../../secret.bin", "link.bin", "linked/secret.bin", ""],
)
def test_weights_outside_the_version_folder_are_refused(
    standard: Vetter, path: Path, location: str
):
    """By a path or by a link."""
    (path.parent / "link.bin").symlink_to(path.parents[1] / "secret.bin")
    (path.parent / "linked").symlink_to(path.parents[1])

    assert reason(standard, path, hostile.with_external_data(location)) == (
        f"tensor 'factor' lies in '{location}': external data must be a file in the version "
        "folder, named without '..', and no link that leads out of it"
    )


@pytest.mark.parametrize(
    ("location", "length", "offset", "message"),
    [
        ("nothing", 4, 0, "lies in 'nothing', which is no file in the version folder"),
        ("*/_ORT_MEM_ADDR_/*", 4, 0, "which is no file in the version folder"),
        ("w", 4, 64, "asks for 4 bytes at 64 of 'w', which has 8"),
        ("w", 1 << 40, 0, "asks for 1099511627776 bytes at 0 of 'w', which has 8"),
        ("w", -4, 8, "asks for -4 bytes at 8 of 'w', which has 8"),
        ("huge", 4, 0, f"its external data has {2 << 30} bytes, at most {MEMORY_MIB * MIB}"),
    ],
)
def test_weights_that_are_not_in_their_file_are_refused(
    standard: Vetter, path: Path, location: str, length: int, offset: int, message: str
):
    """Before the runtime is asked to read them; a sparse file is as large as it says."""
    (path.parent / "w").write_bytes(bytes(8))
    with (path.parent / "huge").open("wb") as file:
        file.truncate(2 << 30)

    assert message in reason(standard, path, hostile.with_external_data(location, length, offset))


def test_weights_beside_the_model_are_those_that_were_vetted(standard: Vetter, tmp_path: Path):
    """Their digest comes back, so that a worker loads these bytes and no others."""
    path = hostile.publish_with_data(tmp_path, "m", 3.0)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    weights = hashlib.sha256((path.parent / "weights.bin").read_bytes()).hexdigest()

    assert standard.check(path, digest, 64) == {"weights.bin": weights}


def test_a_loader_serves_vetted_weights_from_memory(tmp_path: Path):
    """From the file that was hashed, not from whatever lies there by then."""
    path = hostile.publish_with_data(tmp_path, "m", 3.0)
    loader = Loader(ServerConfig(repository=tmp_path, provider="cpu"))
    try:
        model = loader.load("m", 1, path)
    finally:
        loader.rest()
    (y,) = model.session.run([np.array([[2.0]], np.float32)])

    np.testing.assert_array_equal(y, [[6.0]])


def test_a_loader_names_the_file_that_was_refused(tmp_path: Path):
    """The operator reads one sentence."""
    path = models.publish(tmp_path, "m", hostile.foreign_operator("evil", "Thing"))
    loader = Loader(ServerConfig(repository=tmp_path, provider="cpu"))
    with pytest.raises(LoadError) as error:
        loader.load("m", 1, path)
    loader.rest()

    assert str(error.value).startswith(f"{path}: operator evil.Thing is not allowed")


def test_a_file_that_changes_while_it_is_vetted_is_refused(standard: Vetter, path: Path):
    """What was vetted is not what the worker has read."""
    with pytest.raises(LoadError, match="it changed while it was vetted"):
        standard.check(path, "another digest", 64)


def test_a_file_that_vanishes_is_refused(standard: Vetter, path: Path):
    """As it may, between the worker's reading and the vetting."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.unlink()
    with pytest.raises(LoadError, match="it cannot be read: No such file or directory"):
        standard.check(path, digest, 64)


def test_a_domain_may_be_allowed(path: Path):
    """But not an operator of it that leads out of the file."""
    with vetting(domains=("com.microsoft",)) as vetter:
        check(vetter, path, hostile.foreign_operator("com.microsoft", "Gelu"))
        refused = reason(vetter, path, hostile.foreign_operator("com.microsoft", "EPContext"))

    assert "com.microsoft.EPContext is not allowed: it loads compiled code" in refused


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: hostile.with_weights(float("nan")), "tensor 'w' holds NaN or infinity"),
        (lambda: hostile.with_weights(float("inf")), "tensor 'w' holds NaN or infinity"),
        (lambda: hostile.foreign_operator("", "Loop"), "--vetting strict takes layers of networks"),
        (lambda: hostile.nested_ifs(1), "operator ai.onnx.If is not allowed"),
        (
            lambda: hostile.doubling_functions(1),
            "it has local functions (f0, f1): none are allowed",
        ),
        (lambda: hostile.with_external_data("w"), "tensor 'factor' lies in another file"),
        (lambda: hostile.constant_bomb(4), "operator ai.onnx.ConstantOfShape is not allowed"),
        (models.simple, "it has 2 inputs: --vetting strict takes one table of FP32"),
        (models.fixed_batch, "tensor 'x' is not FP32 of shape [rows, columns], rows free"),
        (models.identity, "tensor 'INPUT0' is not FP32 of shape [rows, columns]"),
        (lambda: hostile.foreign_operator("ai.onnx.ml", "Scaler"), "only operators of ai.onnx are"),
        (hostile.wrong_shape, "it is no valid ONNX"),
    ],
)
def test_the_strict_level_takes_networks_of_layers_alone(
    strict: Vetter, path: Path, content: Callable[[], Any], message: str
):
    """Nothing whose cost depends on what a caller sends."""
    assert message in reason(strict, path, content())


def test_nothing_is_vetted_when_it_is_off(path: Path):
    """No process starts, and the file is not read."""
    vetter = Vetter(VettingConfig(level="off"))
    path.write_bytes(b"nonsense")

    assert vetter.check(path, "", 64) == {}


def test_a_vetting_process_that_dies_is_no_verdict(path: Path):
    """The file in hand is refused; the next one gets a new process."""
    with vetting() as vetter:
        check(vetter, path)
        process = vetter._process
        assert process is not None
        process.send_signal(signal.SIGKILL)
        process.wait()
        refused = reason(vetter, path)
        check(vetter, path)

    assert "the process that vets it failed" in refused


def test_a_child_that_is_killed_is_no_verdict(path: Path):
    """As the kernel does where memory is short: this file is refused, the process lives on."""
    path.write_bytes(hostile.endless_loop().SerializeToString())
    refused: list[str] = []
    with vetting() as vetter:
        check(vetter, models.publish(path.parents[2], "good", models.doubling()))
        process = vetter._process
        assert process is not None
        caller = threading.Thread(target=lambda: refused.append(reason(vetter, path)))
        caller.start()
        assert eventually(lambda: bool(children(process.pid)))
        (child,) = children(process.pid)
        os.kill(child, signal.SIGKILL)
        caller.join()
        same = vetter._process is process

    assert refused == ["loading it and running it on zeros ended the process that tried (SIGKILL)"]
    assert same


def test_the_process_ends_when_it_is_closed(path: Path):
    """And closing twice is once."""
    vetter = Vetter(VettingConfig())
    check(vetter, path)
    process = vetter._process
    vetter.close()
    vetter.close()

    assert process is not None
    assert process.returncode is not None


def test_a_model_that_fails_on_zeros_passes(standard: Vetter, path: Path):
    """They need not be an input that it can take."""
    shape = helper.make_node("Constant", [], ["shape"], value_ints=[-1, 7])
    check(
        standard, path, hostile.model([shape, helper.make_node("Reshape", ["x", "shape"], ["y"])])
    )
