"""Addresses: block lists of hosts and words, and the key that finds pages fetched twice."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .blocklist import letter_tables, read_hosts, read_words
from .document import text_buffers
from .quality import readonly
from .urls_kernels import canonical_rows, hash_hosts, hash_words, match_rows


class BlockList:
    """Hosts and words, and a look-up of addresses in them.

    Entries are found by 64-bit hashes: an address with twenty labels and words has odds of about
    1e-11 of being taken for one of ten million entries. Ten million hosts take about 0.5 GB, and
    1.5 GB while they are read.
    """

    def __init__(self, domains: Iterable[tuple[pa.Array, pa.Array]], words: pa.Array):
        """Take what `blocklist.read_hosts` and `blocklist.read_words` give."""
        self._domain_keys, self._domains = _sorted(
            [(_hashes(hash_hosts, keys), spelled) for keys, spelled in domains]
        )
        self._word_keys, self._words = _sorted([(_hashes(hash_words, words), words)])

    @classmethod
    def read(
        cls, domains: Sequence[str | Path] = (), words: Sequence[str | Path] = ()
    ) -> "BlockList":
        """Read files of one entry a line, UTF-8; blank lines and `#` comments are skipped.

        A host blocks itself and every host below it; `www.` is a host below, and is kept. A
        leading `*.` or `.`, a scheme, a closing `/` or dot and upper case do not matter; names
        with letters beyond ASCII are found in both their spellings; an IP address matches as a
        whole. A line of /etc/hosts (address, then names) lists its names.

        Raises:
          ConfigError: a file is missing, not UTF-8 or without entries, or a line is no entry;
            names file and line.
        """
        return cls(read_hosts(domains), read_words(words))

    def match(self, urls: pa.Array) -> tuple[pa.Array, pa.Array]:
        """Look n addresses up; time is linear in their bytes.

        Args:
          urls: a `string` or `large_string` array; null and empty are never blocked.

        Returns:
          `(domain, word)`, string [n] each, null where nothing was found: the listed host that
          is the longest suffix of the address's host, and the first listed word in the address.
          Words are the runs of letters and digits in host, path and query, regardless of case and
          with `%` escapes undone. Both are given as the list spells them.
        """
        data, offsets = text_buffers(urls.fill_null(""))
        found = np.full((2, len(urls)), -1, np.int64)
        lower, letters = letter_tables()
        keys = readonly(self._domain_keys), readonly(self._word_keys)
        match_rows(readonly(data), readonly(offsets), lower, letters, *keys, *found)
        domain, word = (
            entries.take(pa.array(at, mask=at < 0)).cast(pa.string())
            for entries, at in zip((self._domains, self._words), found, strict=True)
        )
        return domain, word


def canonical(urls: pa.Array) -> pa.Array:
    """Return the key by which n addresses are the same: large_string [n].

    The scheme (`http` and `https` are one), the host's case, the scheme's default port, an empty
    path (`/`) and the fragment, which is not sent to the server, do not tell pages apart; white
    space around the address is removed. Everything else may: servers are free to give `/a` and
    `/a/`, `?a&b` and `?b&a`, `www.` and none, or `%7e` and `~` different pages, and a page that is
    kept twice is still found by its text, while one that is dropped wrongly is lost. Addresses of
    other schemes, or without any, are kept as they are.

    Null where there is no address: null, only white space, or http without a host.
    """
    data, offsets = text_buffers(urls.fill_null(""))
    n = len(offsets) - 1
    out = np.empty(int(offsets[-1] - offsets[0]) + n, np.uint8)
    out_offsets = np.empty(n + 1, np.int64)
    named = np.zeros(n, np.bool_)
    canonical_rows(readonly(data), readonly(offsets), out, out_offsets, named)
    buffers = [pa.py_buffer(out_offsets), pa.py_buffer(out[: out_offsets[-1]])]
    keys = pa.Array.from_buffers(pa.large_string(), n, [None, *buffers])
    return pc.if_else(pa.array(named), keys, pa.scalar(None, pa.large_string()))


def warm_up() -> None:
    """Compile the kernels, or load them from the cache."""
    BlockList.read().match(canonical(pa.array(["a"])))


def _hashes(kernel, column: pa.Array) -> np.ndarray:  # type: ignore[no-untyped-def]
    data, offsets = text_buffers(column)
    out = np.zeros(len(column), np.uint64)
    kernel(readonly(data), readonly(offsets), *letter_tables(), out)
    return out


def _sorted(blocks: list[tuple[np.ndarray, pa.Array]]) -> tuple[np.ndarray, pa.Array]:
    """Join blocks of hashes and entries, sorted by hash; of those with one hash the first stays."""
    if not blocks:
        return np.zeros(0, np.uint64), pa.array([], pa.large_string())
    keys = np.concatenate([keys for keys, _ in blocks])
    entries = pa.concat_arrays([entries for _, entries in blocks])
    blocks.clear()  # the largest lists are too large to keep three times
    keys, first = np.unique(keys, return_index=True)
    return keys, entries.take(pa.array(first))
