"""What goes wrong under a running server costs somebody an honest error, and nobody their data."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import os
import signal
import socket
import time
import urllib.request

import psutil
import pytest

MODEL = "smollm2:135m"
ENGINES = ["llama_cpp", "openvino"]
# Greedily, so small a model never finds an end to it.
ENDLESS = {
    "model": MODEL,
    "prompt": "one, two, three, one, two, three, one, two,",
    "raw": True,
    "options": {"num_predict": 3000, "temperature": 0},
}


def post(server, path: str, body, timeout: float = 60):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout)
    connection.request("POST", path, data)
    return connection, connection.getresponse()


def ask(server, path: str, body, timeout: float = 60) -> tuple[int, dict]:
    connection, answer = post(server, path, body, timeout)
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text)


def generate(server, **more) -> tuple[int, dict]:
    options = {"num_predict": 4, "temperature": 0} | more.pop("options", {})
    body = {"model": MODEL, "prompt": "Hello", "stream": False, "options": options} | more
    return ask(server, "/api/generate", body)


def workers(server) -> list[psutil.Process]:
    """Those that live: one that has just ended may be there still, without its command line."""
    found = []
    for process in psutil.Process(server.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "dimora.runtime.worker" in " ".join(process.cmdline()):
                found.append(process)
    return found


def wait_for_words(answer) -> None:
    """Read a stream up to the first words; places in the queue come before them."""
    while not (told := json.loads(answer.readline())).get("response"):
        assert told["done"] is False, told


def wait_until(condition, seconds: float) -> float:
    """Seconds until the condition held; fails when it does not in time."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if condition():
            return time.monotonic() - started
        time.sleep(0.02)
    pytest.fail(f"did not happen within {seconds} s")


def running(server) -> list[dict]:
    with urllib.request.urlopen(f"{server.url}/api/ps", timeout=10) as answer:
        return json.load(answer)["models"]


def active(server) -> float:
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as answer:
        told = answer.read().decode()
    return sum(
        float(line.rpartition(" ")[2])
        for line in told.splitlines()
        if line.startswith("dimora_model_active_requests{")
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_a_killed_worker_is_an_error_within_two_seconds_and_one_reload(make_server, engine):
    server = make_server(DIMORA_ENGINE=engine)
    connection, answer = post(server, "/api/generate", ENDLESS)
    assert answer.status == 200
    wait_for_words(answer)
    (worker,) = workers(server)
    os.kill(worker.pid, signal.SIGKILL)
    killed = time.monotonic()
    last = answer.read().splitlines()[-1]
    assert time.monotonic() - killed < 2
    connection.close()
    assert "unexpectedly stopped" in json.loads(last)["error"]
    assert generate(server)[0] == 200
    (again,) = workers(server)
    assert again.pid != worker.pid


def test_a_killed_worker_is_a_real_status_when_nothing_was_sent(make_server):
    server = make_server(DIMORA_ENGINE="llama_cpp")
    generate(server)
    (worker,) = workers(server)
    os.kill(worker.pid, signal.SIGSTOP)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answer = pool.submit(generate, server)
        wait_until(lambda: active(server) == 1, 5)
        os.kill(worker.pid, signal.SIGKILL)
        status, body = answer.result(10)
    assert status == 500
    assert "unexpectedly stopped" in body["error"]


@pytest.mark.parametrize("engine", ENGINES)
def test_generation_stops_within_a_second_when_the_client_leaves(make_server, engine):
    server = make_server(DIMORA_ENGINE=engine)
    connection, answer = post(server, "/api/generate", ENDLESS)
    wait_for_words(answer)
    assert active(server) == 1
    connection.sock.shutdown(socket.SHUT_RDWR)
    connection.close()
    wait_until(lambda: active(server) == 0, 1)
    _assert_quiet(server)


@pytest.mark.parametrize("engine", ENGINES)
def test_prompt_processing_stops_within_a_second_when_the_client_leaves(make_server, engine):
    server = make_server(DIMORA_ENGINE=engine, DIMORA_CONTEXT_LENGTH="8192")
    generate(server)
    prompt = " ".join(f"word{i}" for i in range(2600))
    body = {"model": MODEL, "prompt": prompt, "raw": True, "options": {"num_predict": 1}}
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        data = json.dumps(body).encode()
        head = f"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n"
        raw.sendall(head.encode() + b"\r\n" + data)
        wait_until(lambda: active(server) == 1, 10)
        time.sleep(0.5)
    wait_until(lambda: active(server) == 0, 1)
    _assert_quiet(server)


def _assert_quiet(server) -> None:
    """The worker itself stopped computing, and not only the server listening to it."""
    (worker,) = workers(server)
    family = [worker, *worker.children(recursive=True)]

    def busy_seconds() -> float:
        return sum(sum(p.cpu_times()[:2]) for p in family)

    def is_quiet() -> bool:
        before = busy_seconds()
        time.sleep(0.6)
        return busy_seconds() - before < 0.2

    time.sleep(1.0)
    # Beside other busy programs the batch that is computed takes longer.
    wait_until(is_quiet, 3)


def test_five_hundred_connections_at_once_are_all_answered(make_server):
    server = make_server(DIMORA_MAX_QUEUE="60")
    generate(server)

    def one(number: int) -> int:
        if number % 5 == 0:
            return generate(server, options={"num_predict": 2})[0]
        with urllib.request.urlopen(f"{server.url}/api/tags", timeout=60) as answer:
            return answer.status

    with concurrent.futures.ThreadPoolExecutor(500) as pool:
        statuses = list(pool.map(one, range(500)))
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= 400
    assert generate(server)[0] == 200


def test_a_full_queue_is_a_503_that_says_when_to_come_back(make_server):
    server = make_server(DIMORA_MAX_QUEUE="1", DIMORA_NUM_PARALLEL="1", DIMORA_ENGINE="llama_cpp")
    generate(server)
    slow = {"model": MODEL, "prompt": "Tell a long story", "options": {"num_predict": 500}}
    first, answer = post(server, "/api/generate", slow)
    wait_for_words(answer)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        second = pool.submit(generate, server)
        wait_until(lambda: any(m["queued"] == 1 for m in running(server)), 5)
        third, refused = post(server, "/api/generate", slow)
        assert refused.status == 503
        assert int(refused.getheader("Retry-After")) >= 1
        assert "server busy" in json.loads(refused.read())["error"]
        third.close()
        first.close()
        assert second.result(30)[0] == 200


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "missing request body"),
        (b'{"model": "smollm2:135m", "prompt": ', ""),
        (b'{"model": "smollm2:135m", "prompt": "\xff\xfe"}', ""),
        (b"[]", ""),
        (b'{"model": 3, "prompt": "x"}', "model"),
        (b'{"model": "smollm2:135m", "prompt": ["x"]}', "prompt"),
        (b'{"model": "smollm2:135m", "prompt": "x", "options": {"top_k": "x"}}', "top_k"),
        (b'{"model": "smollm2:135m", "prompt": "x", "options": []}', "options"),
        (b'{"model": "smollm2:135m", "prompt": "x", "keep_alive": {}}', ""),
        (b'{"model": "smollm2:135m", "prompt": "x", "format": "xml"}', "format"),
    ],
)
def test_bad_bodies_are_400_with_a_word_on_what_is_wrong(server, body, words):
    status, answer = ask(server, "/api/generate", body)
    assert status == 400
    assert words in answer["error"]


