"""SentencePiece: presets, training on a seeded sample, lossless encoding."""
