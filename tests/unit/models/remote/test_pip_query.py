"""What pip says is understood; nothing is asked of any index here."""

from __future__ import annotations

from dimora.models.remote.pip_query import IndexAccess, read_access


def test_certificates_proxy_and_passwords_are_read() -> None:
    listing = (
        "global.cert='/etc/ca.pem'\n"
        "global.index-url='https://me:p%40ss@mirror.example/simple'\n"
        "global.extra-index-url='https://a.example/simple\\nhttps://you:pw@b.example:8443/simple'\n"
        "install.proxy='http://proxy.example:3128'\n"
        ":env:.cert='/env/ca.pem'\n"
        "global.timeout='60'\n"
    )
    assert read_access(listing) == IndexAccess(
        certificates=("/etc/ca.pem", "/env/ca.pem"),
        proxy="http://proxy.example:3128",
        passwords={"mirror.example": ("me", "p@ss"), "b.example": ("you", "pw")},
    )


def test_what_cannot_be_read_is_passed_over() -> None:
    listing = "nonsense\nglobal.cert=unquoted\nglobal.index-url='https://[bad'\n=\n"
    assert read_access(listing) == IndexAccess()
    assert read_access("") == IndexAccess()
