"""Marks in place of personal data, before anything is stored: `[email]`, `[phone]`, `[id]`, `[card]`, `[iban]`, `[ip]`,
`[key]`. Pure.

Texts are the rule and personal data in them is rare, so each kind has a cheap question first: is its sign there at
all? What has a checksum must pass it, and what has none must look like nothing else; a number within a longer word or
number is left alone.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from services.inference_gateway.proxy.records import CompletionRecord

Mark = Callable[[str, str], str]  # of a kind and a value: what stands in its place

MAILBOX = re.compile(r"[A-Za-z0-9._%+-]{1,64}\Z")
DOMAIN = re.compile(r"@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9])")
DIGITS = "0123456789"
IBAN = re.compile(r"[A-Z][A-Z][0-9][0-9][ A-Z0-9]{11,36}")
GROUPS = re.compile(r":[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:")
IPV6 = re.compile(r"[0-9A-Fa-f:]*:[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*")
NUMBER = re.compile(r"[+(0-9][0-9 ().\-]{5,40}[0-9Xx]")

# Shapes that an IBAN and a number have at least: two capitals before two digits, and seven signs of a number in a row.
LIKE_IBAN, LIKE_NUMBER = b"AA00", b"0" * 7
OF_IBAN = bytes(
    ord("A" if chr(each).isascii() and chr(each).isupper() else "0" if chr(each) in DIGITS else ".")
    for each in range(256)
)
OF_NUMBER = bytes(ord("0" if chr(each) in DIGITS + "+() .-Xx" else ".") for each in range(256))

# How keys begin that somebody may paste, below a letter that all of them have: to ask for one letter costs nothing.
KEYS = {
    "_": {
        "hf_": r"hf_[A-Za-z0-9]{30,}",
        "gh": r"gh[pousr]_[A-Za-z0-9]{36,}",
        "github_pat_": r"github_pat_[A-Za-z0-9_]{50,}",
    },
    "-": {
        "gyre-": r"gyre-[A-Za-z0-9_-]{40,}",
        "sk-": r"sk-[A-Za-z0-9_-]{20,}",
        "glpat-": r"glpat-[A-Za-z0-9_-]{20,}",
        "xox": r"xox[abprs]-[A-Za-z0-9-]{10,}",
        "-----BEGIN": r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----",
    },
    "A": {
        "AKIA": r"AKIA[0-9A-Z]{16}",
        "LTAI": r"LTAI[0-9A-Za-z]{12,26}",
        "AIza": r"AIza[0-9A-Za-z_-]{35}",
    },
    "J": {"eyJ": r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+"},
}
KEY_PATTERNS = {
    letter: {sign: re.compile(rf"(?<![A-Za-z0-9]){pattern}") for sign, pattern in keys.items()}
    for letter, keys in KEYS.items()
}

# Within a number that was found: what it may be, most certain first.
IP = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\.?\d)")
ID = re.compile(r"(?<!\d)[1-8]\d{16}[\dXx](?!\d)")
CARD = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")
PHONES = re.compile(
    r"(?<!\d)(?:"
    r"\+\d{1,3}(?:[ .\-()]{0,2}\d){6,13}"  # international
    r"|(?:86[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}"  # a Chinese mobile
    r"|0\d{2,3}-\d{7,8}"  # a Chinese landline
    r"|\(\d{3}\) ?\d{3}-\d{4}|\d{3}-\d{3}-\d{4}"  # North America
    r"|\(0\d{1,4}\) ?\d{3,4}[ -]?\d{3,5}|0\d{2,4} \d{3,4} ?\d{3,5}"  # Europe, with the area's number
    r")(?!\d)"
)
# First digits and lengths by ISO/IEC 7812, as the networks gave them out.
NETWORKS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(?:2[2-9]|[3-6]\d|7[01])\d{13}|3[47]\d{13}|6(?:011|5\d\d|4[4-9]\d)\d{12}"
    r"|62\d{14,17}|35(?:2[89]|[3-8]\d)\d{12}|3(?:0[0-5]|[68]\d)\d{11}"
)
SEPARATORS = dict.fromkeys(map(ord, " ().-"))
FEWEST_DIGITS = 9  # of a phone's number without its country
ID_WEIGHTS, ID_SIGNS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2), "10X98765432"


def redacted(record: CompletionRecord) -> CompletionRecord:
    """Its conversation, its answer and what was asked along with it."""
    return replace(
        record,
        messages=redact_all(record.messages),
        parameters=redact_all(record.parameters),
        answer=redact(record.answer),
        tool_calls=redact_all(record.tool_calls),
    )


def redact_all(value: Any) -> Any:
    """Every text within JSON; names of fields stay."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {name: redact_all(each) for name, each in value.items()}
    if isinstance(value, list):
        return [redact_all(each) for each in value]
    return value


def redact(text: str) -> str:
    return replaced(text, plain_mark)


