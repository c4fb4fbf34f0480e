"""Tells Italian, Spanish and English apart by their commonest words.

Three languages need no model of any language: in running text every third word is one of these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

Language = Literal["it", "es", "en"]
LANGUAGES: tuple[Language, ...] = ("it", "es", "en")

_COMMON: Mapping[Language, frozenset[str]] = {
    "it": frozenset(
        """il lo la gli le un uno una di del dello della dei degli delle da dal dalla dai dalle in
        nel nella nei nelle con su sul sulla per tra fra che chi cui non è e ed o ma se come quando
        dove perché anche più meno molto questo questa questi queste quello quella sono sei siamo
        era erano essere stato stata ha ho hai hanno abbiamo avere si ci vi mi ti al allo alla ai
        agli alle io lui lei noi voi loro suo sua suoi mio mia nostro ogni tutto tutti tutte dopo
        prima già ancora solo così grazie buongiorno ciao fa cosa quindi invece senza sempre
        l dell nell all dall sull c quest""".split()
    ),
    "es": frozenset(
        """el la los las lo un una unos unas de del a al en con por para que quien cual no y e o u
        pero si sí como cuando donde porque también más menos muy este esta estos estas ese esa eso
        aquel son es soy eres somos era eran ser sido está están estaba estoy ha he has han hemos
        haber hay se me te nos les le yo él ella ellos ellas usted ustedes su sus mi mis nuestro
        nuestra cada todo todos todas después antes ya aún todavía solo sólo así gracias buenos
        días hola hace qué entonces sin siempre sobre hasta desde entre según""".split()
    ),
    "en": frozenset(
        """the a an of to in on at by for with from as is are was were be been being am and or but
        if not no that this these those it its he she they we you i his her their our your my me
        him them us which who whom what when where why how there here have has had do does did will
        would can could should may might must shall than then so very more most some any all each
        every about into over under after before up out off because while also only just don
        please thanks hello s t""".split()
    ),
}
# Letters that one of the three has and the others have not.
_LETTERS: Mapping[Language, str] = {"it": "èàòìù", "es": "ñ¿¡áíóú", "en": ""}
_WORD = re.compile(r"[^\W\d_]+")
# A longer text is no clearer than its beginning, middle and end.
_SAMPLE_CHARACTERS = 6000


def detect_language(text: str, default: Language = "en") -> Language:
    """The language most of the text's words speak for; `default` where none does."""
    scores = _scores(text, [word.lower() for word in _WORD.findall(_sample(text))])
    best = max(LANGUAGES, key=lambda language: scores[language])
    return best if scores[best] > 0 and scores[best] > scores[default] else default


def sure_language(text: str) -> Language | None:
    """The language of a text that is running text of one of the three, else None: tables, code and
    other languages have few of these words."""
    words = [word.lower() for word in _WORD.findall(_sample(text))]
    scores = _scores("", words)
    best = max(LANGUAGES, key=lambda language: scores[language])
    second = max(scores[language] for language in LANGUAGES if language != best)
    is_sure = scores[best] >= max(2.0, len(words) / 8) and scores[best] > 1.5 * second
    return best if is_sure else None


def _scores(text: str, words: list[str]) -> dict[Language, float]:
    scores: dict[Language, float] = dict.fromkeys(LANGUAGES, 0.0)
    for word in words:
        speakers = [language for language in LANGUAGES if word in _COMMON[language]]
        for language in speakers:
            scores[language] += 1 / len(speakers)
    lowered = text[:_SAMPLE_CHARACTERS].lower()
    for language, letters in _LETTERS.items():
        scores[language] += 0.5 * sum(lowered.count(letter) for letter in letters)
    return scores


def is_common_word(word: str) -> bool:
    """Whether it is one of the commonest words of any of the three languages."""
    return any(word.lower() in words for words in _COMMON.values())


def _sample(text: str) -> str:
    if len(text) <= _SAMPLE_CHARACTERS:
        return text
    third, middle = _SAMPLE_CHARACTERS // 3, len(text) // 2
    return f"{text[:third]} {text[middle : middle + third]} {text[-third:]}"
