"""Reporting truths: what leaves the client, and what it refuses to send."""

from __future__ import annotations

import grpc
import numpy as np
import pytest

from isotherm.client import AsyncClient, InvalidInputError, NotFoundError, UnsupportedError
from isotherm.client._feedback import MAX_NUMBERS
from isotherm.v1.feedback_pb2 import ReportRequest


def test_rows_go_out_as_they_are(client, server):
    """Doubles, row-major; a column is the same as a list."""
    version = client.feedback(
        "line", np.array([[1.5], [2.5]], np.float32), [1, 2], version=1, lower=[0, 0], upper=[3, 3]
    )

    assert version == "1"
    assert server.reports == [
        ReportRequest(
            model_name="line",
            model_version="1",
            prediction=[1.5, 2.5],
            truth=[1, 2],
            lower=[0, 0],
            upper=[3, 3],
        )
    ]


def test_several_targets_are_rows_of_columns(client, server):
    """Each row one after the other."""
    client.feedback("line", [[1, 2], [3, 4]], np.array([[5, 6], [7, 8]]).T.copy().T)

    (report,) = server.reports
    assert (report.prediction, report.truth) == ([1, 2, 3, 4], [5, 6, 7, 8])
    assert report.model_version == ""


def test_one_time_is_every_rows(client, server):
    """Or each row has its own."""
    client.feedback("line", [1, 2], [1, 2], predicted_at=1.7e9)
    client.feedback("line", [1, 2], [1, 2], predicted_at=[1.7e9, 1.8e9])

    assert [list(report.predicted_at) for report in server.reports] == [
        [1.7e9, 1.7e9],
        [1.7e9, 1.8e9],
    ]


def test_what_a_model_answered_can_be_reported_as_it_came(client, server):
    """With the interval of the answer."""
    answer = client.predict("line", [32.0, 212.0])
    client.feedback("line", answer.y, [0, 100], lower=answer.lower, upper=answer.upper)

    (report,) = server.reports
    np.testing.assert_allclose(report.upper, [1.5, 101.5], atol=1e-5)


def test_many_rows_go_out_in_several_calls_for_one_version(client, server):
    """The version that took the first ones takes all, whatever is newest by then."""
    values = np.arange(MAX_NUMBERS * 2 + 3, dtype=float)
    client.feedback("line", values, values + 1, predicted_at=values)

    sizes = [len(report.prediction) for report in server.reports]
    assert sizes == [MAX_NUMBERS, MAX_NUMBERS, 3]
    assert [report.model_version for report in server.reports] == ["", "1", "1"]
    assert [t for report in server.reports for t in report.truth] == (values + 1).tolist()
    assert [t for report in server.reports for t in report.predicted_at] == values.tolist()


def test_an_error_after_the_first_call_says_what_was_counted(client, server):
    """So that nobody sends those rows again."""
    values = np.zeros(MAX_NUMBERS + 1)
    server.reported = lambda: server.failures.append(grpc.StatusCode.UNAVAILABLE)

    with pytest.raises(Exception, match="as told") as caught:
        client.feedback("line", values, values)

    assert caught.value.__notes__ == [f"the first {MAX_NUMBERS} rows of the report were counted"]


def test_a_report_is_not_repeated(client, server):
    """It might have arrived; predictions are repeated."""
    server.failures = [grpc.StatusCode.UNAVAILABLE]
    with pytest.raises(Exception, match="as told"):
        client.feedback("line", [1], [1])

    assert server.calls == ["Report"]


NAN = float("nan")
MISTAKES = [
    (([], []), {}, "prediction has no rows"),
    (([1, 2], [1]), {}, "truth has 1 rows of 1, prediction 2 of 1"),
    (([[1, 2]], [1, 2]), {}, "truth has 2 rows of 1, prediction 1 of 2"),
    (([1], [NAN]), {}, "truth is nan in row 0, expected a finite number"),
    (([1, np.inf], [1, 1]), {}, "prediction is inf in row 1, expected a finite number"),
    ((["a"], [1]), {}, "prediction is an array of <U1, expected numbers"),
    (([[1], [1, 2]], [1]), {}, "prediction is no array: "),
    ((np.ones((1, 1, 1)), [1]), {}, "prediction has shape (1, 1, 1), expected (rows,) or "),
    (([1], [1]), {"lower": [1]}, "lower is given without upper: an interval takes both"),
    (([1], [1]), {"upper": [1]}, "upper is given without lower: an interval takes both"),
    (([1], [1]), {"lower": [2], "upper": [1]}, "lower is 2 in row 0, expected at most upper"),
    (([1], [1]), {"lower": [NAN], "upper": [1]}, "lower is nan in row 0, expected at most upper"),
    (([1], [1]), {"predicted_at": [1, 2]}, "predicted_at has shape (2,), expected (1,), or one"),
]


@pytest.mark.parametrize(("arrays", "more", "text"), MISTAKES)
def test_a_mistake_is_found_before_anything_is_sent(client, server, arrays, more, text):
    """Named with the model."""
    with pytest.raises(InvalidInputError) as caught:
        client.feedback("line", *arrays, **more)

    assert str(caught.value).startswith(f"feedback on model 'line': {text}")
    assert caught.value.model == "line"
    assert server.calls == []


def test_an_unknown_model_is_the_servers_word(client):
    """As for predictions."""
    with pytest.raises(NotFoundError, match="'nobody' is not found"):
        client.feedback("nobody", [1], [1])


def test_another_server_has_no_such_service(client, server):
    """The error says whose it is."""
    server.absent.add("Report")
    with pytest.raises(UnsupportedError) as caught:
        client.feedback("line", [1], [1])

    assert str(caught.value) == (
        f"the server at {server.address} takes no feedback: "
        "it has no isotherm.v1.Feedback, which is Isotherm's own"
    )
    assert caught.value.code is grpc.StatusCode.UNIMPLEMENTED


async def test_the_asyncio_client_does_the_same(server):
    """One conversation for both."""
    async with AsyncClient(server.address) as client:
        version = await client.feedback("line", [1.0], [2.0], predicted_at=3)

    assert version == "1"
    assert server.reports == [
        ReportRequest(model_name="line", prediction=[1], truth=[2], predicted_at=[3])
    ]
