"""Errors a person can act on. Each says what is wrong, where, and what to do."""

import difflib
from collections.abc import Iterable


class MassivetextError(Exception):
    """Base of every error that the command line reports without a traceback."""

    exit_code = 1


class ConfigError(MassivetextError):
    """The config, a flag or a path given by the user is wrong; nothing was run."""

    exit_code = 2


class InputError(MassivetextError):
    """Input data is unusable: names the file and, where known, the record."""

    exit_code = 3


class StageError(MassivetextError):
    """A stage stopped before its output was complete; running again continues."""

    exit_code = 4


class VerifyError(MassivetextError):
    """A finished output is not what its manifest says."""

    exit_code = 5


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the valid name closest to `name`, or the valid names."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; valid: {', '.join(names)}" if names else ""
