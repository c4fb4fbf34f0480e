"""A process that was told what it may not do cannot do it."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "deed",
    [
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        "import socket; socket.getaddrinfo('localhost', 80)",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.system('true')",
        "import pickle; pickle.loads(pickle.dumps(print))",
    ],
)
def test_connections_programs_and_pickles_are_forbidden(deed):
    script = f"from dimora.models.converting.run_converter import forbid; forbid('a guest'); {deed}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "PermissionError: a guest may not do this" in done.stderr
