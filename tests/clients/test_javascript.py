"""The JavaScript clients, as npm gives them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "js"


@pytest.fixture(scope="session")
def packages() -> Path:
    if shutil.which("npm") is None:
        if os.environ.get("CI"):
            pytest.fail("npm is needed in CI")
        pytest.skip("npm is not installed: the JavaScript clients are not tested")
    if not (HERE / "node_modules" / "openai").is_dir():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=HERE, check=True, timeout=170)
    return HERE


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
