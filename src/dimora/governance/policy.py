"""One table says what each role may do; every Request passes it.

Tasks name the right they need, roles are granted rights; what is not granted is refused.
"""

from __future__ import annotations

from dimora.core.errors import Forbidden
from dimora.core.types import Principal
from dimora.tasks.base import Right

# use: run models.  read: see what is there.  manage: change the store.  administer: the rest.
GRANTS: dict[str, frozenset[Right]] = {
    "owner": frozenset({"use", "read", "manage", "administer"}),
    "manager": frozenset({"use", "read", "manage"}),
    "user": frozenset({"use", "read"}),
    "reader": frozenset({"read"}),
}


def check(principal: Principal, right: Right) -> None:
    """Raises Forbidden when none of the principal's roles grants the right."""
    if not any(right in GRANTS.get(role, frozenset()) for role in principal.roles):
        raise Forbidden(
            f"the role {', '.join(principal.roles) or 'none'} has no right to {right}",
            hint="the owner grants roles in the settings",
        )
