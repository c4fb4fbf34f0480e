"""Italian, Spanish and English are told apart."""

from __future__ import annotations

import pytest

from dimora.core.languages import detect_language

TEXTS = {
    "it": [
        "Il contratto decorre dal primo gennaio e può essere disdetto con tre mesi di preavviso.",
        "Grazie mille, ci vediamo domani!",
        "Dove si trova la stazione più vicina?",
        "Non funziona.",
        "Fattura n. 12 del 3 maggio: totale dovuto entro trenta giorni dalla data della fattura.",
    ],
    "es": [
        "El contrato empieza el primero de enero y puede terminarse con tres meses de aviso.",
        "¿Dónde está la estación más cercana?",
        "Muchas gracias por todo, hasta mañana.",
        "No funciona muy bien.",
        "Factura número 12 del 3 de mayo: el total debe pagarse en treinta días desde la fecha.",
    ],
    "en": [
        "The contract begins on the first of January and may be ended with three months' notice.",
        "Where is the nearest station?",
        "Thanks a lot, see you tomorrow!",
        "It does not work.",
        "def main():\n    # read the file and return what is in it\n    return 1",
    ],
}


@pytest.mark.parametrize(("language", "text"), [(k, t) for k, v in TEXTS.items() for t in v])
def test_the_language_of_a_text_is_found(language, text):
    assert detect_language(text) == language


def test_where_no_word_speaks_the_default_stands():
    assert detect_language("12 345 !!", "it") == "it"
    assert detect_language("", "es") == "es"


def test_a_long_text_is_judged_by_more_than_its_beginning():
    text = "XK-7 " * 3000 + TEXTS["it"][0] * 200
    assert detect_language(text) == "it"
