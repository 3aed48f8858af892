"""Feedback/Report: which rows are counted, and what the caller of the others is told."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from isotherm.server.config import ServerConfig
from isotherm.server.counters import Block
from isotherm.server.errors import InvalidRequestError, NotFoundError, UnsuitedError
from isotherm.server.layout import MAX_TARGETS, ErrorSum
from isotherm.server.loader import Loader
from isotherm.server.repository import Repository
from isotherm.server.residuals import MAX_NAME_BYTES, Residuals
from isotherm.server.rpcs import REPORT
from isotherm.server.service.feedback import MAX_MESSAGE_BYTES, MAX_NUMBERS, FeedbackService
from isotherm.server.service.targets import show_sums, targets_of
from isotherm.server.transport.call import StatusCode
from isotherm.v1.contract_pb2 import Interval
from isotherm.v1.feedback_pb2 import ReportRequest, ReportResponse
from tests.support import models
from tests.support.hostile import TRUSTED
from tests.unit.server.fakes import FakeCall, served


def with_interval(transform: str = "") -> onnx.ModelProto:
    """Return y, lower and upper = 2 x, with an interval of 1.5 and a training mean of 10."""
    model = models.doubling()
    for name in ("lower", "upper"):
        model.graph.node.add(op_type="Identity", input=["y"], output=[name])
        model.graph.output.add().CopyFrom(model.graph.output[0])
        model.graph.output[-1].name = name
    contract = models.doubling_contract(
        interval=Interval(coverage=0.9, half_width=[1.5], method="given")
    )
    contract.tensors.lower, contract.tensors.upper = "lower", "upper"
    contract.targets[0].mean, contract.targets[0].standard_deviation = 10.0, 2.0
    contract.targets[0].transform = transform
    return models.with_contract(model, contract)


def two_targets(**changes: Any) -> onnx.ModelProto:
    """Return a network with the targets a and b."""
    contract = models.doubling_contract(**changes)
    contract.targets[0].name = "a"
    contract.targets.add(name="b", datatype="FP32")
    contract.golden.Clear()
    return models.with_contract(models.mlp((1, 3, 2)), contract)


@pytest.fixture(name="repository", scope="module")
def _repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Models with and without intervals and contracts."""
    folder: Path = tmp_path_factory.mktemp("models")
    models.publish(folder, "doubling", with_interval(), 3)
    models.publish(folder, "logs", with_interval("log"))
    models.publish(folder, "newer", with_interval("logit"))
    models.publish(folder, "doubling", with_interval(), 4)
    (folder / "doubling" / "config.pbtxt").write_text("version_policy { all {} }")
    models.publish(folder, "pair", two_targets())
    models.publish(folder, "plain", models.doubling())
    models.publish(folder, "wide", models.mlp((4, 8, 3)))
    models.publish(folder, "labelled", models.labelled())
    repository = Repository(folder)
    list(repository.load(Loader(ServerConfig(repository=folder, provider="cpu", vetting=TRUSTED))))
    return repository


@pytest.fixture(name="block")
def _block() -> Block:
    """A worker's counters."""
    return Block.create([])


@pytest.fixture(name="service")
def _service(repository: Repository, block: Block) -> FeedbackService:
    """The service over the models."""
    return FeedbackService(repository, block)


def table(block: Block, name: str, version: int = 1) -> np.ndarray:
    """Return a model's sums."""
    residuals = Residuals(block.open_model(name, version).words)
    return residuals.table[: len(residuals.names)]


def request(name: str, **fields: Any) -> ReportRequest:
    """Return a report, right unless its fields say otherwise."""
    return ReportRequest(model_name=name, **({"prediction": [1.0], "truth": [1.0]} | fields))


def test_rows_are_counted_for_the_version_that_is_named(service: FeedbackService, block: Block):
    """Or for the newest."""
    answers = [
        service.report(request("doubling", model_version=version, truth=[9.0, 8.0, 7.0], **more))
        for version, more in (("3", {"prediction": [1, 2, 3]}), ("", {"prediction": [1, 2, 3]}))
    ]

    assert answers == [
        ReportResponse(rows=3, model_version="3"),
        ReportResponse(rows=3, model_version="4"),
    ]
    for version in (3, 4):
        sums = table(block, "doubling", version)[0]
        assert sums[[ErrorSum.ROWS, ErrorSum.UNDER, ErrorSum.SQUARED]].tolist() == [3, 18, 116]
        assert sums[[ErrorSum.ABOVE, ErrorSum.BELOW]].tolist() == [0, 6]


def test_the_contracts_interval_is_put_around_the_prediction(
    service: FeedbackService, block: Block
):
    """Where the report has no bounds of its own."""
    service.report(request("doubling", prediction=[10, 10, 10], truth=[11.5, 8.4, 10]))

    sums = table(block, "doubling", 4)[0]
    assert sums[[ErrorSum.INTERVAL_ROWS, ErrorSum.COVERED_ROWS]].tolist() == [3, 2]


