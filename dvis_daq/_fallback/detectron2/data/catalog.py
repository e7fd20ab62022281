"""Data sets by name: a function that lists the records, and facts about them."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

__all__ = ["DatasetCatalog", "Metadata", "MetadataCatalog"]


class _DatasetCatalog(UserDict):
    """Functions that return a list of records, by the name of the data set."""

    def register(self, name: str, func: Callable[[], list[dict[str, Any]]]) -> None:
        """Adds a data set.

        Args:
            name: its name, not taken yet.
            func: returns the records, the same in the same order at every call.
        """
        assert callable(func), "You must register a function with `DatasetCatalog.register`!"
        assert name not in self, f"Dataset '{name}' is already registered!"
        self[name] = func

    def get(self, name: str) -> list[dict[str, Any]]:
        """Calls the function of a data set; KeyError with all names if there is none."""
        if name not in self:
            known = ", ".join(self)
            raise KeyError(f"Dataset '{name}' is not registered! Available datasets are: {known}")
        return self[name]()

    def list(self) -> list[str]:
        """All names."""
        return [*self]

    def remove(self, name: str) -> None:
        """Forgets a data set; KeyError if there is none."""
        self.pop(name)


class Metadata(SimpleNamespace):
    """Facts about a data set; each can be set once, or again to an equal value."""

    name: str = "N/A"

    def __getattr__(self, key: str) -> Any:
        known = list(vars(self))
        raise AttributeError(
            f"Attribute '{key}' does not exist in the metadata of dataset '{self.name}'. "
            f"Available keys are {known}."
        )

    def __setattr__(self, key: str, value: Any) -> None:
        old = vars(self).get(key, value)
        assert old == value, (
            f"Attribute '{key}' in the metadata of '{self.name}' cannot be set to a different "
            f"value!\n{old} != {value}"
        )
        super().__setattr__(key, value)

    def as_dict(self) -> dict[str, Any]:
        """A copy of all facts."""
        return dict(vars(self))

    def set(self, **facts: Any) -> Metadata:
        """Sets several facts, returns the object."""
        for key, value in facts.items():
            setattr(self, key, value)
        return self

    def get(self, key: str, default: Any = None) -> Any:
        """The fact `key`, or `default`."""
        return vars(self).get(key, default)


class _MetadataCatalog(UserDict):
    """`Metadata` by the name of the data set."""

    def get(self, name: str) -> Metadata:
        """The entry `name`, made if it is new."""
        if name not in self:
            self[name] = Metadata(name=name)
        return self[name]

    def list(self) -> list[str]:
        """All names."""
        return [*self]

    def remove(self, name: str) -> None:
        """Forgets an entry; KeyError if there is none."""
        self.pop(name)


DatasetCatalog = _DatasetCatalog()
MetadataCatalog = _MetadataCatalog()
