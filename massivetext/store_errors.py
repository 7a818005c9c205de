"""Errors of object stores, made to name the address and say what to do."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

# The packages that speak to stores: what else is raised in between is a mistake of ours.
_LIBRARIES = ("aiobotocore", "aiohttp", "botocore", "fsspec", "gcsfs", "google", "pyarrow", "s3fs")
_NUMBERS = (
    (FileNotFoundError, errno.ENOENT),
    (PermissionError, errno.EACCES),
    (FileExistsError, errno.EEXIST),
)


@contextmanager
def naming(address: str) -> Iterator[None]:
    """Make every error of a store an `OSError` whose `filename` is `address`."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and "://" in os.fsdecode(error.filename):
            raise
        # Many of the libraries' errors have a message and no number.
        known = next((number for kind, number in _NUMBERS if isinstance(error, kind)), errno.EIO)
        raise OSError(error.errno or known, _told(reason(error), error), address) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _LIBRARIES:
            raise
        what = _told(f"{type(error).__name__}: {error}", error)
        raise OSError(errno.EIO, what, address) from error


def reason(error: OSError) -> str:
    """Return what an error of the disk or of a store says, without its number and address."""
    return error.strerror or " ".join(map(str, error.args)) or type(error).__name__


def _told(what: str, error: Exception) -> str:
    """Say what to do about an error for which a person can do something."""
    text = f"{type(error).__name__} {what}".lower()
    if "credential" in text:
        return f"{what}; give this machine credentials for the store, or set its variables"
    if "bucket does not exist" in text or "nosuchbucket" in text:
        return f"{what}; make the bucket, or correct its name"
    if isinstance(error, PermissionError):
        return f"{what}; these credentials may not do this here"
    return "there is no such object" if isinstance(error, FileNotFoundError) else what
