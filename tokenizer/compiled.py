"""A BPE model as compiled code encodes it: normalise, find segments, look up or merge."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from .bpe_tables import Tables, make_tables
from .cache import CACHE_BYTES, MAX_SEGMENT_BYTES, Cache, encode_rows, make_cache
from .charsmap import Charsmap, make_charsmap, normalize
from .model_file import ModelSpec, Pieces


@dataclass(frozen=True)
class CompiledBpe:
    """Encodes valid UTF-8 with a BPE model. One thread at a time: the cache is shared.

    Attributes:
      carries_mark: U+2581 in a text is encoded as bytes, and comes back; else it is a space, as
        SentencePiece takes it.
      prefix: a space is put before each text that is not empty.
    """

    tables: Tables
    charsmap: Charsmap | None
    cache: Cache
    carries_mark: bool
    prefix: bool

    @classmethod
    def make(
        cls, spec: ModelSpec, pieces: Pieces, *, carries_mark: bool, cache_bytes: int = CACHE_BYTES
    ) -> "CompiledBpe | None":
        """Return the encoder of a model, or None if it has what compiled code cannot express."""
        if (
            spec.model_type != "bpe"
            or not spec.byte_fallback
            or not spec.escape_whitespaces
            or spec.remove_extra_whitespaces
            or spec.whitespace_as_suffix
        ):
            return None
        tables = make_tables(pieces)
        if tables is None:
            return None
        try:
            charsmap = make_charsmap(spec.charsmap) if spec.charsmap else None
        except ValueError:
            return None
        cache = make_cache(cache_bytes)
        return cls(tables, charsmap, cache, carries_mark, spec.dummy_prefix)

    def encode(
        self, data: np.ndarray, offsets: np.ndarray, limit: int = MAX_SEGMENT_BYTES
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return `(tokens, offsets)`, uint32 and int64; arguments as `cache.encode_rows`."""
        given = offsets
        if self.charsmap is not None:
            data, offsets = normalize(data, offsets, self.charsmap)
        if not self.carries_mark or self.prefix:
            data, offsets = _spell(data, offsets, given, self.carries_mark, self.prefix)
        return encode_rows(data, offsets, self.tables, self.cache, limit)


@njit(cache=True, nogil=True)
def _spell(data, offsets, given, carries_mark, prefix):
    """Put a space before rows that were `given` some text, and one for each U+2581 unless kept."""
    rows = len(offsets) - 1
    out = np.empty(offsets[rows] - offsets[0] + rows, np.uint8)
    ends = np.empty(rows + 1, np.int64)
    ends[0] = count = 0
    for row in range(rows):
        if prefix and given[row + 1] > given[row]:
            out[count] = 0x20
            count += 1
        i, stop = offsets[row], offsets[row + 1]
        while i < stop:
            mark = i + 2 < stop and data[i] == 0xE2 and data[i + 1] == 0x96 and data[i + 2] == 0x81
            if mark and not carries_mark:
                out[count] = 0x20
                i += 3
            else:
                out[count] = data[i]
                i += 1
            count += 1
        ends[row + 1] = count
    return out[:count], ends