def test_the_contracts_interval_is_as_wide_as_its_targets_scale_has_it(
    service: FeedbackService, block: Block
):
    """Half a width of 1.5 on the scale of the log is a factor of 4.48, either way."""
    truth = [44.0, 45.0, 2.3, 2.2]
    service.report(request("logs", prediction=[10] * 4, truth=truth))
    sums = table(block, "logs")[0]
    assert sums[[ErrorSum.INTERVAL_ROWS, ErrorSum.COVERED_ROWS]].tolist() == [4, 2]

    # Nobody knows how wide it is on a scale that this server has never heard of.
    service.report(request("newer", prediction=[10] * 4, truth=truth))
    assert table(block, "newer")[0, ErrorSum.INTERVAL_ROWS] == 0


def test_given_bounds_are_taken(service: FeedbackService, block: Block):
    """Also infinite ones, and for a model whose contract has no interval."""
    infinity = float("inf")
    for name, version in (("doubling", 4), ("plain", 1)):
        bounds = {"lower": [0.0, -infinity], "upper": [0.5, 7.0]}
        service.report(request(name, prediction=[0, 0], truth=[1, 1], **bounds))

        sums = table(block, name, version)[0]
        assert sums[[ErrorSum.INTERVAL_ROWS, ErrorSum.COVERED_ROWS]].tolist() == [2, 1]


def test_without_any_interval_none_is_counted(service: FeedbackService, block: Block):
    """Coverage is then undefined."""
    service.report(request("plain"))

    assert table(block, "plain")[0, ErrorSum.INTERVAL_ROWS] == 0


def test_targets_are_the_columns(service: FeedbackService, block: Block):
    """Row-major, in the contract's order."""
    answer = service.report(request("pair", prediction=[1, 10, 2, 20], truth=[1, 11, 2, 23]))

    assert answer.rows == 2
    assert table(block, "pair")[:, ErrorSum.UNDER].tolist() == [0, 4]


def test_a_plain_file_has_one_target_by_its_outputs_name(service: FeedbackService, block: Block):
    """The name comes from the file, as every label does."""
    service.report(request("plain"))

    assert Residuals(block.open_model("plain", 1).words).names == ["y"]


def test_the_age_of_predictions_is_summed(service: FeedbackService, block: Block):
    """A clock that is a little ahead counts as no time."""
    now_s = time.time()
    service.report(
        request("plain", prediction=[1, 1], truth=[1, 1], predicted_at=[now_s - 60, now_s + 9])
    )
    rows, delay_s = Residuals(block.open_model("plain", 1).words).delay

    assert rows == 2
    assert delay_s == pytest.approx(60, abs=5)


NAN, INFINITY = float("nan"), float("inf")
MISTAKES = [
    ({"prediction": []}, "the report has no rows: its prediction is empty"),
    ({"truth": []}, "truth has 0 numbers, expected as many as prediction: 1"),
    ({"truth": [1, 2]}, "truth has 2 numbers, expected as many as prediction: 1"),
    ({"truth": [NAN]}, "truth of 'twice' in row 0 is nan, expected a finite number"),
    ({"prediction": [-INFINITY]}, "prediction of 'twice' in row 0 is -inf, expected a finite"),
    (
        {"prediction": [1, 1], "truth": [1, 1e20]},
        "truth of 'twice' in row 1 is 1e+20, over 1e+06 standard deviations of the training from "
        "its mean 10: leave rows out whose value is a mark",
    ),
    ({"lower": [0]}, "lower is given without upper: an interval takes both or neither"),
    ({"upper": [0]}, "upper is given without lower: an interval takes both or neither"),
    ({"lower": [0, 1], "upper": [1, 2]}, "lower has 2 numbers, expected as many as prediction: 1"),
    ({"lower": [2], "upper": [1]}, "the interval of 'twice' in row 0 is 2 to 1, expected lower <="),
    ({"lower": [NAN], "upper": [1]}, "the interval of 'twice' in row 0 is nan to 1, expected"),
    ({"predicted_at": [1.0, 2.0]}, "predicted_at has 2 numbers, expected one a row: 1"),
    ({"predicted_at": [1.7e12]}, "predicted_at of row 0 is 1.7e+12, expected seconds since 1970"),
    ({"predicted_at": [NAN]}, "predicted_at of row 0 is nan, expected seconds since 1970"),
    ({"predicted_at": [3.0]}, "predicted_at of row 0 is 3, expected seconds since 1970"),
    (
        {"prediction": [0.0] * (MAX_NUMBERS + 1)},
        f"prediction has {MAX_NUMBERS + 1} numbers, at most {MAX_NUMBERS} are taken",
    ),
    ({"model_version": "one"}, "'one' is not a version of model 'doubling'"),
]


