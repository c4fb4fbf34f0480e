from __future__ import annotations

import pytest

from dimora.core.errors import ConfigurationError
from dimora.core.settings import explain, load_settings
from dimora.core.written import Credential, read_credentials, read_hosts, read_proxy, show_proxy


def test_credentials_are_written_in_a_line_in_json_or_as_a_table(tmp_path):
    wanted = {
        "a.example": Credential(user="me", password="p:w=d"),
        "b.example:5000": Credential(token="abc"),
    }
    assert read_credentials("A.example=me:p:w=d, b.example:5000=abc") == wanted
    json = '{"a.example": {"user": "me", "password": "p:w=d"}, "b.example:5000": {"token": "abc"}}'
    assert read_credentials(json) == wanted
    (tmp_path / "dimora.toml").write_text(
        '[registry_credentials]\n"a.example" = {user = "me", password = "p:w=d"}\n'
        '"b.example:5000" = {token = "abc"}\n'
    )
    assert load_settings({}, {"DIMORA_HOME": str(tmp_path)})[0].registry_credentials == wanted


@pytest.mark.parametrize(
    "text",
    [
        "geheim",
        "me:geheim",
        '{"a.example": "geheim"}',
        '{"a.example": {"user": "geheim", "token": "geheim"}}',
        '{"a.example": {"password": "geheim"}}',
        '{"a.example": {"token": "geheim\\n"}}',
        '{"a.example": {"user": "a:b", "password": "geheim"}}',
        '{"a.example": {"secret": "geheim"}}',
        '{"a.example": {"token": "x", "word": "geheim"}}',
        '{"geheim',
    ],
)
def test_a_wrong_credential_is_refused_without_being_shown(tmp_path, text):
    environ = {"DIMORA_HOME": str(tmp_path), "DIMORA_REGISTRY_CREDENTIALS": text}
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, environ)
    assert "geheim" not in caught.value.text
    assert "DIMORA_REGISTRY_CREDENTIALS" in caught.value.text


def test_no_secret_is_shown_with_the_settings(tmp_path):
    environ = {
        "DIMORA_HOME": str(tmp_path),
        "DIMORA_REGISTRY_CREDENTIALS": "a.example=me:geheim",
        "HF_TOKEN": "geheim",
        "HTTPS_PROXY": "http://me:geheim@proxy.example:3128",
    }
    rows = {row.name: row for row in explain(*load_settings({}, environ))}
    assert "geheim" not in str(rows)
    assert rows["registry_credentials"].value == "a.example"
    assert rows["hub_token"].value == "set"
    assert rows["proxy"].value == "http://***@proxy.example:3128"
    assert rows["proxy"].source == "$HTTPS_PROXY"


def test_a_proxy_needs_a_host(tmp_path):
    assert read_proxy("proxy.example:3128") == "http://proxy.example:3128"
    assert show_proxy(read_proxy("https://proxy.example")) == "https://proxy.example"
    environ = {"DIMORA_HOME": str(tmp_path), "HTTPS_PROXY": "ftp://me:geheim@proxy"}
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}, environ)
    assert "geheim" not in caught.value.text


def test_hosts_are_hosts_and_no_urls():
    assert read_hosts("A.example, localhost:5000,*") == ("a.example", "localhost:5000", "*")
    for wrong in ("https://a.example", "a.example/v2", "*.example", "me@a.example"):
        with pytest.raises(ValueError):
            read_hosts(wrong)


def test_a_key_of_ollamas_is_named_by_its_file():
    wanted = {"registry.ollama.ai": Credential(key="~/.ollama/id_ed25519")}
    assert read_credentials("registry.ollama.ai=ed25519:~/.ollama/id_ed25519") == wanted
    assert read_credentials({"registry.ollama.ai": {"key": "~/.ollama/id_ed25519"}}) == wanted
    with pytest.raises(ValueError, match="either"):
        read_credentials({"a.example": {"key": "k", "token": "t"}})
