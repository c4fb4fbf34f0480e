"""Make a new model of an existing one: other parameters, system text, messages."""

from __future__ import annotations

from dimora.core.types import Message, Request
from dimora.tasks.options import Options

RIGHT = "manage"


class CreateModel(Request, frozen=True, kw_only=True, tag="create_model"):
    """`model` is the new name, `source` the existing one; what is None is kept from it.
    Parameters override one by one, messages replace, licences append.
    """

    source: str
    options: Options = Options()
    system: str | None = None
    template: str | None = None
    messages: tuple[Message, ...] | None = None
    licenses: tuple[str, ...] = ()
