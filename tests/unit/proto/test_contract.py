"""The artefact contract: there and back, and every self-contradiction."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from google.protobuf import json_format, text_format
from hypothesis import given
from hypothesis import strategies as st

from isotherm.v1 import contract as contracts
from isotherm.v1.contract import ContractError
from isotherm.v1.contract_pb2 import (
    NON_FINITE_ACCEPT,
    NON_FINITE_UNSPECIFIED,
    Candidate,
    Contract,
    Feature,
    Golden,
    Histogram,
    Interval,
    Provenance,
    Target,
    Tensors,
)


def _contract() -> Contract:
    """A valid contract with every field set."""
    deciles = Histogram(edges=[0, 1, 2], counts=[3, 4])
    return Contract(
        schema_version=1,
        model_name="m",
        features=[
            Feature(name="a", unit="degF", datatype="FP32", minimum=-1, maximum=2, deciles=deciles),
            Feature(name="b", datatype="INT64", missing_rate=0.25),
        ],
        targets=[Target(name="y", unit="degC", datatype="FP32", deciles=deciles)],
        tensors=Tensors(input="x", prediction="y", lower="lower", upper="upper"),
        non_finite=NON_FINITE_ACCEPT,
        golden=Golden(
            rows=2,
            inputs=[1, 2, 3, 4],
            outputs=[5, 6],
            absolute_tolerance=1e-5,
            relative_tolerance=1e-4,
        ),
        interval=Interval(coverage=0.9, half_width=[1.5], method="split-conformal"),
        provenance=Provenance(
            data_sha256="ab",
            rows=11,
            seed=2**63,
            created_at="2026-01-02T03:04:05Z",
            package_versions={"torch": "2.13.0", "numpy": "2"},
            leaderboard=[Candidate(name="mean", chosen=True, cross_validation_error=1.5)],
        ),
    )


def test_a_contract_comes_back_as_it_was():
    """JSON loses nothing: large seeds, enums and maps included."""
    assert _contract() == contracts.loads(contracts.dumps(_contract()))


@given(
    # protobuf's JSON reader refuses the eight digits that it writes for the largest float32.
    st.lists(st.floats(-(2.0**127), 2.0**127, width=32), min_size=2, max_size=2),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.integers(0, 2**64 - 1),
)
def test_numbers_and_names_come_back_exactly(outputs, minimum, name, seed):
    """Every float32, every double with its infinities, every text."""
    contract = _contract()
    contract.golden.outputs[:] = outputs
    contract.features[0].minimum = minimum
    contract.features[0].name = name + "?"
    contract.provenance.seed = seed

    assert contract == contracts.loads(contracts.dumps(contract))


def test_the_json_has_the_fields_names_in_order():
    """Readers in other languages find the names of the .proto file; equal contracts are equal."""
    text = contracts.dumps(_contract())

    names = list(json.loads(text))
    assert "schema_version" in names
    assert sorted(names) == names
    assert "\n" not in text
    assert text == contracts.dumps(contracts.loads(text))


def test_the_smallest_contract_needs_columns_and_tensors():
    """Nothing else is demanded."""
    contract = Contract(
        schema_version=1,
        features=[Feature(name="a")],
        targets=[Target(name="y")],
        tensors=Tensors(input="x", prediction="y"),
    )

    assert contract == contracts.loads(contracts.dumps(contract))


def test_fields_of_later_versions_are_passed_over():
    """A newer trainer's contract is still read."""
    fields = json.loads(contracts.dumps(_contract()))
    fields["later"] = {"anything": 1}

    assert _contract() == contracts.loads(json.dumps(fields))


def test_values_of_later_versions_are_passed_over():
    """A word that this version does not know is as good as none: non-finite rows are refused."""
    fields = json.loads(contracts.dumps(_contract())) | {"non_finite": "NON_FINITE_REPLACE"}

    assert contracts.loads(json.dumps(fields)).non_finite == NON_FINITE_UNSPECIFIED


def test_a_contract_of_a_later_schema_is_refused_by_its_number():
    """Also where it does not fit this version's messages at all."""
    fits = json.loads(contracts.dumps(_contract())) | {"schema_version": 2}
    fits_not = {"schema_version": 2, "features": {"a": "degF"}}

    for fields in (fits, fits_not):
        with pytest.raises(
            ContractError, match=r"schema_version is 2, .* reads 1; .*: upgrade isotherm$"
        ):
            contracts.loads(json.dumps(fields))


