"""Encodes files of documents: the work of stage `tokens`, and what a model must have for it."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from massivetext.config import FillInTheMiddle
from massivetext.document import text_buffers
from massivetext.errors import ConfigError, InputError
from massivetext.fill_in_the_middle import SENTINELS, join, split
from massivetext.tokenizer.encode import Tokenizer
from massivetext.tokens import close_documents

from .part import Part, PartOutput
from .parts import read_batches

# Name of a part's argument, and of the number of documents that were rewritten.
INFILL = "fill_in_the_middle"


def sentinel_ids(tokenizer: Tokenizer, path: str) -> dict[str, int]:
    """Return the ids that fill-in-the-middle needs, by name; `path` names the model in errors.

    Raises:
      ConfigError: a sentinel is no control symbol of the model, or spaces change where texts join.
    """
    ids = {name: tokenizer.control_id(name) for name in SENTINELS}
    if missing := [name for name, id_ in ids.items() if id_ is None]:
        raise ConfigError(
            f"{path} has no control symbols {', '.join(missing)}, which fill_in_the_middle needs; "
            "leave out tokenizer.model to train a model that has them, or leave out "
            "fill_in_the_middle"
        )
    if not tokenizer.keeps_spaces:
        raise ConfigError(
            f"{path} adds, removes or merges spaces, so the parts that fill_in_the_middle cuts do "
            "not join again; leave out tokenizer.model to train a model that keeps them"
        )
    return {name: id_ for name, id_ in ids.items() if id_ is not None}


class Encode:
    """Writes the tokens of one file of documents, and where each document ends.

    Parts whose argument `INFILL` is true are rewritten as `rule` says, with the
    `sentinels`' ids by name.
    """

    def __init__(
        self,
        model: str,
        sha256: str,
        rule: FillInTheMiddle | None,
        sentinels: Mapping[str, int],
        seed: int,
    ):
        self.model, self.sha256 = model, sha256
        self.rule, self.sentinels, self.seed = rule, sentinels, seed

    def setup(self) -> None:
        self.tokenizer = Tokenizer.load(self.model)
        if self.tokenizer.sha256 != self.sha256:
            raise InputError(f"{self.model} changed during the build; run the build again")

    def run(self, part: Part, out: PartOutput) -> None:
        source, folder = part.arguments["path"], part.arguments["tokens"]
        rule = self.rule if part.arguments[INFILL] else None
        columns = ["text"] if rule is None else ["text", "id"]
        row = end = size = 0
        with out.file(f"{folder}.tokens") as tokens, out.file(f"{folder}.documents") as documents:
            for batch in read_batches(out.root / source, columns):
                try:
                    flat, ends = self._plain(batch) if rule is None else self._cut(batch, rule, out)
                except InputError as error:
                    last = row + batch.num_rows - 1
                    raise InputError(f"{source}, rows {row} to {last}: {error}") from error
                tokens.write(flat)
                if not self.tokenizer.lossless:
                    unknown = int(np.count_nonzero(flat == self.tokenizer.unk_id))
                    out.counts["unknown_tokens"] += unknown
                documents.write((end + ends).astype("<u8"))
                row += batch.num_rows
                end += len(flat)
                size += _text_bytes(batch.column("text"))
                out.progress(size)
        if row != part.arguments["rows"]:
            raise InputError(
                f"{source} has {row} documents and its manifest says {part.arguments['rows']}; "
                "delete manifests/documents.json and build again"
            )
        out.counts.update(documents=row, tokens=end, text_bytes=size)

    def _plain(self, batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens of a batch, each document closed, and where documents end."""
        flat, offsets = self.tokenizer.encode_batch(batch.column("text"))
        ends = offsets[1:] + np.arange(1, batch.num_rows + 1)
        return close_documents(flat, offsets, self.tokenizer.eos_id), ends

    def _cut(
        self, batch: pa.RecordBatch, rule: FillInTheMiddle, out: PartOutput
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `_plain`, documents rewritten by `rule`; counts them."""
        parts, orders = split(batch.column("text"), batch.column("id"), rule, self.seed)
        out.counts[INFILL] += int(np.count_nonzero(orders))
        prefix, middle, suffix = (self.sentinels[name] for name in SENTINELS)
        tokens, offsets = self.tokenizer.encode_batch(parts)
        return join(tokens, offsets, orders, (prefix, middle, suffix), self.tokenizer.eos_id)


def _text_bytes(column: pa.Array) -> int:
    offsets = text_buffers(column)[1]
    return int(offsets[-1] - offsets[0])
