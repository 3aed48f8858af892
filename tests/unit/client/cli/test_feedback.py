"""`isotherm feedback` against a real gRPC server."""

from __future__ import annotations

import pytest

from isotherm.v1 import contract as contracts
from isotherm.v1.contract_pb2 import Target
from isotherm.v1.feedback_pb2 import ReportRequest
from tests.unit.client.conftest import thermometer_contract


@pytest.fixture(name="feedback")
def _feedback(isotherm, server, tmp_path):
    def call(text, *arguments, model="line"):
        path = tmp_path / "rows.csv"
        path.write_text(text)
        return isotherm("feedback", model, path, *arguments, "--address", server.address)

    return call


def test_a_file_of_predictions_and_truths_is_reported(feedback, server):
    """Other columns are passed over, rows without a truth left out."""
    result = feedback("id,truth,prediction\na,1,1.5\nb,,7\nc,2,2.5\n", "--version", "1")

    assert result.stdout == "2 rows counted for line version 1\n"
    assert result.stderr == "note: 1 row without a truth left out\n"
    assert server.reports == [
        ReportRequest(model_name="line", model_version="1", prediction=[1.5, 2.5], truth=[1, 2])
    ]


def test_bounds_and_times_are_taken_where_they_are(feedback, server):
    """By the names that `isotherm predict` gives the bounds."""
    result = feedback("prediction,truth,lower,upper,predicted_at\n1,2,0,3,1.7e9\n")

    assert result.stdout == "1 row counted for line version 1\n"
    assert server.reports == [
        ReportRequest(
            model_name="line",
            prediction=[1],
            truth=[2],
            lower=[0],
            upper=[3],
            predicted_at=[1.7e9],
        )
    ]


def test_columns_may_have_the_targets_names(feedback, server):
    """Which they must where there are several."""
    contract = thermometer_contract()
    contract.targets.append(Target(name="kelvin", datatype="FP32"))
    contract.interval.half_width.append(1.5)
    server.models["line"].contract = contracts.dumps(contract)
    result = feedback(
        "kelvin,celsius,celsius_predicted,kelvin_predicted\n273,0,0.5,273.5\n283,10,11,284\n"
    )

    assert result.exit_code == 0
    (report,) = server.reports
    assert report.prediction == [0.5, 273.5, 11, 284]
    assert report.truth == [0, 273, 10, 283]


def test_a_model_without_a_contract_has_prediction_and_truth(feedback, server):
    """Its target has no name."""
    result = feedback("prediction,truth\n1,2\n", model="plane")

    assert result.exit_code == 0
    assert [report.model_name for report in server.reports] == ["plane"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "must have a line of names, and rows below it"),
        ("prediction,truth\n", "must have a line of names, and rows below it"),
        ("prediction,truth\n1,\n", "has no row with a truth"),
        ("celsius,other\n1,2\n", "has no column 'celsius_predicted'; its columns are 'celsius',"),
        ("prediction,truth\n1,warm\n", "line 2: 'warm' is not a number"),
        ("prediction,truth\n,1\n", "prediction is nan in row 0, expected a finite number"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_a_sentence(feedback, server, text, sentence):
    """Nothing is sent."""
    result = feedback(text)

    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert sentence in result.stderr
    assert server.reports == []
