from __future__ import annotations

from dimora.core.settings import DEFAULT_REGISTRIES, Settings
from dimora.core.written import Credential
from dimora.models.names import DEFAULT_HOST
from dimora.models.remote.access import SourceAccess, access_of


def test_the_registry_that_plain_names_mean_is_allowed():
    assert DEFAULT_HOST in DEFAULT_REGISTRIES
    assert access_of(Settings()).registries == DEFAULT_REGISTRIES


def test_who_names_a_hub_allows_it_and_its_token_is_for_it_alone():
    settings = Settings(hub_endpoint="http://Hub.example:8080/mirror", hub_token="abc")
    access = access_of(settings)
    assert "hub.example:8080" in access.registries
    assert access.credentials == {"hub.example:8080": Credential(token="abc")}
    assert access_of(Settings(hub_token="abc")).authorization_for("huggingface.co") == "Bearer abc"
    assert access_of(Settings(registries=("a.example",))).registries == ("a.example",)


def test_a_credential_is_found_by_the_exact_host():
    access = SourceAccess(credentials={"a.example:5000": Credential(user="me", password="päss")})
    assert access.authorization_for("A.example:5000") == "Basic bWU6cMOkc3M="
    assert access.authorization_for("a.example") is None
    assert access.authorization_for("b.a.example:5000") is None
