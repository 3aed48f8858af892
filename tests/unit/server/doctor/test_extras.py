"""Which extras are installed."""

from __future__ import annotations

import pytest

from isotherm.server.doctor import extras


def test_extras_are_there_when_all_of_their_packages_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of others by way of ours, and versions do not matter."""
    lines = [
        "numpy>=1.26",
        "rich>=13.7; extra == 'cli'",
        "isotherm[cli]; extra == 'gone'",
        "no-such-package>=1; sys_platform == 'linux' and extra == 'gone'",
        'isotherm[cli,gone]; extra == "all"',
        "isotherm[cli]; extra == 'more'",
    ]
    monkeypatch.setattr(extras, "requires", lambda _: lines)
    monkeypatch.setattr(extras, "metadata", lambda _: _Metadata(["cli", "gone", "all", "more"]))

    assert extras.present() == {"all": False, "cli": True, "gone": False, "more": True}


class _Metadata:
    """A package's, as far as it is read."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def get_all(self, key: str) -> list[str]:
        """Return the values of a key."""
        assert key == "Provides-Extra"
        return self._names
