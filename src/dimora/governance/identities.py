"""From a credential to a Principal."""

from __future__ import annotations

import hashlib
import hmac

from dimora.core.api_keys import ApiKey
from dimora.core.errors import ConfigurationError, NotAuthenticated
from dimora.core.settings import Settings
from dimora.core.types import Principal
from dimora.governance.policy import GRANTS

LOOPBACK_PERSON = Principal(user="local", workspace="main", roles=("owner",), proof="loopback")


class Identities:
    """Knows the keys of the settings, by their hashes only."""

    def __init__(self, settings: Settings) -> None:
        self._keys = settings.api_keys
        for number, key in enumerate(self._keys, 1):
            if set(key.roles) - set(GRANTS):
                # Where a name was forgotten, a part of the key stands in the place of the role.
                raise ConfigurationError(
                    f"setting api_keys gives entry {number} a role that is not known",
                    hint=f"roles are: {', '.join(GRANTS)}",
                )

    def admit(self, credential: str | None, *, peer_is_loopback: bool) -> Principal:
        """Who this is.

        Without keys in the settings whoever is at the loopback is the person at this machine,
        whatever credential a client sends (SDKs insist on a dummy). With keys everyone needs one,
        since a proxy on this machine would make every caller look local.

        Raises:
            NotAuthenticated: keys are set and this is none of them, or the peer is not local.
        """
        if not self._keys:
            if peer_is_loopback:
                return LOOPBACK_PERSON
            raise NotAuthenticated("only this machine may call", hint="set api_keys")
        holder = self._holder(credential or "")
        if holder is None:
            raise NotAuthenticated(
                "a valid API key is needed",
                hint="send it as `Authorization: Bearer KEY`",
            )
        return Principal(
            user=holder.user, workspace=holder.workspace, roles=holder.roles, proof="api_key"
        )

    def _holder(self, credential: str) -> ApiKey | None:
        digest = hashlib.sha256(credential.encode()).hexdigest()
        found = None
        # All keys are compared, so that time does not tell which one was near.
        for key in self._keys:
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found
