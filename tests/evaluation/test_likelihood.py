"""Likelihoods of continuations against the full forward pass of each request alone."""

import jax
import numpy as np
import pytest

from massivetext.errors import InputError
from massivetext.evaluation import likelihood as likelihood_module
from massivetext.evaluation.likelihood import Request, encode_pair, likelihoods
from massivetext.trainer.model import hidden_states, logits

from .trained_model import CONTEXT, trained

full = jax.jit(hidden_states, static_argnames="size")


def slow(model, context, target):
    """Nats, whether greedy, and whether truncated, from all log-probabilities of one sequence."""
    seen = [*context, *target][-CONTEXT - 1 :]
    padded = np.zeros((1, CONTEXT), np.int32)
    padded[0, : len(seen) - 1] = seen[:-1]
    hidden = full(model.params, padded, model.size)[0]
    table = np.asarray(jax.nn.log_softmax(logits(model.params, hidden), axis=-1))
    rows = table[len(seen) - 1 - len(target) : len(seen) - 1]
    nats = -sum(float(row[token]) for row, token in zip(rows, target, strict=True))
    greedy = all(int(row.argmax()) == token for row, token in zip(rows, target, strict=True))
    return nats, greedy, len(context) + len(target) > CONTEXT + 1


def request(rng, context, target):
    vocabulary = trained().size.vocab_size
    return Request(*(rng.integers(2, vocabulary, n).tolist() for n in (context, target)))


def test_likelihoods_are_those_of_each_request_alone(monkeypatch):
    rng = np.random.default_rng(0)
    lengths = [(1, 1), (5, 3), (20, 13), (20, 14), (31, 1), (32, 1), (33, 1), (60, 9), (1, 32)]
    requests = [request(rng, *pair) for pair in lengths]
    # What the model itself goes on with is greedy; with a last token changed it is not.
    model = trained()
    one = encode_pair(model, "one two three", " four five six")
    requests += [one, Request(one.context, [*one.target[:-1], 200])]
    monkeypatch.setattr(likelihood_module, "CHUNK_LOGITS", 8 * model.size.vocab_size)
    monkeypatch.setattr(likelihood_module, "MIN_LENGTH", 4)
    found = likelihoods(model, requests)
    for number, (pair, each) in enumerate(zip(requests, found, strict=True)):
        nats, greedy, truncated = slow(model, *pair)
        assert each.nats == pytest.approx(nats, abs=2e-4), number
        assert (each.greedy, each.truncated) == (greedy, truncated), number
    assert [each.greedy for each in found[-2:]] == [True, False]
    assert [each.truncated for each in found] == [False] * 3 + [True] + [False] * 2 + [
        True,
        True,
        False,
        False,
        False,
    ]


def test_order_and_company_do_not_matter():
    rng = np.random.default_rng(1)
    requests = [request(rng, rng.integers(1, 40), rng.integers(1, 9)) for _ in range(11)]
    model = trained()
    found = likelihoods(model, requests)
    again = likelihoods(trained(batch_size=1), requests[::-1])[::-1]
    for a, b in zip(found, again, strict=True):
        assert a.nats == pytest.approx(b.nats, rel=1e-5)
        assert a[1:] == b[1:]
    assert likelihoods(model, []) == []


def test_a_target_longer_than_the_context_is_refused():
    rng = np.random.default_rng(2)
    with pytest.raises(InputError, match=r"a target of 33 tokens is longer than .* context of 32"):
        likelihoods(trained(), [request(rng, 1, 33)])


@pytest.mark.parametrize(
    ("context", "target", "split"),
    [
        ("one two", " three", ("one two", " three")),
        ("one two ", "three", ("one two", " three")),
        ("one two \n", "three", ("one two", " \nthree")),
        ("", "one", ("", "one")),
        ("  ", "one", ("", "  one")),
    ],
)
def test_a_pair_is_cut_where_the_context_ends(context, target, split):
    model = trained()
    found = encode_pair(model, context, target)
    assert found.context == [1, *model.tokenizer.encode(split[0]).tolist()]
    assert found.target == model.tokenizer.encode(split[1]).tolist()


def test_a_token_across_the_joint_is_not_made():
    model = trained()
    joined = model.tokenizer.encode("one seven").tolist()
    found = encode_pair(model, "one sev", "en")
    assert [*found.context[1:], *found.target] != joined
    assert model.tokenizer.decode(np.array(found.target)) == "en"
    assert found.context[1:] == model.tokenizer.encode("one sev").tolist()
