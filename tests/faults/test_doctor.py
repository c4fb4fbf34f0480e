"""What `dimora doctor` says of a house that is in order, and of one that is not."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import environment, run_dimora
from tests.faults.site import Reply

SECRET = "geheim-und-lang"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    path.mkdir(mode=0o700)
    return path


def examine(home: Path, *arguments: str, **settings: str) -> tuple[int, dict[str, dict[str, str]]]:
    settings = {"SSL_CERT_FILE": ""} | settings
    done = run_dimora("doctor", "--json", *arguments, home=home, check=False, **settings)
    assert SECRET not in done.stdout + done.stderr
    return done.returncode, {one["what"]: one for one in json.loads(done.stdout)}


def test_a_house_in_order_is_said_to_be_so(home):
    done = run_dimora("doctor", home=home, SSL_CERT_FILE="")
    assert done.stdout.splitlines()[-1] == "all in order"
    assert "WRONG" not in done.stdout
    for what in ("dimora", "memory", "models", "engine llama_cpp", "toolchain", "proxy", "server"):
        assert any(f" {what} " in line for line in done.stdout.splitlines()), what


@pytest.mark.parametrize("command", ["list", "doctor", "ps"])
def test_whatever_comes_first_makes_a_home_for_its_owner_alone(tmp_path, command):
    home = tmp_path / "some" / "home"
    run_dimora(command, home=home, SSL_CERT_FILE="")
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    _, found = examine(home)
    assert found["home"]["verdict"] == "right"


def test_each_trouble_is_named_with_what_to_do(home, tmp_path):
    home.chmod(0o755)
    code, found = examine(
        home,
        DIMORA_HOST="0.0.0.0:1",
        DIMORA_ENGINE="openvino",
        DIMORA_CERTIFICATES=str(tmp_path / "missing.pem"),
        DIMORA_LLAMA_SERVER="/nowhere/llama-server",
        HTTPS_PROXY=f"http://me:{SECRET}@proxy.example:3128",
        DIMORA_REGISTRY_CREDENTIALS=f"a.example=me:{SECRET}",
        DIMORA_HUB_TOKEN=SECRET,
    )
    assert code == 1
    wrong = {what for what, one in found.items() if one["verdict"] == "wrong"}
    assert {"door", "certificates", "llama-server"} <= wrong
    assert found["home"]["verdict"] == "note" and "chmod 700" in found["home"]["hint"]
    assert "proxy.example:3128" in found["proxy"]["says"]
    assert all(found[what]["hint"] for what in wrong)


def test_where_a_setting_comes_from_is_told(home):
    (home / "dimora.toml").write_text('no_proxy = ["inner.example"]\n')
    done = run_dimora(
        "doctor", home=home, SSL_CERT_FILE="", HTTPS_PROXY="http://proxy.example:3128"
    )
    (line,) = (line for line in done.stdout.splitlines() if "proxy.example" in line)
    assert "HTTPS_PROXY" in line and "inner.example" in line


def test_it_looks_at_its_own_settings_beside_a_running_server(make_server, home):
    server = make_server(DIMORA_ENGINE="echo")
    code, found = examine(home, DIMORA_HOST=f"127.0.0.1:{server.port}")
    assert code == 0
    assert found["server"]["says"].startswith("running, dimora/")
    assert found["models"]["says"].endswith(str(home / "models"))


def test_nothing_outside_is_asked(home, tmp_path):
    strace = shutil.which("strace")
    if strace is None:
        if os.environ.get("CI"):
            pytest.fail("strace is needed in CI")
        pytest.skip("strace is not installed")
    trace = tmp_path / "trace"
    subprocess.run(
        [
            *(strace, "-f", "-qq", "--seccomp-bpf", "-e", "trace=connect,sendto", "-o", str(trace)),
            *(sys.executable, "-m", "dimora", "doctor"),
        ],
        env=environment(home, DIMORA_REGISTRIES="a.example", DIMORA_HUB_TOKEN=SECRET),
        stdout=subprocess.DEVNULL,
        timeout=120,
        check=True,
    )
    calls = [line for line in trace.read_text().splitlines() if "AF_INET" in line]
    assert [call for call in calls if "127.0.0.1" not in call] == []
    assert len(calls) <= 1, "only whether a server runs here is asked"


def test_with_reach_every_host_is_knocked_at_as_a_pull_would(open_site, authority, home):
    trusted = open_site(lambda _: Reply(401), tls=authority.context("127.0.0.1"))
    plain = open_site(lambda _: Reply())
    ill = open_site(lambda _: Reply(503))
    hosts = {
        "DIMORA_REGISTRIES": f"{trusted.key},{ill.key},127.0.0.1:1",
        "DIMORA_HUB_ENDPOINT": plain.url,
        "DIMORA_REGISTRY_CREDENTIALS": f"{trusted.key}=me:{SECRET}",
    }
    code, found = examine(home, "--reach", DIMORA_CERTIFICATES=str(authority.certificates), **hosts)
    assert code == 1
    assert "answers in" in found[f"reach {trusted.key}"]["says"]
    assert "answers in" in found[f"reach {plain.key}"]["says"]
    assert "503" in found[f"reach {ill.key}"]["says"]
    assert found["reach 127.0.0.1:1"]["verdict"] == "wrong"
    assert SECRET not in str(trusted.asked), "whether it can be reached needs no proof"
    _, found = examine(home, "--reach", **hosts)
    untrusted = found[f"reach {trusted.key}"]
    assert untrusted["verdict"] == "wrong"
    assert "not trusted" in untrusted["says"] and "certificates" in untrusted["hint"]


def test_with_reach_a_dead_proxy_is_named(home):
    _, found = examine(
        home, "--reach", DIMORA_REGISTRIES="a.example", HTTPS_PROXY="http://127.0.0.1:1"
    )
    told = found["reach a.example"]
    assert told["verdict"] == "wrong" and "proxy" in told["says"]
