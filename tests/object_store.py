"""An S3 store of this process, with a bucket `bucket`, on 127.0.0.1; for tests."""

import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from massivetext.storage import Location, location, sizes

ADDRESS = "s3://bucket"


@contextmanager
def server() -> Iterator[str]:
    """Run a store that the environment leads to meanwhile; yield its URL."""
    import s3fs
    from moto.server import ThreadedMotoServer

    started = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    started.start()
    url = "http://{}:{}".format(*started.get_host_and_port())
    variables = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        with mock.patch.dict(os.environ, variables):
            # File systems are kept by fsspec, with the address of an earlier server.
            s3fs.S3FileSystem.clear_instance_cache()
            # What an earlier server of this process was given is still there.
            reset = urllib.request.Request(f"{url}/moto-api/reset", method="POST")
            urllib.request.urlopen(reset, timeout=60).close()
            s3fs.S3FileSystem().mkdir("bucket")
            yield url
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        started.stop()


def upload(root: Path, name: str) -> Location:
    """Put all that is below `root` on the store; return its address there."""
    address = location(f"{ADDRESS}/{name}")
    names = sizes(root)
    address.fs.put([str(root / name) for name in names], [(address / n).path for n in names])
    return address
