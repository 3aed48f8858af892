"""`isotherm inspect` on files and on a real gRPC server."""

from __future__ import annotations

import json

import pytest
from onnx import TensorProto, helper

from isotherm.v1 import contract as contracts
from isotherm.v1.contract_pb2 import (
    Candidate,
    Contract,
    Feature,
    Interval,
    Provenance,
    Target,
    Tensors,
)


def _contract(name="thermometer"):
    return Contract(
        schema_version=1,
        model_name=name,
        features=[Feature(name="reading", unit="degF", datatype="FP32", minimum=20, maximum=90)],
        targets=[Target(name="celsius", unit="degC", datatype="FP32")],
        tensors=Tensors(input="x", prediction="y", lower="lower", upper="upper"),
        interval=Interval(coverage=0.9, half_width=[1.5], method="split-conformal"),
        provenance=Provenance(
            data_sha256="ab" * 32,
            rows=11,
            seed=7,
            created_at="2026-01-02T03:04:05Z",
            git_commit="c0ffee",
            package_versions={"torch": "2.13.0"},
            leaderboard=[
                Candidate(name="mean", cross_validation_error=9.5),
                Candidate(name="line", parameters=2, cross_validation_error=1.7, chosen=True),
            ],
        ),
    )


def _write(path, text=None):
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
    )
    model = helper.make_model(graph)
    if text is not None:
        helper.set_model_props(model, {contracts.METADATA_KEY: text})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path


def test_a_file_is_described_in_full(isotherm, tmp_path):
    """Columns with units, interval, leaderboard, origin."""
    path = _write(tmp_path / "model.onnx", contracts.dumps(_contract()))

    result = isotherm("inspect", path)

    assert result.exit_code == 0, result.stderr
    for part in (
        "model thermometer",
        "reading",
        "degF",
        "celsius",
        "interval of celsius: +-1.5 degC covers 90% (split-conformal)",
        "leaderboard, errors of celsius [degC]",
        "1.7000",
        "trained on 11 rows (SHA-256 abababababab...), seed 7, at 2026-01-02T03:04:05Z",
        "git commit c0ffee",
        "packages torch 2.13.0",
    ):
        assert part in result.stdout


def test_json_is_the_contract_itself(isotherm, tmp_path):
    """Field names are those of the .proto file."""
    path = _write(tmp_path / "model.onnx", contracts.dumps(_contract()))

    result = isotherm("inspect", path, "--json")

    assert json.loads(result.stdout)["provenance"]["data_sha256"] == "ab" * 32
    assert contracts.loads(result.stdout) == _contract()


@pytest.mark.parametrize(("version", "expected"), [((), "new"), (("--version", "2"), "old")])
def test_of_a_models_folder_the_newest_version_is_shown(isotherm, tmp_path, version, expected):
    """Versions are numbers: 10 is newer than 2."""
    for number, name in (("2", "old"), ("10", "new")):
        _write(tmp_path / "m" / number / "model.onnx", contracts.dumps(_contract(name)))

    result = isotherm("inspect", tmp_path / "m", *version, "--json")

    assert json.loads(result.stdout)["model_name"] == expected


def test_a_version_folder_holds_one_model(isotherm, tmp_path):
    """The file inside is taken."""
    _write(tmp_path / "1" / "model.onnx", contracts.dumps(_contract()))

    assert isotherm("inspect", tmp_path / "1").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["."], "has no version with a model.onnx in it"),
        ([".", "--version", "3"], "has no version 3 with a model.onnx in it"),
        (["absent.onnx"], "absent.onnx: No such file or directory"),
        (["plain.onnx"], "carries no contract: its metadata has no 'isotherm.contract'"),
        (["broken.onnx"], "the contract is not valid JSON"),
        (["text.onnx"], "is not a complete ONNX file"),
    ],
)
def test_a_file_that_has_no_contract_to_show_is_told(
    isotherm, tmp_path, monkeypatch, arguments, message
):
    """One sentence and exit status 1."""
    monkeypatch.chdir(tmp_path)
    _write(tmp_path / "plain.onnx")
    _write(tmp_path / "broken.onnx", "{")
    (tmp_path / "text.onnx").write_text("no model")

    result = isotherm("inspect", *arguments)

    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr


def test_a_name_is_asked_for_at_the_server(isotherm, server):
    """The contract comes over the wire."""
    result = isotherm("inspect", "line", "--address", server.address)

    assert "interval of celsius: +-1.5 degC covers 90%" in result.stdout


def test_an_address_means_the_server_also_where_a_file_has_the_name(
    isotherm, server, tmp_path, monkeypatch
):
    """What was said explicitly wins."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "line").mkdir()

    result = isotherm("inspect", "line", "--address", server.address)

    assert result.exit_code == 0, result.stderr


def test_a_served_model_without_a_contract_shows_its_tensors(isotherm, server):
    """Which is all that the server knows; a note says so."""
    result = isotherm("inspect", "two", "--address", server.address)

    assert result.exit_code == 0
    assert result.stdout.startswith("model two, version 1 (linear)\n")
    for row in (("a", "FP32", "[-1, 2]"), ("b", "INT32", "[-1, 1]"), ("count", "INT32", "[-1, 1]")):
        assert any(all(cell in line for cell in row) for line in result.stdout.splitlines())
    assert result.stderr.startswith(f"note: model 'two' at {server.address} carries no contract")


def test_a_contract_that_is_not_there_is_no_json(isotherm, server):
    """A program waits for a contract, and for nothing else."""
    result = isotherm("inspect", "plane", "--json", "--address", server.address)

    assert (result.exit_code, result.stdout) == (1, "")
    assert f"model 'plane' at {server.address} carries no contract" in result.stderr
