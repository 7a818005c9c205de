"""Language identification by a fastText model (Gopher, A.1.1, 'Content Filtering').

Works with lid.176, GlotLID, OpenLID and NLLB's: their labels `__label__en`, `__label__eng` and
`__label__eng_Latn` all become `en`.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
from numba import njit

from . import classifier
from .classifier import LABEL_PREFIX, Classifier
from .quality import readonly
from .unicode import classes
from .words import skip_space

# What the model says nothing about: ISO 639-2's code for 'undetermined'.
UNDETERMINED = "und"

# ISO 639-2 or 639-3, then 639-1. Includes the individual languages under which GlotLID, OpenLID
# and NLLB file the macrolanguages that have the two-letter code.
_CODES = """
afr af aka ak als sq amh am ara ar arb ar arg an asm as ava av aym ay ayr ay azb az aze az azj az
bak ba bam bm bel be ben bn bod bo bos bs bre br bul bg cat ca ces cs che ce chv cv cmn zh cor kw
cos co cym cy dan da deu de div dv dzo dz ekk et ell el eng en epo eo est et eus eu ewe ee fao fo
fas fa fij fj fin fi fra fr fry fy ful ff gla gd gle ga glg gl glv gv grn gn gug gn guj gu hat ht
hau ha heb he hin hi hrv hr hun hu hye hy ibo ig ido io ile ie ina ia ind id isl is ita it jav jv
jpn ja kal kl kan kn kas ks kat ka kaz kk khk mn khm km kin rw kir ky kmr ku kom kv kor ko kpv kv
kur ku lao lo lat la lav lv lim li lin ln lit lt ltz lb lug lg lvs lv mal ml mar mr mkd mk mlg mg
mlt mt mon mn mri mi msa ms mya my nav nv nep ne nld nl nno nn nob nb nor no npi ne nya ny oci oc
ori or orm om ory or oss os pan pa pbt ps pes fa plt mg pol pl por pt pus ps que qu quy qu roh rm
ron ro run rn rus ru sag sg san sa sin si slk sk slv sl sme se smo sm sna sn snd sd som so sot st
spa es sqi sq srd sc srp sr ssw ss sun su swa sw swe sv swh sw tam ta tat tt tel te tgk tg tgl tl
tha th tir ti ton to tsn tn tso ts tuk tk tur tr twi tw uig ug ukr uk urd ur uzb uz uzn uz ven ve
vie vi vol vo wln wa wol wo xho xh ydd yi yid yi yor yo zha za zho zh zsm ms zul zu
"""
_TWO_LETTERS = dict(zip(_CODES.split()[::2], _CODES.split()[1::2], strict=True))


def language_code(label: str) -> str:
    """Return the code of a fastText label: no prefix, no script, two letters where they exist."""
    code = label.removeprefix(LABEL_PREFIX).split("_")[0].lower()
    return _TWO_LETTERS.get(code, code)


class LanguageModel:
    """The language of documents, by any fastText classifier of languages."""

    def __init__(self, path: str | Path):
        """Load the model; raises ConfigError as `classifier.Classifier` does."""
        self._classifier = Classifier(path)
        codes = [language_code(label) for label in self._classifier.labels]
        self._codes = pa.array([*codes, UNDETERMINED], pa.string())

    def predict(self, data: np.ndarray, offsets: np.ndarray) -> tuple[pa.Array, np.ndarray]:
        """Return `(language, probability)` of n documents: strings, and float32 in [0, 1].

        The whole text decides. A text for which the model names nothing is `UNDETERMINED`, with
        probability 0; so is one of white space alone, for which a model would name whatever it
        saw most.
        """
        labels, probabilities = self._classifier.predict(data, offsets)
        label, probability = labels[:, 0], probabilities[:, 0]
        undetermined = label < 0
        _mark_blank(readonly(data), readonly(offsets), classes(), undetermined)
        label[undetermined] = len(self._codes) - 1
        probability[undetermined] = 0
        # fastText's softmax reaches 1.00001.
        return self._codes.take(pa.array(label)), np.minimum(probability, np.float32(1))


def warm_up() -> None:
    """Compile the kernels, or load them from the cache."""
    classifier.warm_up()
    empty = readonly(np.zeros(0, np.uint8)), readonly(np.zeros(1, np.int64))
    _mark_blank(*empty, classes(), np.zeros(0, np.bool_))


@njit(cache=True, nogil=True)
def _mark_blank(data, offsets, classes, blank):
    """Set `blank` (bool [n]) for texts without a character that is not white space."""
    for text in range(len(offsets) - 1):
        i, _, _ = skip_space(data, offsets[text], offsets[text + 1], classes)
        if i == offsets[text + 1]:
            blank[text] = True
