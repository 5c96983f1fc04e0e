"""What is personal data, and what only looks like it."""

from __future__ import annotations

import pytest

from services.inference_gateway.proxy.redaction import redact, redact_all

FOUND = [
    ("write to bob.smith+x@mail.example.co.uk, please", "write to [email], please"),
    ("我的邮箱是zhang_san@qq.com，谢谢", "我的邮箱是[email]，谢谢"),
    ("call +49 30 901820 now", "call [phone] now"),
    ("call +1 (415) 555-2671.", "call [phone]."),
    ("(415) 555-2671 or 415-555-2671", "[phone] or [phone]"),
    ("手机13812345678，备用138-1234-5678", "手机[phone]，备用[phone]"),
    ("打010-62345678或86 13912345678", "打[phone]或[phone]"),
    ("Tel. 030 1234 5678", "Tel. [phone]"),
    ("身份证11010519491231002X。", "身份证[id]。"),
    ("id 110105194912310021 x 440308199901010012", "id 110105194912310021 x [id]"),
    ("card 4111 1111 1111 1111, amex 378282246310005", "card [card], amex [card]"),
    ("银联6222020000000000000", "银联[card]"),
    ("pay to DE89 3704 0044 0532 0130 00 today", "pay to [iban] today"),
    ("GB82WEST12345698765432", "[iban]"),
    ("from 192.168.17.5 and 2001:db8:85a3::8a2e:370:7334", "from [ip] and [ip]"),
    ("key sk-proj-abcdefghij0123456789ABCDEF end", "key [key] end"),
    ("export K=ghp_abcdefghijklmnopqrstuvwxyz0123456789", "export K=[key]"),
    ("AKIAIOSFODNN7EXAMPLE", "[key]"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N", "[key]"),
    ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----", "[key]"),
]
LEFT_ALONE = [
    "on 2026-11-24 at 14:05:30, or 24.11.2026",
    "between 2026-01-05 12:00 and 2026-01-06",
    "1766000000123 is a time in milliseconds, 20261126123456 one in digits",
    "order 4111111111111112 has a wrong check digit",
    "order 1234567890123456 begins like no card",
    "550e8400-e29b-41d4-a716-446655440000",
    "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "pi is 3.14159265358979, and 1 234 567.89 euros",
    "version 1.2.3, v10.0.19041.1, 300.1.2.3",
    "http://127.0.0.1:8080 and 0.0.0.0",
    "12:30:45, a[::2], std::vector<int>, fe:ed",
    "foo@bar, @user, a@b.c",
    "task-sk-1 and the desk-lamp, gyre-demo, hf_hub",
    "数量13812345，订单号2026112600123456789",
    "110105194913310021 has no 33rd day of a month",
    "DE89 3704 0044 0532 0130 01 has a wrong sum",
    "chatcmpl-01M8D37ZAHX65FTP2HCXASYQT8",
    "RFC 2616, ISO 8601:2004, 7 × 24, 1-2-3",
    "AB12 CDEF GHIJ KLMN is a serial number",
    "x" * 9000,
    "9" * 9000,
    "a@" * 3000,
    ":" * 5000,
]


@pytest.mark.parametrize(("text", "marked"), FOUND)
def test_personal_data_becomes_a_mark(text: str, marked: str) -> None:
    assert redact(text) == marked


@pytest.mark.parametrize("text", LEFT_ALONE, ids=lambda text: text[:30])
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert redact(text) == text


def test_every_text_within_json_is_looked_at_and_the_rest_is_as_it_was() -> None:
    given = {"user": "bob@example.com", "n": 4111111111111111, "tools": [{"name": "call 13812345678"}], "on": True}
    expected = given | {"user": "[email]", "tools": [{"name": "call [phone]"}]}
    assert redact_all(given) == expected


def test_marks_are_not_marked_again() -> None:
    once = redact(" ".join(text for text, _ in FOUND))
    assert redact(once) == once