_CONTRADICTIONS: dict[str, Callable[[Contract], object]] = {
    "schema_version is 2, this version of isotherm reads 1": lambda c: setattr(
        c, "schema_version", 2
    ),
    "schema_version is 0": lambda c: c.ClearField("schema_version"),
    "target 'kind' has one class, expected none or two and more": lambda c: c.targets.add(
        name="kind", classes=["cold"]
    ),
    "target 'kind' has a class twice": lambda c: c.targets.add(
        name="kind", classes=["cold", "cold"]
    ),
    "target 'kind' has classes, and an interval is for numbers": lambda c: c.targets.add(
        name="kind", classes=["cold", "warm"]
    ),
    "it has no features": lambda c: c.ClearField("features"),
    "it has no targets": lambda c: c.ClearField("targets"),
    "tensors.input and tensors.prediction must name tensors": lambda c: c.tensors.ClearField(
        "input"
    ),
    "tensors.input and tensors.prediction must": lambda c: c.tensors.ClearField("prediction"),
    "feature 'a' appears twice": lambda c: setattr(c.features[1], "name", "a"),
    "target 'y' appears twice": lambda c: c.targets.add(name="y"),
    "feature 'a' has 3 decile edges for 1 counts": lambda c: c.features[0].deciles.counts.pop(),
    "target 'y' has 3 decile edges for 3 counts": lambda c: c.targets[0].deciles.counts.append(1),
    "the predictions of target 'y' has 0 decile edges for 1 counts": lambda c: c.targets[
        0
    ].predictions.deciles.counts.append(1),
    "the decile edges of feature 'a' do not rise": lambda c: c.features[
        0
    ].deciles.edges.__setitem__(1, 0.0),
    "the decile edges of target 'y' do not rise": lambda c: c.targets[0].deciles.edges.__setitem__(
        2, float("nan")
    ),
    "it has 65 golden rows, at most 64 are allowed": lambda c: setattr(c.golden, "rows", 65),
    "golden.inputs has 3 numbers, 2 rows need 4": lambda c: c.golden.inputs.pop(),
    "golden.outputs has 3 numbers, 2 rows need 2": lambda c: c.golden.outputs.append(1),
    "golden.outputs has a number that is not finite": lambda c: c.golden.outputs.__setitem__(
        0, float("inf")
    ),
    "the golden tolerances must be finite and not negative": lambda c: setattr(
        c.golden, "absolute_tolerance", -1.0
    ),
    "the golden tolerances must be finite and": lambda c: setattr(
        c.golden, "relative_tolerance", float("inf")
    ),
    "the golden tolerances must be finite": lambda c: setattr(
        c.golden, "relative_tolerance", float("nan")
    ),
    "tensors.lower and tensors.upper are named, but there is no interval": lambda c: c.ClearField(
        "interval"
    ),
    "an interval needs both tensors.lower and tensors.upper": lambda c: c.tensors.ClearField(
        "upper"
    ),
    "interval.coverage is 1.0, expected between 0 and 1": lambda c: setattr(
        c.interval, "coverage", 1.0
    ),
    "interval.coverage is nan": lambda c: setattr(c.interval, "coverage", float("nan")),
    "interval.half_width has 0 numbers for 1 targets": lambda c: c.interval.half_width.pop(),
    "interval.half_width of target 'y' is -1.0, expected a finite number": (
        lambda c: c.interval.half_width.__setitem__(0, -1.0)
    ),
    "feature 'a' has 0 decile edges for 2 counts": lambda c: c.features[0].deciles.ClearField(
        "edges"
    ),
    "feature 1 has no name": lambda c: c.features[1].ClearField("name"),
}


@pytest.mark.parametrize("message", _CONTRADICTIONS)
def test_a_contradiction_is_refused_when_written_and_when_read(message):
    """The sentence names the culprit."""
    contract = _contract()
    _CONTRADICTIONS[message](contract)

    with pytest.raises(ContractError) as written:
        contracts.dumps(contract)
    with pytest.raises(ContractError) as read:
        contracts.loads(json_format.MessageToJson(contract))

    assert str(written.value).startswith(f"the contract is invalid: {message}")
    assert str(read.value) == str(written.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not valid JSON"),
        ("[]", "the contract is invalid: schema_version is 0"),
        ("{", "not valid JSON"),
        ('{"golden": {"rows": -1}}', "not valid JSON"),
        ('{"features": 3}', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"golden":' * 200, "not valid JSON"),
        ('{"later":' + "[" * 50_000 + "]" * 50_000 + "}", "not valid JSON"),
        ('{"model_name": "\\ud800"}', "not valid JSON"),
        ("null", "not valid JSON"),
    ],
)
def test_a_text_that_is_no_contract_is_refused(text, reason):
    """Broken, of another form, or nested without end: one kind of error."""
    with pytest.raises(ContractError, match=reason):
        contracts.loads(text)


def test_a_contract_beyond_the_cap_is_refused_in_both_directions():
    """A mebibyte is enough for any table that this is made for."""
    contract = _contract()
    contract.provenance.git_commit = "é" * (1 << 19)

    with pytest.raises(ContractError, match="bytes, at most 1048576 are allowed"):
        contracts.dumps(contract)
    with pytest.raises(ContractError, match="has 1048577 bytes, at most 1048576 are allowed"):
        contracts.loads(" " * ((1 << 20) + 1))


def test_the_message_can_be_written_as_text():
    """For people who debug: protobuf's own text form works on it."""
    assert 'model_name: "m"' in text_format.MessageToString(_contract())


def test_a_label_has_a_column_a_class_in_the_prediction():
    """A number has one; golden outputs have as many."""
    contract = Contract(
        targets=[Target(name="kind", classes=["cold", "mild", "warm"]), Target(name="degrees")]
    )

    assert contracts.prediction_width(contract) == 4
