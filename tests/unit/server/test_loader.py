"""From a file to a version that may serve, and every reason why it may not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from isotherm.server.config import BatchingConfig, ServerConfig
from isotherm.server.errors import LoadError
from isotherm.server.loader import Loader, Model
from isotherm.v1 import contract as contracts
from isotherm.v1.contract_pb2 import NON_FINITE_ACCEPT, Contract, Interval
from tests.support import models
from tests.support.hostile import TRUSTED


@pytest.fixture(name="load")
def _load(tmp_path: Path) -> Callable[[onnx.ModelProto], Model]:
    """Publish a model and load it."""
    loader = Loader(
        ServerConfig(
            repository=tmp_path,
            provider="cpu",
            batching=BatchingConfig(max_batch_size=32),
            vetting=TRUSTED,
        )
    )

    def load(model: onnx.ModelProto) -> Model:
        return loader.load("m", 3, models.publish(tmp_path, "m", model, 3))

    return load


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    """Where a version's file lies."""
    path = tmp_path / "m" / "1" / "model.onnx"
    path.parent.mkdir(parents=True)
    return path


def load_file(path: Path) -> Model:
    """Load a file as it is."""
    return Loader(ServerConfig(repository=path.parent, provider="cpu", vetting=TRUSTED)).load(
        "m", 1, path
    )


def contracted(contract: Contract, model: onnx.ModelProto | None = None) -> onnx.ModelProto:
    """Return a model with a contract, by default the one that doubles."""
    return models.with_contract(model or models.doubling(), contract)


def test_a_model_with_a_contract_is_loaded_and_proved(load):
    """All that the services will ask for."""
    file = contracted(models.doubling_contract())
    model = load(file)

    assert (model.name, model.version, model.provider) == ("m", 3, "cpu")
    assert model.contract == models.doubling_contract()
    assert contracts.loads(model.contract_json) == model.contract
    assert model.sha256 == hashlib.sha256(file.SerializeToString()).hexdigest()
    assert model.max_batch_size == 32
    assert model.load_ns > 0
    assert model.lanes == ()
    assert not model.placement.on_device(32)


def test_a_plain_model_is_loaded_without_a_contract(load):
    """And accepts what it gets."""
    model = load(models.doubling())

    assert model.contract is None
    assert model.contract_json == ""


def test_a_model_that_cannot_be_batched_says_so(load):
    """Its largest batch is none, in the protocol's words."""
    assert load(models.fixed_batch()).max_batch_size == 0


def test_golden_rows_that_disagree_are_named(load):
    """Row, feature, target, expected and served value, and what to do."""
    contract = models.doubling_contract()
    contract.golden.outputs[:] = [2.0, 5.0]
    with pytest.raises(LoadError) as error:
        load(contracted(contract))

    assert str(error.value).endswith(
        "1 of 2 golden rows disagree: for reading=2 the model should answer twice=5 and answers 4; "
        "export the model again, or do not serve it here"
    )


def test_a_nan_in_the_answer_disagrees(load):
    """It compares with nothing, so it must not count as near enough."""
    contract = models.doubling_contract(non_finite=NON_FINITE_ACCEPT)
    contract.golden.inputs[:] = [1.0, float("nan")]
    with pytest.raises(LoadError, match=r"golden|finite"):
        load(contracted(contract))


@pytest.mark.parametrize(
    ("absolute", "relative", "agrees"),
    [(0.11, 0.0, True), (0.09, 0.0, False), (0.0, 0.03, True), (0.0, 0.02, False)],
)
def test_golden_rows_agree_within_the_tolerance(
    load, absolute: float, relative: float, agrees: bool
):
    """Absolute plus relative to what torch said: 4.1 instead of 4."""
    contract = models.doubling_contract()
    contract.golden.outputs[:] = [2.0, 4.1]
    contract.golden.absolute_tolerance = absolute
    contract.golden.relative_tolerance = relative
    try:
        load(contracted(contract))
        found = True
    except LoadError:
        found = False

    assert found is agrees


def test_golden_rows_have_missing_cells_and_unknown_values(load):
    """What the graph makes of them is proved like the rest."""
    contract = load(models.rides()).contract
    assert contract is not None
    contract.golden.outputs[1] += 1

    with pytest.raises(LoadError, match="for city=nan, km=nan, hour=3 the model should answer"):
        load(contracted(contract, models.rides()))


def test_a_contract_without_golden_rows_is_not_proved(load):
    """There is nothing to run."""
    contract = models.doubling_contract()
    contract.ClearField("golden")

    assert load(contracted(contract)).contract == contract


