"""What is checked before a server starts."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dimora.core.addresses import Address
from dimora.core.api_keys import ApiKey
from dimora.core.errors import ConfigurationError
from dimora.core.settings import Settings
from dimora.server.serve import check_bind

KEYS = (ApiKey(user="anna", sha256="0"),)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.9.9.9"])
def test_a_loopback_bind_needs_no_keys(host):
    check_bind(Settings(host=Address(host, 1)), {})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "dimora.example"])
def test_a_wider_bind_without_keys_is_refused_with_its_origin_and_its_mending(host):
    with pytest.raises(ConfigurationError) as caught:
        check_bind(Settings(host=Address(host, 1)), {"host": "$OLLAMA_HOST"})
    assert host in caught.value.message
    assert "$OLLAMA_HOST" in caught.value.message
    assert "DIMORA_API_KEYS" in caught.value.hint


def test_a_wider_bind_with_keys_may_start():
    check_bind(Settings(host=Address("0.0.0.0", 1), api_keys=KEYS), {})


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_server_may_open_as_many_files_as_it_is_granted():
    program = (
        "import resource; kind = resource.RLIMIT_NOFILE; resource.setrlimit(kind, (200, 900));"
        "from dimora.server.serve import raise_file_limit as ask;"
        "print(ask(), ask(), resource.getrlimit(kind))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "900 900 (900, 900)\n", done.stderr
