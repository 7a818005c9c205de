"""Text that is continued with a cache against the full forward pass, run again for each token."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from massivetext.errors import ConfigError
from massivetext.evaluation import generate as generate_module
from massivetext.evaluation.decoding import Decoding, ban, contrast, sample
from massivetext.evaluation.generate import continue_tokens, generate
from massivetext.trainer.model import hidden_states, logits
from massivetext.trainer.parameters import named_seed

from ..trainer import tiny
from .trained_model import CONTEXT, SIZES, TEXT, learned, tokenizer, trained

GREEDY = Decoding(temperature=0)
PROMPT = [1, *tokenizer().encode("one two three").tolist()]
BANNED = (0, 40)


full = jax.jit(hidden_states, static_argnames="size")


class Slow:
    """The same texts, from the full forward pass of all that is in the window."""

    def __init__(self, size, params, window, seed=1):
        self.size, self.params, self.window, self.seed = size, params, window, seed

    def states(self, tokens):
        """Hidden states [T, D], padded to one shape, which causality makes harmless."""
        padded = np.zeros((1, self.window), np.int32)
        padded[0, : len(tokens)] = tokens
        return full(self.params, padded, self.size)[0]

    def window_of(self, text, ahead):
        """The rule of the window: full, it goes on with its last half."""
        seen = text[: len(PROMPT)][-(self.window - ahead) :]
        for token in text[len(PROMPT) :]:
            seen = [*seen, token]
            if len(seen) + ahead > self.window:
                seen = seen[-max(1, self.window // 2) :]
        return seen

    def drawn(self, count, how):
        key, text = jax.random.key(named_seed(self.seed, "sample")), list(PROMPT)
        for number in range(count):
            seen = self.window_of(text, 0)
            scores = logits(self.params, self.states(seen)[len(seen) - 1])
            text.append(int(sample(ban(scores, BANNED), jax.random.fold_in(key, number), how)))
        return text[len(PROMPT) :]

    def contrasted(self, count, how):
        text = list(PROMPT)
        for _ in range(count):
            seen = self.window_of(text, 1)
            states = self.states(seen)
            scores = ban(logits(self.params, states[len(seen) - 1]), BANNED)
            top, tokens = jax.lax.top_k(jax.nn.softmax(scores), how.candidates)
            ahead = [self.states([*seen, int(token)])[len(seen)] for token in tokens]
            best = contrast(top, jnp.stack(ahead), states, len(seen), how.contrastive)
            text.append(int(tokens[best]))
        return text[len(PROMPT) :]


def fast(size, params, count, how, window=CONTEXT, seed=1, eos_id=-1, banned=BANNED):
    keywords = {"window": window, "seed": seed, "eos_id": eos_id, "banned": banned}
    return list(continue_tokens(params, size, PROMPT, count, how, **keywords))


@pytest.mark.parametrize(("model", "positions"), SIZES)
def test_text_is_that_of_the_full_forward_pass(model, positions):
    size, params = learned(model, positions)
    slow = Slow(size, params, CONTEXT)
    assert fast(size, params, 20, GREEDY) == slow.drawn(20, GREEDY)
    varied = Decoding(temperature=2.0, top_k=0)
    found = fast(size, params, 40, varied)  # further than the window
    assert found == slow.drawn(40, varied)
    assert len(set(found)) > 8


def test_a_model_that_has_learned_to_count_goes_on_counting():
    size, params = learned()
    text = tokenizer().decode(np.array(fast(size, params, 6, GREEDY)))
    assert TEXT[len("one two three") :].startswith(text)


@pytest.mark.parametrize(
    "how", [Decoding(1.0, 0), Decoding(0.8, 5), Decoding(1.5, 0, 0.9), Decoding(1.2, 30, 0.8)]
)
def test_drawn_text_is_that_of_the_full_forward_pass(how):
    size, params = learned()
    for seed in (1, 2):
        found = fast(size, params, 20, how, seed=seed)
        assert found == Slow(size, params, CONTEXT, seed).drawn(20, how)


@pytest.mark.parametrize("window", [2, 7, 2 * CONTEXT])
def test_a_full_window_goes_on_with_its_last_half_whatever_was_trained_with(window):
    size, params = learned()
    count = 12 if window < CONTEXT else 45
    found = fast(size, params, count, GREEDY, window)
    assert found == Slow(size, params, window).drawn(count, GREEDY)


@pytest.mark.parametrize(("model", "positions"), SIZES[:2])
def test_contrastive_text_is_that_of_the_full_forward_pass(model, positions):
    size, params = learned(model, positions)
    how = Decoding(contrastive=0.6, candidates=4)
    assert fast(size, params, 32, how) == Slow(size, params, CONTEXT).contrasted(32, how)


def test_contrastive_search_without_a_penalty_or_a_choice_is_greedy():
    size, params = learned()
    greedy = fast(size, params, 20, GREEDY)
    assert fast(size, params, 20, Decoding(contrastive=0.0, candidates=4)) == greedy
    assert fast(size, params, 20, Decoding(contrastive=0.9, candidates=1)) == greedy


def test_the_logits_are_those_of_the_full_forward_pass():
    size, params = learned()
    text = [*PROMPT, *fast(size, params, 20, GREEDY)]
    state = generate_module._empty(size, CONTEXT, jnp.float32)
    read = generate_module._read
    state = read(params, state, np.array([PROMPT]), np.int32(len(PROMPT)), size, "float32")
    expected = logits(params, Slow(size, params, CONTEXT).states(text))
    for number, token in enumerate(text[len(PROMPT) :], start=len(PROMPT)):
        found = logits(params, state["last"])
        np.testing.assert_allclose(found, expected[number - 1], atol=1e-5)
        state = read(params, state, np.array([[token]]), np.int32(1), size, "float32")


def test_an_end_of_text_ends_the_text_and_a_banned_token_never_comes():
    size, params = learned()
    found = fast(size, params, 20, GREEDY)
    assert fast(size, params, 20, GREEDY, eos_id=found[2]) == found[: found.index(found[2])]
    for how in (GREEDY, Decoding(contrastive=0.6, candidates=4)):
        assert found[0] not in fast(size, params, 20, how, banned=(*BANNED, found[0]))
    assert fast(size, params, 0, GREEDY) == []


def test_learned_positions_end():
    size, params = learned("gpt3-125m", "learned")
    with pytest.raises(ConfigError, match="64 tokens are longer than the 32 learned positions"):
        fast(size, params, 60, GREEDY, window=2 * CONTEXT)


def test_a_window_without_room_is_refused():
    size, params = learned()
    assert len(fast(size, params, 3, GREEDY, window=1)) == 3
    for window, how in ((0, GREEDY), (1, Decoding(contrastive=0.5))):
        with pytest.raises(ConfigError, match=f"a window of {window} tokens is too short"):
            fast(size, params, 3, how, window=window)


def test_prompts_of_any_length_share_a_few_compilations():
    size, params = learned()
    functions = generate_module._read, generate_module._draw
    before = [function._cache_size() for function in functions]
    for length in range(1, 40):
        list(continue_tokens(params, size, [1] * length, 8, GREEDY, window=32, seed=1, eos_id=-1))
    # Rooms of 16 and 32; prompts of 1 ... 32 in them, and the half window of a text that slides.
    read, draw = (f._cache_size() - n for f, n in zip(functions, before, strict=True))
    assert read <= 12
    assert draw <= 1


@pytest.fixture
def loaded(monkeypatch):
    monkeypatch.setattr(generate_module, "load", lambda root, config: trained())


def test_generate_returns_the_prompt_and_what_follows(loaded, tmp_path):
    config = tiny.config()
    found = generate(tmp_path, config, "one two three", 6, GREEDY, seed=0)
    assert found.startswith("one two three four")
    assert generate(tmp_path, config, "", 0, GREEDY, 0) == ""
    drawn = [generate(tmp_path, config, "one", 12, Decoding(2.0, 0), s) for s in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_generate_refuses_nonsense(loaded, tmp_path):
    with pytest.raises(ConfigError, match="tokens is -1; it must be at least 0"):
        generate(tmp_path, tiny.config(), "x", -1, GREEDY, 0)


def test_what_training_never_saw_is_banned():
    model = trained()
    assert model.banned == (0,)  # <unk>; this tokenizer pads with its end of text
    other = replace(model)
    other.__dict__["tokenizer"] = type("T", (), {"pad_id": 5, "unk_id": 0, "eos_id": 1})()
    assert other.banned == (0, 5)
