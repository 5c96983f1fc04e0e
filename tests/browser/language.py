"""Finds English where a Chinese page should have none: in labels any Latin word, in data the console's own texts.

What people wrote (names, rows, answers), ids and technical names that Chinese readers know as they are do not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from playwright.sync_api import Page

DICTIONARIES = Path(__file__).resolve().parents[2] / "services" / "console" / "src" / "i18n"
ENTRY = re.compile(r'^  "([^"]+)":\s*"((?:[^"\\]|\\.)*)",?$', re.MULTILINE)
# What a Chinese engineer writes in Latin letters too.
TECHNICAL = frozenset(
    {
        "API",
        "AWQ",
        "CPU",
        "CSV",
        "DPO",
        "FP",
        "GB",
        "GGUF",
        "GPTQ",
        "GPU",
        "Gyre",
        "ID",
        "JSON",
        "JSONL",
        "Lines",
        "LoRA",
        "ModelScope",
        "OpenAI",
    }
    | {
        "Parquet",
        "SFT",
        "SPDX",
        "Safetensors",
        "Shift",
        "SmolLM",
        "TAR",
        "URL",
        "UTF",
        "Wilson",
        "ZIP",
        "admin",
        "cpp",
        "cpu",
    }
    | {"en", "http", "key", "kB", "KL", "llama", "MB", "UTC", "vLLM", "zh"}
)
ID = re.compile(r"…[0-9A-Z]{6,8}\b|\b[0-9A-HJKMNP-TV-Z]{26}\b|sha256:[0-9a-f]+|\b[0-9a-f]{32}\b")
# Visible texts and spoken labels, each with whether it stands among data: cells, values, what people named or wrote.
TEXTS = """() => {
  const data = 'td, dd, .mono, kbd, code, pre, [translate=no], [lang=en], .side-project, .chip, .version-list, '
    + '.exchange, .review-body, .legend, .ant-select-content, .ant-notification, .page-head:has(.page-back) h1, '
    + '.page-head:has(.page-back) .page-lead, figcaption, .lineage, .side-account';
  const label = '.state, button, .ant-btn, dt, th';
  const isData = (node) => node.closest(data) !== null && node.closest(label) === null;
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    const of = node.parentElement;
    if (of.closest('script, style, [lang=en], [translate=no]') || !of.checkVisibility()) continue;
    found.push([node.textContent.trim(), isData(of)]);
  }
  for (const of of document.querySelectorAll('[aria-label], [placeholder]')) {
    if (!of.checkVisibility() || of.closest('[lang=en], [translate=no], [aria-hidden=true]')) continue;
    found.push([of.getAttribute('placeholder') ?? '', isData(of)]);
    found.push([of.getAttribute('aria-label') ?? '', of.closest('td') !== null || isData(of)]);
  }
  return found;
}"""


def foreign_labels(page: Page, names: Iterable[str] = ()) -> list[str]:
    """What a reader of Chinese would stumble over on `page`, as it is now, beside `names` that people gave."""
    found = {(text, bool(is_data)) for text, is_data in page.evaluate(TEXTS) if text}
    known = TECHNICAL.union(*(_words(name) for name in names))
    return sorted(text for text, is_data in found if (text in _english() if is_data else _words(text) - known))


def _words(text: str) -> set[str]:
    return set(re.findall(r"[A-Za-z]{2,}", ID.sub("", text)))


@cache
def _english() -> frozenset[str]:
    """The console's English texts that have another Chinese one."""
    english, chinese = _texts("en"), _texts("zh")
    return frozenset(text for key, text in english.items() if chinese.get(key) != text)


def _texts(language: str) -> dict[str, str]:
    files = (DICTIONARIES / language).glob("*.ts")
    return {key: text for path in files for key, text in ENTRY.findall(path.read_text("utf-8"))}
