"""The tables of tools in the settings, read with errors that name what is wrong."""

from __future__ import annotations

import pytest

from dimora.core.errors import ConfigurationError
from dimora.core.settings import explain, load_settings


def settings_of(tmp_path, text: str):
    (tmp_path / "dimora.toml").write_text(text)
    return load_settings(environ={"DIMORA_HOME": str(tmp_path)})


def test_tables_are_read_and_their_keys_are_not_shown(tmp_path):
    text = '[[tools]]\nkind = "http"\nname = "lamp"\ntrusted = true\n'
    text += 'headers = { Authorization = "Bearer canary-4711" }\n'
    settings, sources = settings_of(tmp_path, text)
    (table,) = settings.tools
    assert (table.kind, table.name, table.trusted) == ("http", "lamp", True)
    assert table.values == {"headers": {"Authorization": "Bearer canary-4711"}}
    (row,) = [r for r in explain(settings, sources) if r.name == "tools"]
    assert row.value == "lamp"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('tools = "x"', "tables"),
        ('[[tools]]\nname = "a"', "[0].kind"),
        ('[[tools]]\nkind = "http"', "[0].name"),
        ('[[tools]]\nkind = "http"\nname = "a__b"', "[0].name"),
        ('[[tools]]\nkind = "http"\nname = "A b"', "[0].name"),
        ('[[tools]]\nkind = "http"\nname = "a"\ntrusted = "yes"', "[0].trusted"),
        ('[[tools]]\nkind = "x"\nname = "a"\n[[tools]]\nkind = "x"\nname = "a"', "'a'"),
    ],
)
def test_a_table_that_is_wrong_is_named(tmp_path, text, named):
    with pytest.raises(ConfigurationError) as caught:
        settings_of(tmp_path, text)
    assert "tools" in caught.value.message
    assert named in caught.value.message
