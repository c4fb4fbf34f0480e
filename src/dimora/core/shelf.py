"""Finds the plug-ins on a shelf: a folder of modules, where the file's name is the plug-in's name.

Nothing is imported until it is asked for by name. Plug-ins of third parties come through the
entry-point group `dimora.<shelf>.v1` and only when the owner allowed them.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from dimora.core.errors import ConfigurationError

# Files of a shelf that describe the shelf itself, not a plug-in on it.
_FURNITURE = frozenset({"base"})


class Shelf:
    """The plug-ins of one package, such as `Shelf("dimora.engines")`.

    A module whose name begins with `_`, `base`, and the names in `furniture` are not plug-ins.
    """

    def __init__(
        self, package: str, *, furniture: frozenset[str] = frozenset(), third_party: bool = False
    ) -> None:
        self.package = package
        self._not_plugins = _FURNITURE | furniture
        self._third_party = third_party

    def names(self) -> list[str]:
        """Names of all plug-ins, sorted; imports the package but none of its plug-ins."""
        package = importlib.import_module(self.package)
        own = {
            m.name
            for m in pkgutil.iter_modules(package.__path__)
            if not m.name.startswith("_") and m.name not in self._not_plugins
        }
        return sorted(own | set(self._foreign()))

    def load(self, name: str) -> ModuleType:
        """Import one plug-in.

        Raises ConfigurationError, naming those there are, if no plug-in has this name.
        """
        foreign = self._foreign()
        if name not in foreign and name not in self.names():
            raise ConfigurationError(
                f"there is no {name!r} in {self.package}",
                hint=f"choose one of: {', '.join(self.names())}",
            )
        return self._import(name, foreign)

    def all(self) -> dict[str, ModuleType]:
        """Every plug-in by name, imported."""
        foreign = self._foreign()
        return {name: self._import(name, foreign) for name in self.names()}

    def _import(self, name: str, foreign: dict[str, str]) -> ModuleType:
        return importlib.import_module(foreign.get(name, f"{self.package}.{name}"))

    def _foreign(self) -> dict[str, str]:
        if not self._third_party:
            return {}
        # Slow to import, and needed by nobody who has not allowed other people's plug-ins.
        from importlib.metadata import entry_points

        return {e.name: e.value for e in entry_points(group=f"{self.package}.v1")}
