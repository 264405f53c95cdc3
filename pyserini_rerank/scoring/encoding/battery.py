"""Texts on which two tokenizers differ if they differ anywhere.

They are about 150,000 characters, and the same in every process.
"""

import random
import sys
from collections.abc import Iterable, Iterator

from tokenizers import Tokenizer

#: One in so many characters is tried: of the first two planes of Unicode, which hold the living scripts, and of the
#: others.
PLANES = ((0, 0x20000, 41), (0x20000, sys.maxunicode + 1, 997))
#: Blocks whose every character is tried: Latin, combining marks, Greek and Cyrillic; conjoining jamo; punctuation and
#: symbols; CJK punctuation and kana; compatibility forms; variation selectors and specials; emoji.
BLOCKS = (
    (0, 0x530), (0x1100, 0x1200), (0x1E00, 0x20D0), (0x3000, 0x3100), (0xFA00, 0xFB50), (0xFE00, 0xFF10),
    (0xFFE0, 0x10000), (0x1F300, 0x1F700),
)  # fmt: skip
SURROGATES = range(0xD800, 0xE000)
#: Characters of one text.
TEXT = 64
#: Longer words are unknown to WordPiece, of which the usual limit is 100 characters.
WORD_LENGTHS = (1, 63, 64, 65, 99, 100, 101, 102, 127, 128, 129, 255, 256, 257, 1000)
#: Entries of the vocabulary that are tried, at most.
ENTRIES = 2000
MIXTURES = 400
ODD = [
    "", " ", "   ", "\t\r\n", "\0", "a\0b", "\x0b\x0c\x1c\x85\xa0", "\u2028\u2029\u200b\u200c\u200d\u2060\ufeff",
    "\ufffd", "\u0301", "\u0301a", "e\u0301\u0323", "a\u0300\u0301\u0302\u0303", "İIıi", "ßẞﬁﬀǅΣςσ", "ΑΣ ΑΣΑ ΌΣΟΣ",
    "Å\u212b\u2126", "क्षत्रिय की", "ภาษาไทย", "한국어 한국어", "قطة العربية", "שלום", "柏林北京 ab柏林",
    "カタカナ ガ か\u3099", "𠀀𪛖 丽", "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f44d\U0001f3fd",
    "🇩🇪🇫🇷 1\ufe0f\u20e3", "don't can't it's l'été", "3,520,031.5 $1.00 1/2 ½ x²+y²",
    "http://a.b/c?d=e#f user@x.org", "AbC dEf GHI", "snake_case-kebab–dash—long…", "##ing ##", "«quoted» „so“ ‘and’",
    "\u202eאב\u202c", "a\xadb", "｟ｆｕｌｌ｠",
]  # fmt: skip


def battery(tokenizer: Tokenizer) -> list[str]:
    """Give texts to compare a tokenizer with another one of the same vocabulary.

    They hold characters of every block of Unicode, between letters and at the edges of words; control characters,
    white space of all kinds, combining marks without a base; emoji sequences; words at the length at which WordPiece
    gives up; special tokens as text; entries of the vocabulary, joined; and random mixtures of all that.
    """
    characters = _characters()
    words = list(_words(tokenizer))
    mixtures = random.Random(0)
    mixed = [*characters, *words, *" " * 2000, *"\n\t.,-'[]#" * 100]
    return [
        *ODD,
        *_lines(f"x{character}Y" for character in characters),
        *_lines(characters),
        *_lines((f"{character}{character}" for character in characters), separator=""),
        *(letter * length for length in WORD_LENGTHS for letter in ("a", "é", "É", "柏", "a\u0301", "ꙮ", ".")),
        *_lines(words),
        *_lines(words, separator=""),
        *("".join(mixtures.choices(mixed, k=mixtures.randrange(1, 40))) for _ in range(MIXTURES)),
    ]


def _characters() -> list[str]:
    parts = [range(*plane) for plane in PLANES] + [range(*block) for block in BLOCKS]
    return [chr(number) for number in sorted(set().union(*parts)) if number not in SURROGATES]


def _words(tokenizer: Tokenizer) -> Iterator[str]:
    for token in tokenizer.get_added_tokens_decoder().values():
        content = token.content
        yield from (
            content,
            content.lower(),
            content.upper(),
            content * 2,
            f"a{content}b",
            f"{content[:-1]} {content[-1:]}",
        )
    entries = sorted(tokenizer.get_vocab())
    yield from entries[:: len(entries) // ENTRIES + 1]


def _lines(parts: Iterable[str], separator: str = " ") -> Iterator[str]:
    parts = list(parts)
    for start in range(0, len(parts), TEXT):
        yield separator.join(parts[start : start + TEXT])
