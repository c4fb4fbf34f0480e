"""The way out: who may be asked, where redirects lead, and who is shown which secret."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dimora.core.errors import ConfigurationError, DimoraError, Forbidden, SourceFailed
from dimora.models.remote import network as network_file
from dimora.models.remote.access import SourceAccess
from dimora.models.remote.addresses import kind_of_address
from dimora.models.remote.network import Answer, Interrupted, Network
from tests.faults.site import Asked, Reply

SECRET = "geheim-und-lang"
# Loopback addresses that the tests take for public ones.
PUBLIC = "127.0.9.9"


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What hosts resolve to, each answer once, the last for ever; others resolve to nothing."""
    known: dict[str, list[str]] = {}

    async def look_up(place: object) -> tuple[str, ...]:
        host = place.host  # type: ignore[attr-defined]
        if kind_of_address(host) != "refused":
            return (host,)
        if host not in known:
            raise Interrupted("no such host")
        answers = known[host]
        return tuple((answers.pop(0) if len(answers) > 1 else answers[0]).split())

    monkeypatch.setattr(network_file, "_look_up", look_up)
    monkeypatch.setattr(
        network_file,
        "kind_of_address",
        lambda address: "public" if address == PUBLIC else kind_of_address(address),
    )
    return known


def hello(asked: Asked) -> Reply:
    return Reply(body=b"hello")


def redirect(location: str, status: int = 307) -> Callable[[Asked], Reply]:
    return lambda asked: Reply(status, headers={"Location": location})


async def ask(access: SourceAccess, url: str, **how: object) -> Answer:
    return await Network(access).read("GET", url, limit_bytes=10_000, **how)  # type: ignore[arg-type]


async def test_a_registry_of_the_settings_may_lie_on_this_machine(open_site):
    here = open_site(hello)
    found = await ask(SourceAccess(registries=(here.key,)), f"{here.url}/v2/")
    assert (found.status, found.body) == (200, b"hello")
    assert here.asked[0].headers["host"] == here.key


@pytest.mark.parametrize(
    "registries", [(), ("registry.example.org",), ("127.0.0.1",), ("127.0.0.1:1",), ("*",)]
)
async def test_a_registry_that_is_not_in_the_settings_is_not_asked(open_site, registries):
    here = open_site(hello)
    with pytest.raises(Forbidden) as caught:
        await ask(SourceAccess(registries=registries), here.url, insecure=True)
    assert "registries" in caught.value.hint
    assert here.asked == []


@pytest.mark.parametrize(
    "host",
    [
        *("169.254.169.254", "168.63.129.16", "0.0.0.0", "224.0.0.1", "[::]", "[fe80::1]"),
        *("[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fd00:ec2::254]"),
    ],
)
async def test_no_setting_opens_an_address_that_is_nobodys_registry(host):
    for url in (f"http://{host}/", f"https://{host}/"):
        access = SourceAccess(registries=(host, "*"))
        with pytest.raises(Forbidden):
            await ask(access, url, insecure=True)


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1"])
async def test_addresses_in_odd_dress_are_refused(open_site, host):
    here = open_site(hello)
    with pytest.raises(DimoraError):
        await ask(
            SourceAccess(registries=("*", f"{host}:{here.port}")), f"http://{host}:{here.port}/"
        )
    assert here.asked == []


async def test_plain_http_is_for_loopback_or_by_word(open_site, names):
    here = open_site(hello, host="127.0.9.9")
    names["registry.example"] = [PUBLIC]
    access = SourceAccess(registries=(f"registry.example:{here.port}",))
    url = f"http://registry.example:{here.port}/"
    with pytest.raises(Forbidden, match="without encryption") as caught:
        await ask(access, url)
    assert "--insecure" in caught.value.hint
    assert here.asked == []
    assert (await ask(access, url, insecure=True)).status == 200


async def test_a_host_is_looked_up_once_and_that_address_is_asked(open_site, names):
    here = open_site(hello, host=PUBLIC)
    # A second look-up would lead to the secrets of a cloud's machine.
    names["registry.example"] = [PUBLIC, "169.254.169.254"]
    access = SourceAccess(registries=(f"registry.example:{here.port}",))
    found = await ask(access, f"http://registry.example:{here.port}/v2/", insecure=True)
    assert found.status == 200
    assert here.asked[0].headers["host"] == f"registry.example:{here.port}"
    assert names["registry.example"] == ["169.254.169.254"]


