"""Writes invoices in three languages, each with what stands in it; the same for the same seed."""

from __future__ import annotations

import datetime
import random
from typing import Any, NamedTuple

FIELDS = {
    "en": (
        "number:text:number of the invoice",
        "supplier:text:who sends the invoice",
        "customer:text:who has to pay",
        "date:date:date of the invoice",
        "total:number:total to pay",
    ),
    "it": (
        "number:text:numero della fattura",
        "supplier:text:chi emette la fattura",
        "customer:text:chi deve pagare",
        "date:date:data della fattura",
        "total:number:totale da pagare",
    ),
    "es": (
        "number:text:número de la factura",
        "supplier:text:quien emite la factura",
        "customer:text:quien debe pagar",
        "date:date:fecha de la factura",
        "total:number:total a pagar",
    ),
}
_SUPPLIERS = {
    "en": ("Harlow Printing Ltd", "Greenfield Tools", "Baxter & Sons", "Northgate Cleaning"),
    "it": ("Officina Bianchi", "Tipografia Moderna srl", "Falegnameria Rota", "Pulizie Aurora"),
    "es": ("Talleres Quintana", "Imprenta del Norte S.L.", "Carpintería Robles", "Limpiezas Sol"),
}
_CUSTOMERS = {
    "en": ("Mary Whitcombe", "Oakwood School", "Peter Lang", "Riverside Clinic"),
    "it": ("Chiara Fontana", "Liceo Volta", "Paolo Greco", "Studio Medico Alba"),
    "es": ("Lucía Ferrer", "Colegio Machado", "Andrés Molina", "Clínica Ribera"),
}
_STREETS = {
    "en": "14 Mill Lane, York",
    "it": "Via Roma 4, Torino",
    "es": "Calle Mayor 9, Soria",
}
_MONTHS = {
    "en": "January February March April May June July August September October November"
    " December".split(),
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre"
    " dicembre".split(),
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre"
    " diciembre".split(),
}
_GOODS = {
    "en": ("printer paper", "repair of a door", "cleaning, hours"),
    "it": ("carta per stampante", "riparazione porta", "pulizie, ore"),
    "es": ("papel de impresora", "reparación de puerta", "limpieza, horas"),
}
_LAYOUTS = {
    "en": (
        "{supplier}\n{street}\n\nINVOICE No. {number}\nDate: {date}\nBill to: {customer}\n\n"
        "{lines}\n\nSubtotal {net}\nVAT 20% {tax}\nTOTAL DUE GBP {total}\n",
        "Dear {customer},\n\nplease find below our invoice {number} of {date}.\n\n{lines}\n\n"
        "Net {net}, VAT {tax}. Please pay {total} pounds within 30 days.\n\n"
        "Kind regards,\n{supplier}, {street}\n",
    ),
    "it": (
        "{supplier}\n{street}\n\nFATTURA n. {number}\nData: {date}\nSpett.le {customer}\n\n"
        "{lines}\n\nImponibile {net}\nIVA 22% {tax}\nTOTALE EUR {total}\n",
        "Gentile {customer},\n\nle inviamo la fattura {number} del {date}.\n\n{lines}\n\n"
        "Imponibile {net}, IVA {tax}. La preghiamo di pagare {total} euro entro 30 giorni.\n\n"
        "Cordiali saluti,\n{supplier}, {street}\n",
    ),
    "es": (
        "{supplier}\n{street}\n\nFACTURA n.º {number}\nFecha: {date}\nCliente: {customer}\n\n"
        "{lines}\n\nBase imponible {net}\nIVA 21% {tax}\nTOTAL EUR {total}\n",
        "Estimado cliente {customer}:\n\nle enviamos la factura {number} del {date}.\n\n{lines}\n\n"
        "Base {net}, IVA {tax}. Le rogamos que pague {total} euros en 30 días.\n\n"
        "Un saludo,\n{supplier}, {street}\n",
    ),
}
_TAX = {"en": 20, "it": 22, "es": 21}


class Letter(NamedTuple):
    """An invoice, and the value of each field."""

    language: str
    text: str
    values: dict[str, Any]


def write_letters(count: int, seed: int = 1) -> list[Letter]:
    """Languages and layouts take turns."""
    dice = random.Random(seed)
    return [_write(dice, ("it", "es", "en")[at % 3], at // 3 % 2) for at in range(count)]


def _write(dice: random.Random, language: str, layout: int) -> Letter:
    day = datetime.date(2026, 1, 1) + datetime.timedelta(dice.randrange(365))
    net_cents = 0
    lines = []
    for goods in dice.sample(_GOODS[language], 2):
        amount, price_cents = dice.randint(1, 12), dice.randint(350, 19_900)
        net_cents += amount * price_cents
        lines.append(f"{amount} x {goods}  {_money(amount * price_cents, language)}")
    tax_cents = round(net_cents * _TAX[language] / 100)
    values = {
        "number": dice.choice(("2026/{}", "F-{}", "26-{}")).format(dice.randint(10, 999)),
        "supplier": dice.choice(_SUPPLIERS[language]),
        "customer": dice.choice(_CUSTOMERS[language]),
        "date": day.isoformat(),
        "total": (net_cents + tax_cents) / 100,
    }
    written = {
        **values,
        "street": _STREETS[language],
        "date": _date(dice, day, language),
        "lines": "\n".join(lines),
        "net": _money(net_cents, language),
        "tax": _money(tax_cents, language),
        "total": _money(net_cents + tax_cents, language),
    }
    return Letter(language, _LAYOUTS[language][layout].format(**written), values)


def _money(cents: int, language: str) -> str:
    english = f"{cents / 100:,.2f}"
    return english if language == "en" else english.translate(str.maketrans(",.", ".,"))


def _date(dice: random.Random, day: datetime.date, language: str) -> str:
    month = _MONTHS[language][day.month - 1]
    of = " de " if language == "es" else " "
    return dice.choice((f"{day:%d/%m/%Y}", f"{day.day}{of}{month}{of}{day.year}"))
