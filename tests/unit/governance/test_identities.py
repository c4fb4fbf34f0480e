from __future__ import annotations

import contextlib
import hashlib
import hmac

import pytest

from dimora.core.api_keys import ApiKey
from dimora.core.errors import ConfigurationError, Forbidden, NotAuthenticated
from dimora.core.settings import Settings
from dimora.core.types import Principal
from dimora.governance import identities
from dimora.governance.identities import Identities
from dimora.governance.policy import GRANTS, check

KEY = "a-key-of-many-letters"


def holder(**changes) -> Settings:
    fields = {"user": "anna", "sha256": hashlib.sha256(KEY.encode()).hexdigest()} | changes
    return Settings(api_keys=(ApiKey(**fields),))


def test_without_keys_the_loopback_is_the_owner_whatever_bearer_it_sends():
    identities = Identities(Settings())
    for credential in (None, "", "ollama", KEY):
        principal = identities.admit(credential, peer_is_loopback=True)
        assert (principal.proof, principal.roles) == ("loopback", ("owner",))


def test_without_keys_nobody_else_is_admitted():
    with pytest.raises(NotAuthenticated):
        Identities(Settings()).admit(None, peer_is_loopback=False)


@pytest.mark.parametrize("credential", [None, "", "wrong", KEY + "x", KEY[:-1], KEY.upper()])
@pytest.mark.parametrize("local", [True, False])
def test_with_keys_everyone_needs_a_right_one_also_on_the_loopback(credential, local):
    with pytest.raises(NotAuthenticated):
        Identities(holder()).admit(credential, peer_is_loopback=local)


def test_a_key_makes_its_holder():
    settings = holder(workspace="law", roles=("reader",))
    principal = Identities(settings).admit(KEY, peer_is_loopback=False)
    assert principal == Principal(user="anna", workspace="law", roles=("reader",), proof="api_key")


@pytest.mark.parametrize("shown", ["first-key", "last-key", "no-key", ""])
def test_every_key_is_compared_in_constant_time_whichever_is_right(monkeypatch, shown):
    words = ("first-key", "middle-key", "last-key")
    keys = [ApiKey(user=word, sha256=hashlib.sha256(word.encode()).hexdigest()) for word in words]
    compared = []
    truly = hmac.compare_digest

    def compare(one: str, other: str) -> bool:
        compared.append(one)
        return truly(one, other)

    monkeypatch.setattr(identities.hmac, "compare_digest", compare)
    house = Identities(Settings(api_keys=tuple(keys)))
    with contextlib.suppress(NotAuthenticated):
        house.admit(shown, peer_is_loopback=True)
    assert compared == [key.sha256 for key in keys]


def test_an_unknown_role_stops_the_start_and_is_not_shown():
    """It may be a part of a key, where the name before it was forgotten."""
    with pytest.raises(ConfigurationError, match="entry 1") as refused:
        Identities(holder(roles=("queen",)))
    assert "queen" not in refused.value.text


@pytest.mark.parametrize("role", [*GRANTS, "unknown"])
def test_a_role_may_do_what_the_table_grants_and_nothing_else(role):
    principal = Principal(user="u", workspace="w", roles=(role,), proof="api_key")
    for right in ("use", "read", "manage", "administer"):
        if right in GRANTS.get(role, ()):
            check(principal, right)
        else:
            with pytest.raises(Forbidden):
                check(principal, right)
