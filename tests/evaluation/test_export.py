"""The exported file: the same numbers under names from which others rebuild the model."""

import json
import math

import numpy as np
import pytest

from massivetext.errors import StageError
from massivetext.evaluation import export as export_module
from massivetext.evaluation.export import export, tensors, write
from massivetext.trainer.data import fingerprint
from massivetext.trainer.model import hidden_states, logits
from massivetext.trainer.parameters import table

from ..trainer import tiny
from .trained_model import learned, trained

safetensors = pytest.importorskip("safetensors", reason="needs: pip install massivetext[train]")
from safetensors.numpy import load_file  # noqa: E402


@pytest.fixture
def exported(tmp_path, monkeypatch):
    def run(model, positions):
        made = trained(model, positions)
        made.shards.manifest["tokenizer_sha256"] = "abc"
        monkeypatch.setattr(export_module, "load", lambda root, config: made)
        path = tmp_path / "new" / "model.safetensors"
        assert export(tmp_path, tiny.config(), path) == path.stat().st_size
        assert [x.name for x in path.parent.iterdir()] == [path.name]
        return made, path

    return run


def norm(x, file, name, subtract_mean):
    x = x - x.mean(-1, keepdims=True) if subtract_mean else x
    scaled = x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * file[name]
    return scaled + file.get(f"{name}_bias", 0)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def forward(file, tokens, relative):
    """Logits [T, V] from the file's tensors alone, one query and one head at a time."""
    x = file["embedding"][tokens]
    length, width = x.shape
    if not relative:
        x = x + file["position_embedding"][:length]
    layers = 1 + max(int(name.split(".")[1]) for name in file if name.startswith("layers."))
    for i in range(layers):
        layer = {k.split(".", 2)[2]: v for k, v in file.items() if k.startswith(f"layers.{i}.")}
        h = norm(x, layer, "attention_norm", not relative)
        q, k, v = (
            np.einsum("td,dhk->thk", h, layer[name]) + layer[f"{name}_bias"]
            for name in ("query", "key", "value")
        )
        attended = np.zeros_like(q)
        for t in range(length):
            for head in range(q.shape[1]):
                scores = []
                for s in range(t + 1):
                    score = q[t, head] @ k[s, head]
                    if relative:
                        m = np.arange(0, width, 2) / width
                        angle = (t - s) * 10000.0**-m
                        encoding = np.concatenate([np.sin(angle), np.cos(angle)])
                        position = encoding @ layer["position"][:, head]
                        score += layer["content_bias"][head] @ k[s, head]
                        score += (q[t, head] + layer["position_bias"][head]) @ position
                    scores.append(score / math.sqrt(q.shape[2]))
                weights = np.exp(np.array(scores) - max(scores))
                attended[t, head] = weights / weights.sum() @ v[: t + 1, head]
        x = x + np.einsum("thk,hkd->td", attended, layer["output"]) + layer["output_bias"]
        h = gelu(norm(x, layer, "ffw_norm", not relative) @ layer["up"] + layer["up_bias"])
        x = x + h @ layer["down"] + layer["down_bias"]
    return norm(x, file, "final_norm", not relative) @ file["embedding"].T


@pytest.mark.parametrize(
    ("model", "positions"), [("gopher-44m", "relative"), ("gpt3-125m", "learned")]
)
def test_others_rebuild_the_model_from_the_file(exported, model, positions):
    made, path = exported(model, positions)
    tokens = np.array([1, 50, 260, 7, 7, 261, 3])
    file = {name: array.astype(np.float64) for name, array in load_file(path).items()}
    expected = logits(made.params, hidden_states(made.params, tokens[None], made.size)[0])
    found = forward(file, tokens, positions == "relative")
    np.testing.assert_allclose(found, expected, atol=2e-4)


def test_the_file_says_where_it_comes_from(exported):
    made, path = exported("palm-8b", "rotary")
    with safetensors.safe_open(path, "np") as file:
        metadata = file.metadata()
    assert json.loads(metadata.pop("dimensions")) == made.size.to_json()
    assert metadata == {
        "format": "massivetext",
        "version": "1",
        "tokenizer_sha256": "abc",
        "shards": fingerprint(made.shards),
        "step": "25",
    }


@pytest.mark.parametrize(
    ("model", "positions"), [("gopher-44m", "relative"), ("palm-8b", "rotary")]
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_parameter_is_there_to_the_bit(tmp_path, model, positions, dtype):
    size, params = learned(model, positions)
    params = {name: array.astype(dtype) for name, array in params.items()}
    path = tmp_path / "x.safetensors"
    write(path, tensors(params, size), {})
    file = load_file(path)
    for name, row in table(size).items():
        array = np.asarray(params[name])
        parts = [file.pop(f"layers.{i}.{name}") for i in range(2)] if row.stacked else None
        found = file.pop(name) if parts is None else np.stack(parts)
        assert found.dtype.name == dtype
        assert found.tobytes() == array.tobytes(), name
    assert not file


def test_the_documented_names_are_those_of_the_table():
    for model, positions in (
        ("gopher-44m", "relative"),
        ("palm-8b", "rotary"),
        ("gpt3-125m", "learned"),
    ):
        for name in tensors(learned(model, positions)[1], learned(model, positions)[0]):
            plain = name.rpartition(".")[2].removesuffix("_bias")
            documented = (
                f"{plain} " in export_module.__doc__ or f".{plain}" in export_module.__doc__
            )
            assert documented, name


def test_what_cannot_be_written_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"before")

    def full(arrays, filename, metadata):
        filename.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.raises(StageError, match=r"cannot write .*x.safetensors: .*No space left"):
        write(path, {"a": np.zeros(3)}, {})
    assert [(x.name, x.read_bytes()) for x in tmp_path.iterdir()] == [(path.name, b"before")]
    monkeypatch.undo()
    (tmp_path / "file").write_text("")
    with pytest.raises(StageError, match=r"cannot write .*file/x"):
        write(tmp_path / "file" / "x", {"a": np.zeros(3)}, {})
