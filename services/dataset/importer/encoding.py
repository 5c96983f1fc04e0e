"""Which encoding a text file is in. UTF-8 is the rule; GB18030 is taken where nothing else fits."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from services.dataset.importer.problems import FileRefused

UTF8: Final = "utf-8"
GB18030: Final = "gb18030"
SAVE_AS_UTF8: Final = "save the file as UTF-8, for example: iconv -f <its encoding> -t UTF-8 FILE > FILE.utf8"
PIECE: Final = 1 << 20

WIDE_MARKS: Final = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)

# A file is read as GB18030 only where no other reading is likely: nearly no line is valid UTF-8 beyond ASCII, every
# byte decodes, nearly all characters belong to GB 2312 (which rules out Latin-1 and Big5), and the commonest
# characters of written Chinese are among them (which rules out EUC-KR and EUC-JP, whose bytes fall in the same range).
MOST_VALID_UTF8: Final = 0.05
LEAST_GB2312: Final = 0.9
LEAST_COMMON: Final = 0.1
COMMON: Final = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去"
    "法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点"
    "正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿请"
)


def detect_encoding(path: Path) -> str:
    """`utf-8` or `gb18030`. Lines that are not valid in it are refused one by one.

    Raises: FileRefused (NOT_UTF8) for UTF-16 and UTF-32.
    """
    with path.open("rb") as file:
        head = file.read(4)
    for mark, name in WIDE_MARKS:
        if head.startswith(mark):
            raise FileRefused("NOT_UTF8", f"Line 1, byte 1: the file is {name}; {SAVE_AS_UTF8}.")
    beyond_ascii, invalid = _count_lines(path)
    if invalid and beyond_ascii - invalid <= MOST_VALID_UTF8 * beyond_ascii and _reads_as_chinese(path):
        return GB18030
    return UTF8


def _count_lines(path: Path) -> tuple[int, int]:
    """Pieces of the file with bytes beyond ASCII, and how many of these are not valid UTF-8."""
    beyond_ascii = invalid = 0
    with path.open("rb") as file:
        for piece in _pieces(file):
            if piece.isascii():
                continue
            beyond_ascii += 1
            try:
                piece.decode(UTF8)
            except UnicodeDecodeError:
                invalid += 1
    return beyond_ascii, invalid


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    """Lines; those longer than `PIECE` in parts that do not cut a UTF-8 character."""
    while piece := file.readline(PIECE):
        while len(piece) >= PIECE and not piece.endswith(b"\n") and 0x80 <= (file.peek(1)[:1] or b"\0")[0] < 0xC0:  # type: ignore[attr-defined]
            piece += file.read(1)
        yield piece


def _reads_as_chinese(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder(GB18030)("strict")
    total = of_gb2312 = common = 0
    with path.open("rb") as file:
        while block := file.read(PIECE):
            try:
                text = decoder.decode(block)
            except UnicodeDecodeError:
                return False
            foreign = "".join(character for character in text if not character.isascii())
            total += len(foreign)
            of_gb2312 += len(foreign.encode("gb2312", "ignore")) // 2
            common += sum(character in COMMON for character in foreign)
    return total > 0 and of_gb2312 >= LEAST_GB2312 * total and common >= LEAST_COMMON * total
