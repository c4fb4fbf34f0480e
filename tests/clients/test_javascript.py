"""The JavaScript clients, as npm gives them."""

from __future__ import annotations

import os
import subprocess

import pytest


@pytest.mark.parametrize("client", ["ollama", "openai"])
def test_the_javascript_client_works_unmodified(client, packages, server):
    result = subprocess.run(
        ["node", "--test", f"{client}.test.mjs"],
        cwd=packages,
        env=os.environ | {"DIMORA_URL": server.url},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
