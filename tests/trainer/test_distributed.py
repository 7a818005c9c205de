"""Two processes of two devices each train as one does; each reads its own sequences only."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from massivetext.config_train import Mesh
from massivetext.errors import ConfigError
from massivetext.trainer.distributed import global_batch, initialise, local_rows
from massivetext.trainer.sharding import batch_sharding, make_mesh

from .layouts import SEQUENCES, batch, plan, run

TRAIN = plan("palm", mesh=Mesh(data=2, fsdp=2, partition_optimizer=True))

PROGRAM = """
import json
import sys

import jax

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_disable_most_optimizations", True)
from massivetext.trainer import distributed

distributed.initialise()

import numpy as np
from massivetext.trainer.sharding import batch_sharding, make_mesh
from massivetext.trainer.step import initial_state, make_step
from tests.trainer.layouts import RATE, SEQUENCES, batch, size_of
from tests.trainer.test_distributed import TRAIN

mesh, size = make_mesh(TRAIN.mesh, SEQUENCES), size_of(TRAIN)
split = batch_sharding(mesh)
rows = distributed.local_rows(split, SEQUENCES)
inputs, targets = (
    distributed.global_batch(x[:, rows], split, SEQUENCES) for x in batch()
)
state = initial_state(TRAIN, size, 0, mesh)
state, values = make_step(TRAIN, size, mesh)(state, inputs, targets, np.int32(1), RATE)
values = {name: float(value) for name, value in values.items()}
print(json.dumps({"rows": rows.tolist(), "values": values}), flush=True)
"""


def test_two_processes_train_as_one():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    common = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    root = str(Path(__file__).parents[2])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            cwd=root,
            env={**os.environ, **common, "JAX_PROCESS_ID": str(i), "PYTHONPATH": root},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], outputs
    said = [json.loads(out.splitlines()[-1]) for out, _ in outputs]
    assert [x["rows"] for x in said] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert said[0]["values"] == said[1]["values"]
    _, [metrics] = run(TRAIN, [batch()])
    assert said[0]["values"] == pytest.approx(metrics, rel=1e-6)


def test_one_process_reads_every_sequence():
    sharding = batch_sharding(make_mesh(TRAIN.mesh, SEQUENCES))
    rows = local_rows(sharding, SEQUENCES)
    assert rows.tolist() == list(range(SEQUENCES))
    inputs, _ = batch()
    array = global_batch(inputs, sharding, SEQUENCES)
    assert array.sharding.is_equivalent_to(sharding, 3)
    np.testing.assert_array_equal(array, inputs)
    with pytest.raises(ValueError, match="7 sequences of a micro batch; 8 are local"):
        global_batch(inputs[:, 1:], sharding, SEQUENCES)


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (("host:1", 2, None), {}, "JAX_PROCESS_ID is missing"),
        ((None, None, None), {"JAX_NUM_PROCESSES": "2"}, "JAX_COORDINATOR_ADDRESS, JAX_PROCESS_ID"),
        (("host:1", 2, 2), {}, "process 2 of 2: processes are numbered from 0"),
        (("host:1", None, 0), {"JAX_NUM_PROCESSES": "two"}, "'two'; it must be a number"),
    ],
)
def test_half_a_description_of_the_processes_is_refused(
    arguments, environment, message, monkeypatch
):
    for name in ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        initialise(*arguments)
    assert not jax.distributed.is_initialized()
