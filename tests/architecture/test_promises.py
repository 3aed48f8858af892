"""What docs/compatibility.md promises is not broken by accident: the committed lists still hold."""

from __future__ import annotations

import pytest

from isotherm.v1 import contract as contracts
from isotherm.v1.contract_pb2 import Contract
from tests.architecture.promises import LISTS, PROMISED, listed

CONTRACT = PROMISED / "contract-1.json"


@pytest.mark.parametrize("name", LISTS)
def test_every_promise_is_kept(name: str) -> None:
    """A line that no longer holds is a break: see docs/compatibility.md for how one is made."""
    broken = sorted(set(listed(name)) - set(LISTS[name]()))

    assert [] == broken


@pytest.mark.parametrize("name", LISTS)
def test_what_is_new_is_promised(name: str) -> None:
    """Run `python -m tests.architecture.promises --write`, and commit what it adds."""
    new = sorted(set(LISTS[name]()) - set(listed(name)))

    assert [] == new


def test_a_line_changes_when_its_field_does() -> None:
    """The list says number, name, label, type and group."""
    lines = listed("wire")

    assert "field inference.ModelInferRequest.raw_input_contents = 7 repeated bytes" in lines
    assert "field inference.InferParameter.int64_param = 2 int64 in parameter_choice" in lines
    assert (
        "rpc inference.GRPCInferenceService.ModelStreamInfer(stream inference.ModelInferRequest) "
        "returns (stream inference.ModelStreamInferResponse)" in lines
    )
    assert "field isotherm.v1.Contract.schema_version = 1 uint32" in lines
    assert "enum isotherm.v1.NonFinitePolicy.NON_FINITE_REFUSE = 1" in lines


def test_the_first_schema_s_contract_is_read_for_good() -> None:
    """The file is of version 0.1.0, has every field set, and is never written again."""
    contract = contracts.loads(CONTRACT.read_text())

    assert contract.schema_version == 1
    assert [feature.unit for feature in contract.features] == ["degF", ""]
    assert [target.name for target in contract.targets] == ["y"]
    assert list(contract.golden.outputs) == [5.0, 6.0]
    assert contracts.dumps(contract) == CONTRACT.read_text().strip()
    unset = {field.name for field in Contract.DESCRIPTOR.fields} - {
        field.name for field, _ in contract.ListFields()
    }
    assert unset == set()
