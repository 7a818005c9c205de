"""Published constants, unrounded where they are to be had, and a table that departs from them."""

from dataclasses import dataclass
from math import exp

from .laws import KaplanLaws, ParametricLaw, tokens_for

PF_DAY = 8.64e19  # FLOPs of 1e15 per second for a day

# Hoffmann et al. (2022), equation 10, with the digits of the paper's TeX source. From the rounded
# E = 1.69, A = 406.4, B = 410.7, alpha = 0.34, beta = 0.28 follows a = 0.452 instead of 0.457, and
# a model a fifth smaller for Gopher's budget.
HOFFMANN = ParametricLaw(exp(0.5267228), exp(6.0073404), exp(6.0179186), 0.33917084, 0.2849083)
# Besiroglu et al. (2024): approach 3 once more, on data read off Chinchilla's Figure 4.
EPOCH = ParametricLaw(1.81686, 482.00572, 2085.43420, 0.34781, 0.36585)
# Muennighoff et al. (2023), the law for data that repeat; see `repeated`.
MUENNIGHOFF = ParametricLaw(exp(0.6254804), exp(6.255414), exp(7.3049974), 0.3526596, 0.3526596)
LAWS = {"hoffmann": HOFFMANN, "epoch": EPOCH, "muennighoff": MUENNIGHOFF}
# Kaplan et al. (2020), Table 5: parameters without embeddings, WebText2.
KAPLAN = KaplanLaws(8.8e13, 0.076, 5.4e13, 0.095, 1.6e7 * PF_DAY, 0.057)

# Hoffmann et al. (2022), Table A3, approach 3, as printed: parameters, FLOPs, tokens.
TABLE_A3 = (
    (400e6, 2.21e19, 9.2e9),
    (1e9, 1.62e20, 27.1e9),
    (10e9, 2.46e22, 410.1e9),
    (67e9, 1.71e24, 4.1e12),
    (175e9, 1.26e24, 12.0e12),
    (280e9, 3.52e25, 20.1e12),
    (520e9, 1.36e26, 43.5e12),
    (1e12, 5.65e26, 94.1e12),
    (10e12, 8.55e28, 1425.5e12),
)


@dataclass(frozen=True)
class TableRow:
    """A row of Table A3 as printed, and what a law gives for the same parameters."""

    parameters: float
    printed_flops: float
    printed_tokens: float
    flops: float
    tokens: float

    @property
    def misprint(self) -> bool:
        """Whether the printed FLOPs are not even 6·N·D of the printed tokens."""
        product = 6 * self.parameters * self.printed_tokens
        return not 0.9 < self.printed_flops / product < 1.1


def table_a3(law: ParametricLaw = HOFFMANN) -> list[TableRow]:
    """Return Table A3's rows beside what `law` gives: the two differ, and we follow the law."""
    rows = []
    for parameters, flops, tokens in TABLE_A3:
        own = float(law.flops_for(parameters))
        rows.append(TableRow(parameters, flops, tokens, own, float(tokens_for(own, parameters))))
    return rows