async def test_one_bad_address_among_good_ones_spoils_a_host(open_site, names):
    here = open_site(hello, host=PUBLIC)
    names["registry.example"] = [f"{PUBLIC} 169.254.169.254"]
    access = SourceAccess(registries=(f"registry.example:{here.port}",))
    with pytest.raises(Forbidden):
        await ask(access, f"http://registry.example:{here.port}/", insecure=True)
    assert here.asked == []


async def test_an_address_that_does_not_answer_is_passed_over(open_site, names):
    here = open_site(hello, host=PUBLIC)
    names["registry.example"] = [f"127.0.0.3 {PUBLIC}"]
    access = SourceAccess(registries=(f"registry.example:{here.port}",))
    assert (await ask(access, f"http://registry.example:{here.port}/", insecure=True)).status == 200


async def test_tls_asks_for_the_name_of_the_host_and_not_for_its_address(
    open_site, names, authority
):
    here = open_site(hello, host=PUBLIC, tls=authority.context("registry.example"))
    names["registry.example"] = names["other.example"] = [PUBLIC]
    access = SourceAccess(
        registries=(f"registry.example:{here.port}", f"other.example:{here.port}"),
        certificates=str(authority.certificates),
    )
    assert (await ask(access, f"https://registry.example:{here.port}/")).body == b"hello"
    with pytest.raises(SourceFailed, match="not trusted") as caught:
        await ask(access, f"https://other.example:{here.port}/")
    assert "certificates" in caught.value.hint


async def test_a_private_authority_is_trusted_only_when_the_settings_say_so(open_site, authority):
    here = open_site(hello, tls=authority.context("127.0.0.1"))
    with pytest.raises(SourceFailed, match="not trusted"):
        await ask(SourceAccess(registries=(here.key,)), here.url, insecure=True)
    trusted = SourceAccess(registries=(here.key,), certificates=str(authority.certificates))
    assert (await ask(trusted, here.url)).status == 200


async def test_certificates_that_cannot_be_used_are_a_matter_of_settings(open_site, tmp_path: Path):
    here = open_site(hello)
    (tmp_path / "no.pem").write_text("nothing")
    for wrong in (tmp_path / "missing.pem", tmp_path / "no.pem"):
        access = SourceAccess(registries=(here.key,), certificates=str(wrong))
        with pytest.raises(ConfigurationError, match="certificates") as caught:
            await ask(access, f"https://{here.key}/")
        assert str(tmp_path) not in caught.value.text


async def test_a_redirect_to_a_public_host_over_https_is_followed_without_secrets(
    open_site, names, authority
):
    away = open_site(hello, host=PUBLIC, tls=authority.context("cdn.example"))
    here = open_site(redirect(f"https://cdn.example:{away.port}/blob?signature=x"))
    names["cdn.example"] = [PUBLIC]
    access = SourceAccess(registries=(here.key,), certificates=str(authority.certificates))
    headers = {"Range": "bytes=0-9", "Cookie": SECRET, "Proxy-Authorization": SECRET}
    found = await ask(access, here.url, headers=headers, authorize=f"Bearer {SECRET}")
    assert found.body == b"hello"
    assert here.asked[0].headers["authorization"] == f"Bearer {SECRET}"
    assert SECRET not in str(away.asked)
    assert away.asked[0].headers["range"] == "bytes=0-9"
    assert away.asked[0].headers["host"] == f"cdn.example:{away.port}"


@pytest.mark.parametrize(
    "target",
    [
        *("http://127.0.0.1:{port}/", "http://localhost:{port}/", "https://127.0.0.1:{port}/"),
        *("http://10.0.0.1/", "https://10.0.0.1/", "https://192.168.1.1/", "https://[::1]/"),
        *("https://169.254.169.254/latest/", "https://[::ffff:169.254.169.254]/"),
        *("https://[64:ff9b::a9fe:a9fe]/", "https://[2002:a9fe:a9fe::]/", "https://100.64.0.1/"),
        *("https://0.0.0.0/", "https://168.63.129.16/", "https://[fd00::1]/", "https://224.0.0.1/"),
        *("https://inner.example/", "http://public.example/", "https://public.example@10.0.0.1/"),
        *("https://2852039166/", "https://0xa9.254.169.254/", "file:///etc/passwd", "ftp://a/"),
        *("https://mixed.example/", "gopher://127.0.0.1:{port}/", "https://unknown.example/"),
    ],
)
async def test_a_redirect_into_the_house_is_refused(open_site, names, target):
    names["inner.example"] = ["10.0.0.7"]
    names["public.example"] = [PUBLIC]
    names["mixed.example"] = [f"{PUBLIC} 10.0.0.7"]
    inner = open_site(hello)
    here = open_site(redirect(target.format(port=inner.port)))
    with pytest.raises((Forbidden, SourceFailed)):
        await ask(SourceAccess(registries=(here.key, "*")), here.url, insecure=True)
    assert len(here.asked) == 1
    assert inner.asked == []


