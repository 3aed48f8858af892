"""The table of statuses."""

from __future__ import annotations

from http import HTTPStatus

import grpc

from isotherm.server.rest.status import HTTP_STATUS
from isotherm.server.service.status import STATUS


def test_every_code_of_grpc_has_a_status():
    """Also those that no worker sends today."""
    assert set(HTTP_STATUS) == set(grpc.StatusCode)


def test_what_is_not_fine_is_an_error():
    """Of the caller or of the server; each a number that HTTP knows, or 499 for who has gone."""
    errors = {status for code, status in HTTP_STATUS.items() if code is not grpc.StatusCode.OK}

    assert min(errors) >= 400
    assert {status for status in errors if status not in set(HTTPStatus)} == {499}


def test_every_error_of_a_worker_has_a_status_of_its_kind():
    """A caller's mistake is 4xx, whatever else is 5xx."""
    statuses = {int(code): HTTP_STATUS[by_number(code)] for code in STATUS.values()}

    assert statuses == {1: 499, 3: 400, 4: 504, 5: 404, 8: 429, 9: 400, 12: 501, 13: 500, 14: 503}


def by_number(number: int) -> grpc.StatusCode:
    """Return grpc's name of a code."""
    return next(code for code in grpc.StatusCode if code.value[0] == number)
