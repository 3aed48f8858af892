"""Validation against the contract, before anything is sent: the server would refuse it as well."""

from __future__ import annotations

from isotherm.client._errors import InvalidInputError
from isotherm.v1.cells import Cells
from isotherm.v1.tensors import Array


def check(cells: Cells, array: Array, *, model: str) -> None:
    """Refuse infinity, and NaN where the contract does not take missing cells.

    Args:
        cells: What the model's contract says of them.
        array: The input tensor, shape (rows, features).
        model: Its name, for errors.

    Raises:
        InvalidInputError: It names the first such row, and the feature, in the server's words.
    """
    refused = cells.refused(array)
    if refused is not None:
        raise InvalidInputError(cells.complaint(array, refused, model), model=model)