async def test_a_redirect_to_another_registry_of_the_settings_is_followed_without_secrets(
    open_site,
):
    there = open_site(hello)
    here = open_site(redirect(f"{there.url}/x", 302))
    access = SourceAccess(registries=(here.key, there.key))
    assert (await ask(access, here.url, authorize=SECRET)).status == 200
    assert SECRET not in str(there.asked)


async def test_a_redirect_on_the_same_origin_keeps_its_secrets(open_site):
    def answer(asked: Asked) -> Reply:
        return hello(asked) if asked.path == "/b" else Reply(308, headers={"Location": "/b"})

    here = open_site(answer)
    await ask(SourceAccess(registries=(here.key,)), f"{here.url}/a", authorize=SECRET)
    assert [a.headers["authorization"] for a in here.asked] == [SECRET, SECRET]


async def test_https_never_becomes_http(open_site, authority):
    plain = open_site(hello)
    here = open_site(redirect(plain.url), tls=authority.context("127.0.0.1"))
    access = SourceAccess(
        registries=(here.key, plain.key), certificates=str(authority.certificates)
    )
    with pytest.raises(Forbidden, match="away from https"):
        await ask(access, here.url, insecure=True)
    assert plain.asked == []


async def test_redirects_in_a_circle_end(open_site):
    here = open_site(redirect("/again"))
    with pytest.raises(SourceFailed, match="more than 10"):
        await ask(SourceAccess(registries=(here.key,)), here.url)
    assert len(here.asked) == 11


async def test_what_is_uploaded_follows_a_redirect_that_keeps_the_method(open_site):
    def answer(asked: Asked) -> Reply:
        return Reply(201) if asked.path == "/b" else Reply(307, headers={"Location": "/b"})

    async def body():
        yield b"one "
        yield b"two"

    here = open_site(answer)
    access = SourceAccess(registries=(here.key,))
    for content in (b"one two", body):
        found = await Network(access).read("PUT", f"{here.url}/a", content=content, limit_bytes=100)
        assert found.status == 201
        assert (here.asked[-1].method, here.asked[-1].body) == ("PUT", b"one two")


async def test_what_is_uploaded_is_not_sent_where_a_redirect_asks_only_to_look(open_site):
    def answer(asked: Asked) -> Reply:
        return hello(asked) if asked.path == "/b" else Reply(303, headers={"Location": "/b"})

    here = open_site(answer)
    network = Network(SourceAccess(registries=(here.key,)))
    await network.read(
        "POST", f"{here.url}/a", content=b"x", headers={"Content-Type": "a/b"}, limit_bytes=100
    )
    last = here.asked[-1]
    assert (last.method, last.body, last.headers.get("content-type")) == ("GET", b"", None)


async def test_an_answer_that_unpacks_to_too_much_is_cut_off(open_site):
    bomb = gzip.compress(bytes(50_000_000))
    here = open_site(lambda _: Reply(body=bomb, headers={"Content-Encoding": "gzip"}))
    with pytest.raises(SourceFailed, match="more than 10000 bytes"):
        await ask(SourceAccess(registries=(here.key,)), here.url)
    here.answer = lambda _: Reply(body=bytes(10_001))
    with pytest.raises(SourceFailed, match="more than 10000 bytes"):
        await ask(SourceAccess(registries=(here.key,)), here.url)
    here.answer = lambda _: Reply(
        body=gzip.compress(b"x" * 9999), headers={"Content-Encoding": "gzip"}
    )
    assert (await ask(SourceAccess(registries=(here.key,)), here.url)).body == b"x" * 9999
    here.answer = lambda _: Reply(body=b"no", headers={"Content-Encoding": "gzip"})
    with pytest.raises(SourceFailed):
        await ask(SourceAccess(registries=(here.key,)), here.url)