@pytest.mark.parametrize(
    ("change", "model", "message"),
    [
        (
            {"input": "z"},
            models.doubling(),
            "the contract's input 'z' is not in the graph, which has x",
        ),
        (
            {"prediction": "z"},
            models.doubling(),
            "the contract's output 'z' is not in the graph, which has y",
        ),
        (
            {"lower": "low", "upper": "y"},
            models.doubling(),
            "the contract's output 'low' is not in the graph, which has y",
        ),
        (
            {},
            models.mlp((2, 1)),
            "the contract has 1 features, so input 'x' must be FP32 of shape [-1, 1]; "
            "the graph has FP32 [-1, 2]",
        ),
        (
            {},
            models.mlp((1, 2)),
            "the contract has 1 target columns, so output 'y' must be FP32 of shape [-1, 1]; "
            "the graph has FP32 [-1, 2]",
        ),
        (
            {"input": "INPUT0", "prediction": "OUTPUT0"},
            models.identity(TensorProto.DOUBLE, (1,)),
            "the contract has 1 features, so input 'INPUT0' must be FP32 of shape [-1, 1]; "
            "the graph has FP64 [-1, 1]",
        ),
        (
            {"input": "INPUT0", "prediction": "OUTPUT0"},
            models.identity(TensorProto.FLOAT, ("length",)),
            "the contract has 1 features, so input 'INPUT0' must be FP32 of shape [-1, 1]; "
            "the graph has FP32 [-1, -1]",
        ),
    ],
    ids=["input", "output", "lower", "features", "targets", "datatype", "free"],
)
def test_a_contract_of_another_graph_is_refused(
    load, change: dict[str, str], model: onnx.ModelProto, message: str
):
    """The text says what the contract promises and what the graph has."""
    contract = models.doubling_contract()
    for field, name in change.items():
        setattr(contract.tensors, field, name)
    if "lower" in change:
        contract.interval.CopyFrom(Interval(coverage=0.9, half_width=[1.0]))
    with pytest.raises(LoadError) as error:
        load(contracted(contract, model))

    assert str(error.value).endswith(f"model.onnx: {message}")


def test_a_contract_that_leaves_an_input_out_is_refused(load):
    """Nobody could fill it."""
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 1]) for n in "xzy"]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "z"], ["y"])], "graph", values[:2], values[2:]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    with pytest.raises(LoadError, match="the contract knows the input 'x', the graph has x, z"):
        load(contracted(models.doubling_contract(), model))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the contract is not valid JSON"),
        ("{}", "the contract is invalid: schema_version is 0"),
        ('{"schema_version": 9}', "the contract is invalid: schema_version is 9"),
    ],
)
def test_a_contract_that_cannot_be_read_is_refused(load, text: str, message: str):
    """With the file's name before the reason."""
    model = models.doubling()
    helper.set_model_props(model, {contracts.METADATA_KEY: text})
    with pytest.raises(LoadError, match=rf"model\.onnx: {message}"):
        load(model)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_a_file_that_is_cut_off_is_refused(path: Path, share: float):
    """A copy that was interrupted must not serve."""
    data = models.mlp((4, 64, 4)).SerializeToString()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(LoadError) as error:
        load_file(path)

    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_model_is_refused(path: Path):
    """The file's name and one sentence."""
    path.write_text("<html>not found</html>")
    with pytest.raises(LoadError) as error:
        load_file(path)

    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_refused(path: Path):
    """It may vanish between the scan and the load."""
    with pytest.raises(LoadError) as error:
        load_file(path)

    assert str(error.value) == f"{path} cannot be read: No such file or directory"


def test_a_file_that_cannot_be_read_is_refused(path: Path):
    """A folder of that name, for one."""
    path.mkdir()
    with pytest.raises(LoadError) as error:
        load_file(path)

    assert str(error.value) == f"{path} cannot be read: Is a directory"


def test_a_file_beyond_the_runtimes_limit_is_refused_unread(path: Path):
    """A sparse file of 3 GiB costs nothing, reading it would."""
    with path.open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(LoadError, match=f"has {3 << 30} bytes, at most {2 << 30} are allowed"):
        load_file(path)


def test_a_model_that_fails_on_zeros_is_served_untimed(path: Path, caplog):
    """Zeros need not be an input that it can take: it runs on a thread of its own, and is named."""
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", "n"]) for n in "xy"]
    shape = helper.make_node("Constant", [], ["shape"], value_ints=[-1, 7])
    nodes = [shape, helper.make_node("Reshape", ["x", "shape"], ["y"])]
    graph = helper.make_graph(nodes, "graph", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    path.write_bytes(model.SerializeToString())
    loaded = load_file(path)

    assert not loaded.placement.inline(1)
    assert f"{path} could not be warmed up or timed, since it fails on rows of zeros" in caplog.text
