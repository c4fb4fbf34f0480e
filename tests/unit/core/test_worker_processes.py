"""What a worker is told of our environment, and how it ends."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from dimora.core.worker_processes import kill_family, reap, worker_environment


def test_a_worker_is_given_no_keys_and_no_proxies():
    ours = {"PATH": "/bin", "LC_ALL": "C", "DIMORA_API_KEY": "k", "HTTPS_PROXY": "p", "HOME": "/h"}
    given = worker_environment(ours)
    assert {"PATH", "LC_ALL", "HOME"} <= set(given)
    assert not {"DIMORA_API_KEY", "HTTPS_PROXY"} & set(given)


async def test_a_worker_that_does_not_end_is_ended_with_all_it_started():
    program = "import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    await asyncio.wait_for(reap(process, 0), 10)
    assert process.returncode is not None
    kill_family(process.pid)