def plain_mark(kind: str, _: str) -> str:
    return f"[{kind}]"


def replaced(text: str, mark: Mark) -> str:
    """`text` with `mark(kind, value)` in place of each piece of personal data."""
    if len(text) < 6:
        return text
    for letter, patterns in KEY_PATTERNS.items():
        if letter in text:
            text = _without_keys(text, patterns, mark)
    if "@" in text:
        text = _without_emails(text, mark)
    if LIKE_IBAN in _shape(text, OF_IBAN):
        text = IBAN.sub(lambda found: _iban(found, mark), text)
    if ":" in text and ("::" in text or GROUPS.search(text)):
        text = IPV6.sub(lambda found: _ipv6(found, mark), text)
    if LIKE_NUMBER in _shape(text, OF_NUMBER):
        text = NUMBER.sub(lambda found: _number(found, mark), text)
    return text


def _shape(text: str, table: bytes) -> bytes:
    """One byte a character, by which to look for a shape faster than a pattern does."""
    return text.encode("latin-1", "replace").translate(table)


def _without_emails(text: str, mark: Mark) -> str:
    """From each `@` both ways, for a pattern would try every word as a mailbox."""
    parts, done = [], 0
    for domain in DOMAIN.finditer(text):
        at = domain.start()
        mailbox = MAILBOX.search(text, max(done, at - 64), at)
        if mailbox is not None:
            parts += [text[done : mailbox.start()], mark("email", mailbox[0] + domain[0])]
            done = domain.end()
    return "".join([*parts, text[done:]]) if parts else text


def _without_keys(text: str, patterns: Mapping[str, re.Pattern[str]], mark: Mark) -> str:
    for sign, pattern in patterns.items():
        if sign in text:
            text = pattern.sub(lambda found: mark("key", found[0]), text)
    return text


def _number(found: re.Match[str], mark: Mark) -> str:
    text = found[0]
    is_short = len(text.translate(SEPARATORS)) < FEWEST_DIGITS and text[0] != "+"
    if (is_short and text.count(".") != 3) or _within_a_word(found):  # a date, most often
        return text
    text = ID.sub(lambda each: mark("id", each[0]) if _is_id(each[0]) else each[0], text)
    text = CARD.sub(lambda each: mark("card", each[0]) if _is_card(each[0]) else each[0], text)
    text = IP.sub(lambda each: mark("ip", each[0]) if _is_ip(each[0]) else each[0], text)
    return PHONES.sub(lambda each: mark("phone", each[0]), text)


def _within_a_word(found: re.Match[str]) -> bool:
    before, after = found.string[found.start() - 1 : found.start()], found.string[found.end() : found.end() + 1]
    return any(side.isascii() and (side.isalnum() or side == "_") for side in (before, after) if side)


def _is_id(number: str) -> bool:
    """A Chinese citizen's number: a birthday in it, and the check sign of GB 11643 (ISO 7064, MOD 11-2)."""
    try:
        date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False
    total = sum(weight * int(digit) for weight, digit in zip(ID_WEIGHTS, number, strict=False))
    return 1900 <= int(number[6:10]) <= 2100 and ID_SIGNS[total % 11] == number[-1].upper()


def _is_card(text: str) -> bool:
    """A network's number that passes Luhn's sum."""
    digits = re.sub(r"[ -]", "", text)
    doubled = (sum(divmod(2 * int(each), 10)) for each in digits[-2::-2])
    return NETWORKS.fullmatch(digits) is not None and (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def _is_ip(text: str) -> bool:
    """Of some machine: not one's own (127.…), and not none (0.…)."""
    is_address = all(int(part) < 256 and str(int(part)) == part for part in text.split("."))
    return is_address and not text.startswith(("0.", "127."))


def _iban(found: re.Match[str], mark: Mark) -> str:
    """The longest beginning of what was found that passes ISO 7064's MOD 97-10; groups of four may follow words."""
    text = found[0]
    before = found.string[found.start() - 1 : found.start()]
    if before and before.isascii() and before.isalnum():
        return text
    for end in range(len(text), 14, -1):
        if text[end - 1] != " " and not text[end : end + 1].isalnum() and _is_iban(text[:end].replace(" ", "")):
            return mark("iban", text[:end]) + text[end:]
    return text


def _is_iban(text: str) -> bool:
    if not 15 <= len(text) <= 34:
        return False
    return int("".join(str(int(each, 36)) for each in text[4:] + text[:4])) % 97 == 1


def _ipv6(found: re.Match[str], mark: Mark) -> str:
    """At least three groups: `::2` is a slice in Python as well."""
    text = found[0].rstrip(".:") if not found[0].endswith("::") else found[0]
    if _within_a_word(found) or sum(1 for group in text.split(":") if group) < 3:
        return found[0]
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return found[0]
    return mark("ip", text) + found[0][len(text) :]