async def test_a_server_that_falls_silent_is_given_up(open_site):
    silence = threading.Event()
    here = open_site(lambda _: Reply(body=b"hello", pause=lambda: silence.wait(20)))
    with pytest.raises(Interrupted, match="stopped sending"):
        await ask(SourceAccess(registries=(here.key,)), here.url, stall_seconds=0.2)
    silence.set()


async def test_a_connection_that_breaks_is_told_in_our_words(open_site):
    here = open_site(lambda _: Reply(body=b"hello", cut=2))
    with pytest.raises(Interrupted, match="broke the connection"):
        await ask(SourceAccess(registries=(here.key,)), f"{here.url}/?signature={SECRET}")


async def test_nobody_listening_is_told_without_the_url():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        key = f"127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(Interrupted, match="cannot be reached") as caught:
            await ask(SourceAccess(registries=(key,)), f"http://{key}/?token={SECRET}")
    assert SECRET not in caught.value.text


@pytest.mark.parametrize(
    "answer",
    [
        redirect(f"http://user:{SECRET}@127.0.0.1/"),
        redirect(f"https://10.0.0.1/?signature={SECRET}"),
        redirect(f"https://unknown.invalid/?signature={SECRET}"),
        redirect(f"http://{SECRET}\\@x y/"),
        redirect(f"/again?signature={SECRET}"),
        lambda _: Reply(body=SECRET.encode() * 1000),
        lambda _: Reply(body=b"x", cut=0, headers={"X-Token": SECRET}),
        lambda _: Reply(200, headers={"Content-Length": SECRET}),
    ],
)
async def test_no_error_tells_a_secret(open_site, names, answer):
    here = open_site(answer)
    access = SourceAccess(registries=(here.key,), proxy=f"http://me:{SECRET}@127.0.0.1:1")
    with pytest.raises(DimoraError) as caught:
        await ask(access, f"{here.url}/?token={SECRET}", authorize=f"Bearer {SECRET}")
    assert SECRET not in caught.value.text
    assert SECRET not in str(caught.value.__cause__)


async def test_the_proxy_is_used_with_its_password_and_finds_the_address(open_site):
    proxy = open_site(hello)
    access = SourceAccess(
        registries=("registry.example:5000",),
        proxy=f"http://me:{SECRET}@{proxy.key}",
    )
    found = await ask(access, "http://registry.example:5000/v2/", insecure=True)
    assert found.body == b"hello"
    (asked,) = proxy.asked
    assert asked.path == "http://registry.example:5000/v2/"
    assert asked.headers["proxy-authorization"].startswith("Basic ")


async def test_behind_a_proxy_redirects_into_the_house_are_refused_by_name(open_site):
    for target in (
        *("https://localhost/", "https://nas/", "https://metadata.google.internal/"),
        *("https://10.0.0.1/", "https://[::1]/", "https://169.254.169.254/", "https://1.1/"),
    ):
        proxy = open_site(redirect(target))
        access = SourceAccess(registries=("registry.example",), proxy=proxy.url)
        with pytest.raises((Forbidden, SourceFailed)):
            await ask(access, "http://registry.example/", insecure=True)
        assert len(proxy.asked) == 1


async def test_hosts_of_no_proxy_and_the_loopback_are_reached_directly(open_site):
    proxy, here = open_site(hello), open_site(lambda _: Reply(body=b"direct"))
    access = SourceAccess(registries=(here.key,), proxy=proxy.url)
    assert (await ask(access, here.url)).body == b"direct"
    assert proxy.asked == []


async def test_a_proxy_that_refuses_is_named_as_the_trouble(open_site):
    proxy = open_site(lambda _: Reply(407, body=SECRET.encode()))
    access = SourceAccess(registries=("registry.example",), proxy=f"http://me:{SECRET}@{proxy.key}")
    with pytest.raises(Interrupted, match="proxy") as caught:
        await ask(access, "https://registry.example/")
    assert SECRET not in caught.value.text
    broken = SourceAccess(registries=("registry.example",), proxy="socks5://127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="proxy"):
        await ask(broken, "https://registry.example/")


async def test_the_environment_of_the_process_changes_nothing(open_site, monkeypatch):
    proxy, here = open_site(hello), open_site(lambda _: Reply(body=b"direct"))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    assert (await ask(SourceAccess(registries=(here.key,)), here.url)).body == b"direct"
