"""Tests of the trainer's errors."""

from __future__ import annotations

import inspect

from isotherm.trainer import errors


def test_the_module_draws_the_tree_that_it_defines() -> None:
    """Every class stands in the drawing, and under the base class."""
    classes = [value for _, value in inspect.getmembers(errors, inspect.isclass)]

    assert [cls.__name__ for cls in classes if cls.__name__ not in (errors.__doc__ or "")] == []
    assert {issubclass(cls, errors.TrainerError) for cls in classes} == {True}
