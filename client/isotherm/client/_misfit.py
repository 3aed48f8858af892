"""A misfit: what is wrong with an input, before the model's name is put in front of it."""

from __future__ import annotations


class Misfit(Exception):  # noqa: N818  a signal between modules, never seen outside
    """What does not fit, to be told together with the model's name."""
