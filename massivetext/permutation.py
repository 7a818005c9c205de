"""A keyed permutation of [0, n): the order in which one subset's sequences are used in an epoch.

A Feistel network permutes the smallest power of two that holds n, and cycle walking (apply it again
while the value is outside) restricts it to [0, n) (Black and Rogaway 2002, sections 3 and 4). Any
element is computed on its own, in constant memory, so the order can be entered anywhere. The key
comes from (seed, subset's name, epoch): every epoch has a fresh order, and adding a subset changes
no other's. The permutations are part of the shard format: known-answer tests fix them.
"""

import hashlib

import numba
import numpy as np
import numpy.typing as npt

ROUNDS = 8
# Below this the halves are too narrow for eight rounds to mix, and walking is cheap anyway.
MIN_BITS = 8


class Permutation:
    """The permutation of [0, n) that epoch `epoch` of `subset` follows under `seed`."""

    def __init__(self, n: int, seed: int, subset: str, epoch: int):
        if not 0 < n <= 2**62:
            raise ValueError(f"n is {n}; a permutation needs from 1 to 2**62 elements")
        self.n = n
        self._keys = round_keys(seed, subset, epoch)

    def __call__(self, positions: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return the element at each of `positions`, int64 [k] in [0, n)."""
        positions = np.ascontiguousarray(positions, np.int64)
        if positions.size and not 0 <= positions.min() <= positions.max() < self.n:
            raise IndexError(f"position outside [0, {self.n})")
        return _permute(positions, np.uint64(self.n), self._keys)


def round_keys(seed: int, subset: str, epoch: int) -> npt.NDArray[np.uint64]:
    """Return the Feistel round keys: uint64 [ROUNDS] little-endian from one BLAKE2b digest."""
    name = f"{seed}/{epoch}/{subset}".encode()
    digest = hashlib.blake2b(name, digest_size=8 * ROUNDS, person=b"mt-permutation").digest()
    return np.frombuffer(digest, "<u8").astype(np.uint64)


def epoch_order(
    ordinals: npt.NDArray[np.int64], n: int, seed: int, subset: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return which sequence each use of a subset is, and in which epoch.

    Args:
      ordinals: int64 [k], number of the use, counted from 0 over the whole training order.
      n: sequences in the subset.

    Returns:
      (sequence, epoch), int64 [k] each: perm_epoch(ordinal mod n) and ordinal div n.
    """
    epochs, positions = np.divmod(ordinals, n)
    sequences = np.empty_like(ordinals)
    for epoch in np.unique(epochs):
        chosen = epochs == epoch
        sequences[chosen] = Permutation(n, seed, subset, int(epoch))(positions[chosen])
    return sequences, epochs


@numba.njit(cache=True, nogil=True)
def mix(z):  # type: ignore[no-untyped-def]
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): each bit depends on all."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@numba.njit(cache=True, nogil=True)
def _permute(positions, n, keys):  # type: ignore[no-untyped-def]
    bits = MIN_BITS
    while bits < 63 and (np.uint64(1) << np.uint64(bits)) < n:
        bits += 1
    low_bits = np.uint64(bits // 2)
    low_mask = (np.uint64(1) << low_bits) - np.uint64(1)
    high_mask = (np.uint64(1) << np.uint64(bits - bits // 2)) - np.uint64(1)
    out = np.empty(len(positions), np.int64)
    for i in range(len(positions)):
        value = np.uint64(positions[i])
        while True:
            low = value & low_mask
            high = value >> low_bits
            for r in range(0, ROUNDS, 2):
                high ^= mix(low + keys[r]) & high_mask
                low ^= mix(high + keys[r + 1]) & low_mask
            value = (high << low_bits) | low
            if value < n:
                break
        out[i] = value
    return out
