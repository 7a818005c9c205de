"""fastText models: the language of a document, and the probability of a label.

Works with any classifier in `.bin` or `.ftz` form; for languages, lid.176, GlotLID, OpenLID and
NLLB's: their labels `__label__en`, `__label__eng` and `__label__eng_Latn` all become `en`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from .errors import ConfigError, nearest

# Only this much of a text's start is classified: the verdict on a long text does not change after
# its first pages, and one huge document must not hold up a worker.
MAX_BYTES = 64 << 10

# What fastText says nothing about: ISO 639-2's code for 'undetermined'.
UNDETERMINED = "und"

_PREFIX = "__label__"

# ISO 639-2 or 639-3 -> 639-1. Includes the individual languages under which GlotLID, OpenLID and
# NLLB file the macrolanguages that have the two-letter code.
_TWO_LETTERS = dict(
    pair.split(":")
    for pair in """
afr:af aka:ak als:sq amh:am ara:ar arb:ar arg:an asm:as ava:av ayr:ay aym:ay azb:az aze:az azj:az
bak:ba bam:bm bel:be ben:bn bod:bo bos:bs bre:br bul:bg cat:ca ces:cs che:ce chv:cv cmn:zh cor:kw
cos:co cym:cy dan:da deu:de div:dv dzo:dz ekk:et ell:el eng:en epo:eo est:et eus:eu ewe:ee fao:fo
fas:fa fij:fj fin:fi fra:fr fry:fy ful:ff gla:gd gle:ga glg:gl glv:gv grn:gn gug:gn guj:gu hat:ht
hau:ha heb:he hin:hi hrv:hr hun:hu hye:hy ibo:ig ido:io ile:ie ina:ia ind:id isl:is ita:it jav:jv
jpn:ja kal:kl kan:kn kas:ks kat:ka kaz:kk khk:mn khm:km kin:rw kir:ky kmr:ku kom:kv kor:ko kpv:kv
kur:ku lao:lo lat:la lav:lv lim:li lin:ln lit:lt ltz:lb lug:lg lvs:lv mal:ml mar:mr mkd:mk mlg:mg
mlt:mt mon:mn mri:mi msa:ms mya:my nav:nv nep:ne nld:nl nno:nn nob:nb nor:no npi:ne nya:ny oci:oc
ori:or orm:om ory:or oss:os pan:pa pbt:ps pes:fa plt:mg pol:pl por:pt pus:ps que:qu quy:qu roh:rm
ron:ro run:rn rus:ru sag:sg san:sa sin:si slk:sk slv:sl sme:se smo:sm sna:sn snd:sd som:so sot:st
spa:es sqi:sq srd:sc srp:sr ssw:ss sun:su swa:sw swe:sv swh:sw tam:ta tat:tt tel:te tgk:tg tgl:tl
tha:th tir:ti ton:to tsn:tn tso:ts tuk:tk tur:tr twi:tw uig:ug ukr:uk urd:ur uzb:uz uzn:uz ven:ve
vie:vi vol:vo wln:wa wol:wo xho:xh ydd:yi yid:yi yor:yo zha:za zho:zh zsm:ms zul:zu
""".split()
)


def language_code(label: str) -> str:
    """Return the code of a fastText label: no prefix, no script, two letters where they exist."""
    code = label.removeprefix(_PREFIX).split("_")[0].lower()
    return _TWO_LETTERS.get(code, code)


class Classifier:
    """A supervised fastText model."""

    def __init__(self, path: str | Path):
        """Load the model at `path`.

        Raises:
          ConfigError: the file is missing, is no fastText model, is cut short, or is a model of
            word vectors without labels.
        """
        import fasttext

        self.path = str(path)
        if not Path(path).is_file():
            raise ConfigError(f"fastText model {self.path} does not exist; correct the path")
        try:
            self._model: Any = fasttext.load_model(self.path)
            self.labels: tuple[str, ...] = tuple(self._model.get_labels())
        except (ValueError, RuntimeError, MemoryError, OverflowError) as error:
            raise ConfigError(
                f"{self.path} is no readable fastText model ({error}); download it again"
            ) from error
        if not self.labels or not self.labels[0].startswith(_PREFIX):
            raise ConfigError(f"{self.path} holds word vectors, not a classifier with labels")

    def predict(self, texts: list[str], k: int) -> tuple[list[list[str]], list[list[float]]]:
        """Return the `k` best labels of each text and their probabilities, best first."""
        lines = [text + "\n" for text in texts]
        labels, probabilities = self._model.f.multilinePredict(lines, k, 0.0, "strict")
        return labels, probabilities


def first_lines(data: np.ndarray, offsets: np.ndarray) -> list[str]:
    """Return the start of each document, at most `MAX_BYTES` of it, as one line.

    fastText scores the first line of what it is given and ignores the rest without a word.
    """
    lines = []
    for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        text = data[start : min(stop, start + MAX_BYTES)].tobytes()
        lines.append(text.replace(b"\n", b" ").decode("utf-8", "ignore"))
    return lines


class LanguageModel:
    """Language identification by a fastText model (Gopher, A.1.1, 'Content Filtering')."""

    def __init__(self, path: str | Path):
        self._classifier = Classifier(path)

    def predict(self, data: np.ndarray, offsets: np.ndarray) -> tuple[pa.Array, np.ndarray]:
        """Return `(language, probability)` of n documents: strings, and float32 in [0, 1].

        A text for which the model names nothing is `UNDETERMINED`, with probability 0; so is one
        of white space alone, for which a model would name whatever it saw most.
        """
        lines = first_lines(data, offsets)
        labels, probabilities = self._classifier.predict(lines, 1)
        codes = {label: language_code(label) for label in self._classifier.labels}
        languages = [UNDETERMINED] * len(lines)
        best = np.zeros(len(lines), np.float32)
        for row, line in enumerate(lines):
            if labels[row] and not line.isspace() and line:
                languages[row] = codes[labels[row][0]]
                best[row] = probabilities[row][0]
        # fastText's softmax reaches 1.00001.
        return pa.array(languages, pa.string()), np.minimum(best, np.float32(1))


class LabelModel:
    """The probability of one label of a fastText classifier."""

    def __init__(self, path: str | Path, label: str):
        self._classifier = Classifier(path)
        self._label = _PREFIX + label.removeprefix(_PREFIX)
        if self._label not in self._classifier.labels:
            valid = [name.removeprefix(_PREFIX) for name in self._classifier.labels]
            raise ConfigError(f"model {path} has no label {label!r}{nearest(label, valid)}")

    def predict(self, data: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """Return the probability of the label for n documents: float32 in [0, 1]."""
        lines = first_lines(data, offsets)
        labels, probabilities = self._classifier.predict(lines, len(self._classifier.labels))
        out = np.zeros(len(lines), np.float32)
        for row, names in enumerate(labels):
            if self._label in names:
                out[row] = probabilities[row][names.index(self._label)]
        return np.minimum(out, np.float32(1))
