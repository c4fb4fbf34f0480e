"""What the JavaScript clients need."""

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
