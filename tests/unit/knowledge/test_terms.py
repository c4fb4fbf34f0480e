"""Words become terms that do not depend on accents, capitals and endings."""

from __future__ import annotations

import unicodedata

import pytest

from dimora.knowledge.terms import question_terms, terms_of


@pytest.mark.parametrize(
    "words",
    [
        "contratto contratti CONTRATTO",
        "contract contracts",
        "contrato contratos",
        "fattura fatture",
        "factura facturas",
        "invoice invoices",
        "città citta CITTÀ",
        "habitación habitacion",
        "perché PERCHE",
    ],
)
def test_forms_of_one_word_are_one_term(words: str):
    assert len(set(terms_of(words))) == 1
    assert terms_of(unicodedata.normalize("NFD", words)) == terms_of(words)


def test_short_words_and_numbers_stay_whole():
    assert terms_of("Art. 12-bis, A4 e 2024s") == ["art", "12", "bis", "a4", "e", "2024s"]


def test_terms_have_nothing_a_tokenizer_would_part():
    for code in range(0x20, 0x2FFFF, 7):
        for term in terms_of(f"a{chr(code)}b"):
            assert not any(c.isascii() and not c.isalnum() for c in term)
            assert term


def test_a_question_has_each_of_its_telling_words_once():
    found = question_terms("Quanto costa la casa, la casa nuova?")
    assert found == ["quant", "cost", "casa", "nuov"]
    assert question_terms("what is this?") == ["what", "is", "this"]
    assert question_terms("?!") == []
