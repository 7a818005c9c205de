"""datatrove's MinHash signatures, and with `pairs` the documents that share a bucket.

`seconds` are those of `get_shingles` and `get_signature`, without writing and sorting the buckets.
Options: those of `MinhashConfig`; none is its default.
"""

import tempfile
from typing import Any

from contender import Document, Stopwatch, main
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from found_pairs import FoundPairs


def measure(documents: list[Document], options: dict[str, Any]) -> dict[str, Any]:
    config = MinhashConfig(**options.get("config", {}))
    with tempfile.TemporaryDirectory() as folder:
        step = MinhashDedupSignature(folder, config)
        # Loads the tokenizer.
        step.get_signature(step.get_shingles("the words of a first document " * config.n_grams))
        signatures = []
        watch = Stopwatch()
        for number, document in enumerate(documents):
            with watch:
                shingles = step.get_shingles(document["text"])
                # As in its `run`: a document of fewer words than a shingle is left out.
                signature = step.get_signature(shingles) if shingles.size else None
            if signature is not None:
                signatures.append((number, signature))
    result: dict[str, Any] = {
        **watch.result(),
        "configuration": f"MinhashDedupSignature, {config}, {config.norm_config}, language en",
    }
    if options.get("pairs"):
        pairs = FoundPairs(len(documents))
        for bucket in range(config.num_buckets):
            pairs.add_buckets((number, tuple(found[bucket])) for number, found in signatures)
        result["pairs"] = pairs.result()
    return result


main(measure)