@pytest.mark.parametrize(("fields", "text"), MISTAKES)
def test_a_wrong_report_is_told_what_is_wrong_and_counts_nothing(
    service: FeedbackService, block: Block, fields: dict[str, Any], text: str
):
    """Row, target and number are named."""
    with pytest.raises(InvalidRequestError) as caught:
        service.report(request("doubling", **fields))

    assert str(caught.value).startswith(text)
    assert not table(block, "doubling", 4).any()


def test_a_row_that_is_not_whole_is_refused(service: FeedbackService):
    """With the names of its targets."""
    with pytest.raises(InvalidRequestError, match="has 3 numbers, expected 2 a row: a, b"):
        service.report(request("pair", prediction=[1, 2, 3], truth=[1, 2, 3]))


def test_numbers_whose_squares_are_none_are_refused(service: FeedbackService):
    """Also where the training's spread is not known."""
    with pytest.raises(InvalidRequestError, match=r"is 1e\+200, expected at most 1e\+100"):
        service.report(request("plain", truth=[1e200]))


def test_an_unknown_model_or_version_is_not_found(service: FeedbackService):
    """By the same words as everywhere."""
    with pytest.raises(NotFoundError, match="unknown model: 'nobody'"):
        service.report(request("nobody"))
    with pytest.raises(NotFoundError, match="'doubling' version 9 is not found, served: 3, 4"):
        service.report(request("doubling", model_version="9"))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("labelled", "its target 'kind' is a label, and errors are sums of numbers"),
        ("wide", "it carries no contract, and its outputs are not one column of numbers"),
    ],
)
def test_a_model_of_another_kind_says_why(service: FeedbackService, name: str, reason: str):
    """Nothing in the report is wrong."""
    with pytest.raises(UnsuitedError) as caught:
        service.report(request(name))

    assert str(caught.value).startswith(f"model '{name}' version 1 takes no feedback: {reason}")


def test_more_targets_or_longer_names_than_are_kept_are_refused():
    """Both limits are named."""
    contract = models.doubling_contract()
    contract.golden.Clear()
    contract.targets[0].name = "a" * (MAX_NAME_BYTES + 1)
    long = served(models.with_contract(models.doubling(), contract))
    contract.targets.extend([type(contract.targets[0])(name=f"t{i}") for i in range(MAX_TARGETS)])
    many = served(models.with_contract(models.mlp((1, MAX_TARGETS + 1)), contract))

    with pytest.raises(UnsuitedError, match="a target's name has 257 bytes, at most 256"):
        targets_of(long)
    with pytest.raises(UnsuitedError, match="it has 17 targets, at most 16 are summed"):
        targets_of(many)


def test_sums_are_shown_from_the_load_on(block: Block):
    """At zero, until a model that takes none has the version's place."""
    counters = block.open_model("m", 1)
    show_sums(served(two_targets()), counters)
    names = Residuals(counters.words).names
    show_sums(served(models.labelled()), counters)

    assert (names, Residuals(counters.words).names) == (["a", "b"], [])


def test_the_handler_answers_and_refuses(service: FeedbackService):
    """Bytes in, bytes or a status out."""
    handle = service.methods()[REPORT].handle
    calls = [FakeCall() for _ in range(4)]
    messages = [
        request("plain").SerializeToString(),
        b"\xff",
        request("labelled").SerializeToString(),
        bytes(MAX_MESSAGE_BYTES + 1),
    ]
    for call, message in zip(calls, messages, strict=True):
        handle(call, message)

    assert [call.code for call in calls] == [
        StatusCode.OK,
        StatusCode.INVALID_ARGUMENT,
        StatusCode.FAILED_PRECONDITION,
        StatusCode.INVALID_ARGUMENT,
    ]
    assert ReportResponse.FromString(calls[0].sent[0]).rows == 1
    assert calls[1].details == "the message is not a ReportRequest"
    assert calls[3].details.startswith(f"the report has {MAX_MESSAGE_BYTES + 1} bytes, at most")


def test_the_largest_report_fits_its_message(service: FeedbackService):
    """Every table full, with times."""
    full = [1.0] * MAX_NUMBERS
    report = request(
        "plain",
        prediction=full,
        truth=full,
        lower=full,
        upper=full,
        predicted_at=[time.time()] * MAX_NUMBERS,
    )
    message = report.SerializeToString()
    call = FakeCall()
    service.methods()[REPORT].handle(call, message)

    assert len(message) * 9 / 8 < MAX_MESSAGE_BYTES
    assert ReportResponse.FromString(call.sent[0]).rows == MAX_NUMBERS
