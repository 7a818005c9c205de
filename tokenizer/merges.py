"""The merges that byte-pair encoding can make, found by encoding each piece alone.

A piece that BPE builds inside a text is built there as it is built when it stands alone: merges
happen in one order of priority, ties from the left, and as long as none crosses the piece's ends,
those inside it do not depend on what is outside. So each piece has one last merge at most, however
many pairs spell it. This is what makes the two ways of writing a BPE model down exchangeable: a
score per piece (SentencePiece) and a rank per pair (`tokenizers`).
"""

from collections.abc import Callable, Iterable

Rank = Callable[[str, str], int | None]


def join(text: str, rank: Rank) -> tuple[list[str], tuple[str, str] | None]:
    """Return the symbols that BPE leaves of `text`, and the last pair it merged, if any.

    Args:
      rank: of a pair of neighbours, lowest first and leftmost among equals; None: no merge.
    """
    symbols, last = list(text), None
    while True:
        best, at = None, -1
        for i in range(len(symbols) - 1):
            found = rank(symbols[i], symbols[i + 1])
            if found is not None and (best is None or found < best):
                best, at = found, i
        if best is None:
            return symbols, last
        last = (symbols[at], symbols[at + 1])
        symbols[at : at + 2] = ["".join(last)]


def last_merges(pieces: Iterable[str], rank: Rank) -> dict[str, tuple[str, str]]:
    """Return the last merge of each of `pieces` that BPE can build; the others are left out."""
    found = {}
    for piece in pieces:
        symbols, last = join(piece, rank)
        if last is not None and len(symbols) == 1:
            found[piece] = last
    return found
