"""The address that is asked: on the host of the settings, whatever a model writes."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from dimora.core.errors import BadRequest, ConfigurationError
from dimora.core.tool_tables import ToolTable
from dimora.tools import http

PARAMETERS = {
    "room": {"type": "text"},
    "level": {"type": "integer", "maximum": 100, "optional": True},
}


def table(**values) -> ToolTable:
    values = {"description": "d", "parameters": PARAMETERS, **values}
    return ToolTable(kind="http", name="lamp", values=values)


LAMP = http.read(
    table(
        url="http://lamp.example:8080/rooms/{room}/light?by={room}",
        method="PUT",
        json={"room": "{room}", "level": "{level}", "note": "in {room}", "fixed": [1, None]},
    )
)


@pytest.mark.parametrize(
    "room",
    ["@evil.example", "x?y=1#z", "a&by=b", "è", "a b", "%2e%2e", "..."],
)
def test_no_value_leaves_its_place_in_the_address(room):
    parts = urlsplit(LAMP.address({"room": room}))
    assert parts.netloc == "lamp.example:8080"
    assert parts.path.count("/") == 3
    assert parts.path.startswith("/rooms/") and parts.path.endswith("/light")
    assert parts.query.count("=") == 1
    assert parts.fragment == ""


@pytest.mark.parametrize("room", ["", ".", "..", "a/b", "../../admin", "//evil", "..\\x", "a\nb"])
def test_a_value_that_would_change_the_path_is_refused(room):
    with pytest.raises(BadRequest):
        LAMP.address({"room": room})


@pytest.mark.parametrize("word", ["a/b", "../../admin", "..\\x", "a\nb", "."])
def test_behind_the_path_slashes_lead_nowhere_and_are_let_through(word):
    search = http.read(table(url="http://h/find?q={room}#{room}"))
    assert search.address({"room": word}).startswith("http://h/find?q=")


@pytest.mark.parametrize(
    ("url", "values"),
    [
        ("http://h/v1/{room}{other}/x", {"room": ".", "other": "."}),
        ("http://h/v1/.{room}/x", {"room": "."}),
        ("http://h/v1/%2e{room}/x", {"room": "."}),
        ("http://h/v1/{kind}{room}", {"kind": "lamps/", "room": ".."}),
    ],
)
def test_no_part_of_the_path_becomes_dots_that_lead_up(url, values):
    more = {"other": {"type": "text"}, "kind": {"type": "choice", "choices": ["lamps/"]}}
    address = http.read(table(url=url, parameters={**PARAMETERS, **more}))
    with pytest.raises(BadRequest):
        address.address(values)
    assert address.address({**values, "room": "a"}).startswith("http://h/v1/")


def test_a_choice_of_the_settings_may_hold_slashes_in_the_path():
    kinds = {"kind": {"type": "choice", "choices": ["lamps/hall"]}}
    address = http.read(table(url="http://h/{kind}", parameters=kinds))
    assert address.address({"kind": "lamps/hall"}) == "http://h/lamps%2Fhall"


def test_a_body_keeps_types_and_escapes_and_leaves_out_what_was_not_given():
    assert LAMP.body({"room": 'x"}', "level": "7"}) == (
        b'{"room":"x\\"}","level":7,"note":"in x\\"}","fixed":[1,null]}'
    )
    assert LAMP.body({"room": "r"}) == b'{"room":"r","note":"in r","fixed":[1,null]}'


@pytest.mark.parametrize(
    "url",
    [
        "http://{room}/x", "http://a.{room}.example/x", "ftp://h/x", "file:///etc/passwd", "/x",
        "http://u:{room}@h/", "http://h:{level}/", "{room}", "http:///x", "http://h/{nobody}",
    ],
)  # fmt: skip
def test_an_address_whose_host_is_not_fixed_stops_the_start(url):
    with pytest.raises(ConfigurationError, match="'lamp'"):
        http.read(table(url=url))


def test_an_unknown_method_and_an_unknown_key_are_named():
    for values, named in (({"method": "TRACE"}, "method"), ({"proxy": "x"}, "proxy")):
        with pytest.raises(ConfigurationError, match=named):
            http.read(table(url="http://h/", **values))