def test_a_prompt_of_ten_megabytes_is_refused_quickly_and_clearly(server):
    started = time.monotonic()
    status, answer = ask(
        server, "/api/generate", {"model": MODEL, "prompt": "word " * 2_000_000, "stream": False}
    )
    assert status == 400
    assert "longer than the context length" in answer["error"]
    assert time.monotonic() - started < 10
    assert generate(server)[0] == 200


def test_a_body_above_the_limit_is_refused_without_reading_it(make_server):
    server = make_server(DIMORA_MAX_BODY="1M")
    status, answer = ask(server, "/api/generate", {"model": MODEL, "prompt": "x" * 2_000_000})
    assert status == 413
    assert answer["error"]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_corrupt_model_is_named_by_its_digest_and_no_engine_sees_it(make_server, engine):
    server = make_server(DIMORA_ENGINE=engine)
    before = workers(server)
    blobs = server.home / "models" / "blobs"
    (blob,) = [b for b in blobs.iterdir() if b.name.startswith("sha256-b179c952")]
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 0xFF
    blob.unlink()
    blob.write_bytes(data)
    status, answer = generate(server)
    assert status == 400
    assert "sha256:b179c9523d0e" in answer["error"]
    assert workers(server) == before
    blob.write_bytes(data[:1_000_000])
    status, answer = generate(server)
    assert status == 400
    assert "b179c9523d0e" in answer["error"]


def test_a_process_is_ready_whenever_no_model_is_in_memory(make_server):
    server = make_server(DIMORA_ENGINE="llama_cpp")
    (ready,) = workers(server)
    assert generate(server)[0] == 200
    assert workers(server) == [ready]
    generate(server, keep_alive=0)
    wait_until(lambda: [p for p in workers(server) if p != ready], 10)
    wait_until(lambda: ready not in workers(server), 10)
    assert len(workers(server)) == 1


def test_a_process_that_was_ready_and_is_gone_is_not_missed(make_server):
    server = make_server(DIMORA_ENGINE="llama_cpp")
    (ready,) = workers(server)
    ready.kill()
    wait_until(lambda: ready.status() == psutil.STATUS_ZOMBIE, 5)
    assert generate(server)[0] == 200
    (worker,) = workers(server)
    assert worker != ready


def test_the_server_stops_at_once_when_asked_and_leaves_no_process(make_server):
    server = make_server()
    connection, answer = post(server, "/api/generate", ENDLESS)
    wait_for_words(answer)
    family = psutil.Process(server.process.pid).children(recursive=True)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(10) is not None
    connection.close()
    _, alive = psutil.wait_procs(family, 5)
    assert alive == []


def test_workers_do_not_outlive_a_killed_server(make_server):
    server = make_server()
    generate(server)
    family = psutil.Process(server.process.pid).children(recursive=True)
    server.process.kill()
    _, alive = psutil.wait_procs(family, 5)
    assert alive == []
