"""The size of every batch, and sums over them, against going through them one by one."""

from hypothesis import given
from hypothesis import strategies as st

from massivetext.config_train import BatchRamp, RampPoint, Train
from massivetext.trainer.ramp import batch_size, micro_batch_size, sequences_of, steps_within


def ramp(form, *points, micro=2, steps=1000):
    return Train(
        steps=steps,
        batch_size=points[-1][1],
        micro_batch_size=micro,
        batch_ramp=BatchRamp(tuple(RampPoint(*point) for point in points), form),
    )


def test_without_a_ramp_all_batches_are_alike():
    plan = Train(steps=7, batch_size=6)
    assert [batch_size(plan, n) for n in (0, 6, 10**9)] == [6, 6, 6]
    assert micro_batch_size(plan) == 6
    assert (sequences_of(plan), sequences_of(plan, 3), sequences_of(plan, 0)) == (42, 18, 0)
    assert [steps_within(plan, n) for n in (0, 5, 6, 41, 42)] == [0, 0, 1, 6, 7]


def test_steps_change_at_the_point():
    plan = ramp("steps", (0, 4), (10, 8), (30, 12))
    sizes = {0: 4, 9: 4, 10: 8, 29: 8, 30: 12, 10**12: 12}
    assert {n: batch_size(plan, n) for n in sizes} == sizes
    # 4 4 4 (to 12) 8 8 8 (to 36) 12 ...
    assert [sequences_of(plan, n) for n in range(9)] == [0, 4, 8, 12, 20, 28, 36, 48, 60]


def test_linear_is_rounded_down_to_micro_batches():
    plan = ramp("linear", (0, 4), (100, 24), micro=4)
    # 4 + 20 · n / 100, down to a multiple of 4
    sizes = {0: 4, 19: 4, 20: 8, 39: 8, 40: 12, 60: 16, 80: 20, 99: 20, 100: 24, 10**12: 24}
    assert {n: batch_size(plan, n) for n in sizes} == sizes


def test_gophers_ramp_in_tokens():
    """Gopher 280B: 3 M tokens to 6 M, of sequences of 2,048 (section 3.1)."""
    plan = ramp("steps", (0, 1536), (10_000_000, 3072), micro=512, steps=100_000)
    before = -(-10_000_000 // 1536)
    assert sequences_of(plan) == before * 1536 + (100_000 - before) * 3072


@st.composite
def plans(draw):
    micro = draw(st.integers(1, 4))
    count = draw(st.integers(1, 4))
    sizes = sorted(draw(st.sets(st.integers(1, 20), min_size=count, max_size=count)))
    starts = sorted(draw(st.sets(st.integers(1, 300), min_size=count - 1, max_size=count - 1)))
    points = [(at, micro * size) for at, size in zip([0, *starts], sizes, strict=True)]
    form = draw(st.sampled_from(["steps", "linear"]))
    return ramp(form, *points, micro=micro, steps=draw(st.integers(1, 80)))


@given(plans(), st.integers(0, 2000))
def test_sums_are_those_of_the_batches(plan, available):
    total, sums = 0, [0]
    for _ in range(plan.steps):
        size = batch_size(plan, total)
        assert size % micro_batch_size(plan) == 0
        assert plan.batch_ramp.points[0].batch_size <= size <= plan.batch_size
        total += size
        sums.append(total)
    assert sequences_of(plan) == total
    assert [sequences_of(plan, n) for n in range(plan.steps + 1)] == sums
    fits = steps_within(plan, available)
    assert sequences_of(plan, fits) <= available < sequences_of(plan, fits + 1)
