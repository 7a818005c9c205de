"""Language identification with a fastText model (Gopher, A.1.1, 'Content Filtering')."""

import numpy as np

from .errors import ConfigError

# A language shows in far less; a bound keeps a 100 MB document from stalling the filter.
MAX_BYTES = 64 << 10

# Models label in two styles, `en` and `eng_Latn`; one spelling for the languages most in use.
_SHORT = {
    "ara": "ar", "arb": "ar", "ben": "bn", "bul": "bg", "cat": "ca", "ces": "cs", "cmn": "zh",
    "dan": "da", "deu": "de", "ell": "el", "eng": "en", "est": "et", "fas": "fa", "fin": "fi",
    "fra": "fr", "heb": "he", "hin": "hi", "hrv": "hr", "hun": "hu", "ind": "id", "ita": "it",
    "jpn": "ja", "kor": "ko", "lav": "lv", "lit": "lt", "nld": "nl", "nob": "no", "nor": "no",
    "pes": "fa", "pol": "pl", "por": "pt", "ron": "ro", "rus": "ru", "slk": "sk", "slv": "sl",
    "spa": "es", "srp": "sr", "swe": "sv", "tam": "ta", "tha": "th", "tur": "tr", "ukr": "uk",
    "urd": "ur", "vie": "vi", "zho": "zh",
}  # fmt: skip


def load_fasttext(path: str):  # type: ignore[no-untyped-def]
    """Load a fastText model (.bin or .ftz).

    Raises:
      ConfigError: the file is missing or is not a fastText model.
    """
    import fasttext

    try:
        return fasttext.load_model(path)
    except (ValueError, RuntimeError, MemoryError) as error:
        raise ConfigError(f"{path} is not a fastText model: {error}") from error


def predict(model, data: np.ndarray, offsets: np.ndarray, k: int) -> list[list[tuple[float, str]]]:  # type: ignore[no-untyped-def]
    """Return for each of n documents up to `k` (probability, label) pairs, best first.

    Newlines become spaces, because fastText scores the first line only; at most `MAX_BYTES` of a
    document are looked at.
    """
    result = []
    for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        # A character cut in two at the bound is dropped.
        text = bytes(data[start : min(stop, start + MAX_BYTES)]).decode("utf-8", "ignore")
        result.append(model.f.predict(text.replace("\n", " ") + "\n", k, 0.0, "strict"))
    return result


def code(label: str) -> str:
    """Return the language of a label: `__label__en` and `__label__eng_Latn` are both `en`."""
    language = label.removeprefix("__label__").partition("_")[0]
    return _SHORT.get(language, language)


class LanguageModel:
    """A fastText language identifier, such as `lid.176.ftz`, GlotLID or OpenLID."""

    def __init__(self, path: str):
        self._model = load_fasttext(path)

    def predict(self, data: np.ndarray, offsets: np.ndarray) -> tuple[list[str], np.ndarray]:
        """Return the best language of each of n documents and its probability, float32[n].

        A document without anything to judge gets the language "" with probability 0.
        """
        best = [
            found[0] if found else (0.0, "") for found in predict(self._model, data, offsets, 1)
        ]
        # fastText's softmax can pass 1 by a rounding error.
        return (
            [code(label) for _, label in best],
            np.minimum(np.array([p for p, _ in best], np.float32), np.float32(1)),
        )
