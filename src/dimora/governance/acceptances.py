"""Who accepted which licence, for which model and when: asked before a model is fetched.

Plain open licences ask for nothing; of the others one acceptance is enough for a house.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path

import msgspec

from dimora.core.errors import Forbidden, InternalError
from dimora.core.types import Principal
from dimora.storage.append_log import AppendLog
from dimora.tasks.advice import Acceptance, Terms

_LIMIT_BYTES = 16 << 20


class Acceptances:
    """Kept in the log at `path`. `in_settings` are names of licences that the owner accepted."""

    def __init__(self, path: Path, in_settings: tuple[str, ...] = ()) -> None:
        self._path = path
        self._in_settings = frozenset(name.casefold() for name in in_settings)
        self._log = AppendLog(path)

    def covers(self, license_name: str) -> bool:
        """Whether nobody has to be asked any more."""
        return license_name.casefold() in self._in_settings or any(
            one.license == license_name for one in self._read()
        )

    def of_model(self, model: str) -> list[Acceptance]:
        """What was accepted for a model of this name, oldest first."""
        return [one for one in self._read() if one.model == model]

    def require(self, principal: Principal, model: str, terms: Terms, *, accepts: bool) -> None:
        """Make sure that the licence of `model` is accepted, and that it is written down.

        Raises Forbidden when it is not, InternalError when it cannot be written down.
        """
        if terms.is_open:
            return
        known = list(self._read())
        if any(one.license == terms.license and one.model == model for one in known):
            return
        if accepts:
            by = "asked"
        elif terms.license.casefold() in self._in_settings:
            by = "setting"
        elif any(one.license == terms.license for one in known):
            by = "earlier"
        else:
            raise _not_accepted(model, terms)
        self._write(
            Acceptance(
                time=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                user=principal.user,
                model=model,
                license=terms.license,
                by=by,
            )
        )

    def close(self) -> None:
        self._log.close()

    def _write(self, acceptance: Acceptance) -> None:
        try:
            self._log.append(msgspec.json.encode(acceptance))
        except OSError as why:
            raise InternalError(
                f"the acceptance of a licence cannot be written down: {why.strerror}",
                code="acceptance_unrecorded",
                hint="free space or mend the rights of `log` in the home",
            ) from None

    def _read(self) -> Iterator[Acceptance]:
        try:
            with self._path.open("rb") as file:
                lines = file.read(_LIMIT_BYTES).splitlines()
        except OSError:
            return
        for line in lines:
            try:
                yield msgspec.json.decode(line, type=Acceptance)
            except (msgspec.DecodeError, UnicodeDecodeError):
                # A line that a full disk cut short says nothing.
                continue


def _not_accepted(model: str, terms: Terms) -> Forbidden:
    where = f" ({terms.license_url})" if terms.license_url else ""
    return Forbidden(
        f"{model} is under the licence '{terms.license}'{where}, which nobody here has accepted:"
        " `dimora pull` asks for it, the setting accepted_licences may name it",
        code="licence_not_accepted",
        hint="without a terminal `dimora pull --accept-licence` agrees to it",
    )
