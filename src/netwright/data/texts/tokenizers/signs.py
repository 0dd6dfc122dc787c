"""What kinds of characters there are: letters with their marks, scripts without spaces, signs."""

import unicodedata
from functools import cache

UNSPACED = (
    (0x3005, 0x3007), (0x3040, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F), (0x1B000, 0x1B16F), (0x20000, 0x323AF), (0x0E01, 0x0E3A), (0x0E40, 0x0E4E), (0x0E81, 0x0EDF),
    (0x1000, 0x103F), (0x1780, 0x17D3),
)  # fmt: skip
"""Code points, both ends included, of scripts written without spaces: Chinese, Japanese, Thai, Lao, Burmese, Khmer."""
CHARACTERS = "".join(f"{chr(low)}-{chr(high)}" for low, high in UNSPACED)
"""The same inside the brackets of a pattern."""


def is_unspaced(sign: str) -> bool:
    """Whether a character belongs to a script that puts no spaces between words."""
    return sign > "\u0e00" and any(low <= ord(sign) <= high for low, high in UNSPACED)


@cache
def marks() -> str:
    """Combining marks and joiners inside the brackets of a pattern: they belong to the character before them."""
    places = [place for place in range(0x20000) if unicodedata.category(chr(place))[0] == "M"]
    places += [0xAD, 0x200C, 0x200D, *range(0x1F3FB, 0x1F400), *range(0xE0100, 0xE01F0)]
    spans: list[list[int]] = []
    for place in sorted(places):
        if spans and place == spans[-1][1] + 1:
            spans[-1][1] = place
        else:
            spans.append([place, place])
    return "".join(f"{chr(low)}-{chr(high)}" if low < high else chr(low) for low, high in spans)
