"""Tables of text: columns aligned, Chinese characters two columns wide."""

from netwright.language import columns, padded


def aligned(rows: list[list[str]], right: int, *, foot: bool = False) -> list[str]:
    """The rows as lines, columns from number `right` on flushed right; `foot` draws a line above the last row."""
    widths = [max(columns(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            padded(cell, width, right=place >= right)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return [*lines[:-1], "-" * max(map(columns, lines)), lines[-1]] if foot else lines


def by(sizes: list[int] | list[int | float] | tuple[int, ...] | None) -> str:
    """Sizes as people write them: 3x224x224; a dash where there are none."""
    return "x".join(map(str, sizes)) if sizes else "-"


def bytes_of(count: int) -> str:
    """Bytes in a unit that fits: 9.2 MB (a million bytes)."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count} B"
