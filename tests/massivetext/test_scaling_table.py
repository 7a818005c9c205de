"""Tables of runs: headers, units, and values that can only be wrong."""

import math
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from massivetext.errors import ConfigError, InputError
from massivetext.scaling.published import PF_DAY
from massivetext.scaling.table import read_runs


@pytest.fixture
def table(tmp_path):
    def write(*lines):
        path = tmp_path / "runs.csv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


def only(runs):
    assert len(runs) == 1
    return runs.parameters[0], runs.tokens[0], runs.flops[0], runs.loss[0]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("parameters,tokens,loss", "1e9,2e10,2.5"),
        ("N,D,Loss", "1e9,2e10,2.5"),
        ("loss,params (M),tokens (B)", "2.5,1000,20"),
        ("params_millions,tokens_in_billions,final loss", "1000,20,2.5"),
        ("Model Size,Training FLOP,loss,hex_color", "1e9,1.2e20,2.5,#fff"),
        ("n_params,flops_pf_days,loss", f"1e9,{1.2e20 / PF_DAY!r},2.5"),
        ("n,compute (exaFLOPs),loss_nats", "1e9,120,2.5"),
        ("parameters,tokens,flops,perplexity", f"1e9,2e10,1.2e20,{math.exp(2.5)!r}"),
        ("parameters,tokens,flops,loss (bits)", f"1e9,2e10,1.2e20,{2.5 / math.log(2)!r}"),
        ("\ufeffparameters,tokens,loss", "1_000_000_000,2e10,2.5"),
    ],
)
def test_headers_and_units(table, header, row):
    runs = read_runs(table(header, row, ""))
    assert only(runs) == pytest.approx((1e9, 2e10, 1.2e20, 2.5))
    assert runs.line.tolist() == [2]


def test_flags_name_columns_and_units(table):
    path = table("loss,validation,n,t", "9,2.5,1000,20")
    columns = {"loss": "validation", "tokens": "t"}
    runs = read_runs(path, columns=columns, units={"parameters": "m", "tokens": "B"})
    assert only(runs) == pytest.approx((1e9, 2e10, 1.2e20, 2.5))


def test_flops_of_the_file_or_6nd(table):
    path = table("n,d,c,loss", "1e9,2e10,1.5e20,2.5")
    assert read_runs(path).flops.tolist() == [1.5e20]
    assert read_runs(path, count_flops=True).flops.tolist() == pytest.approx([1.2e20])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["params,tokens,loss", "70,2e9,3", "400,8e9,2.9"],
            "line 2: params is 70: can only be in another unit; pass --unit parameters=UNIT, such "
            "as M (millions)",
        ),
        (["n,d,loss", "1e9,2e10,2.5", "70,2e9,3"], "line 3: n is 70: can only be in another unit"),
        (["n,d,loss", "1e9,20,2.5"], "line 2: d is 20: can only be in another unit; pass --unit "),
        (["n,flops,loss", "1e9,1.4,2.5"], "flops is 1.4: can only be in another unit; pass --unit"),
        (["n,d,flops,loss", "1e9,2e10,1.4e12,2.5"], "far from 6·N·D"),
        (["n,d,loss", "1e9,1e6,2.5"], "that is 0.001 tokens per parameter"),
        (["n,d,loss", "1e9,2e10,12.6"], "pass --unit loss=bits when it is in bits"),
        (["n,d,loss", "1e9,2e10,18.1"], "pass --unit loss=perplexity when it is a perplexity"),
        (["n,d,loss", "1e9,2e10,nan"], "line 2: loss is nan: the run diverged"),
        (["n,d,loss", "1e9,2e10,inf"], "line 2: loss is inf: the run diverged"),
        (["n,d,loss", "1e9,2e10,-1"], "line 2: loss is -1: it must be above 0"),
        (["n,d,loss", "1e9,nan,2"], "line 2: d is nan: not a number of tokens"),
        (["n,d,loss", "1e9,2e10,"], "line 2: loss is '', not a number"),
        (["n,d,loss", "1e9,20B,2"], "line 2: d is '20B', not a number"),
        (["n,d,loss", "1e9,2e10,2.5", "1e9,2e10"], "line 3: 2 values where the header has 3"),
        (["n,d,ppl", "1e9,2e10,0.9"], "ppl is 0.9: a perplexity is above 1"),
        (["n,d,loss"], "holds no runs"),
        (
            ["n,d,loss,tokenizer", "1e9,2e10,2.5,a", "1e9,3e10,2.4,b"],
            "line 3: the tokenizer is 'b', and 'a' in line 2",
        ),
        (["run,n,d,loss", "a,1e9,1e10,3", "a,2e9,2e10,2"], "line 3: the run 'a' has two numbers"),
        (["run,n,d,loss", "a,1e9,1e10,3", "a,1e9,1e10,2"], "line 3: the run 'a' is twice at the"),
    ],
)
def test_input_errors(table, lines, message):
    path = table(*lines)
    with pytest.raises(InputError) as error:
        read_runs(path)
    assert str(path) in str(error.value)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("header", "options", "message"),
    [
        ("n,d,validation", {}, "no column of the loss: found n, d, validation; pass --column loss"),
        ("n,loss", {}, "neither a column of the tokens nor of the FLOPs"),
        ("n,parameters,d,loss", {}, "'n' and 'parameters' may both be parameters; pass --column"),
        ("n,d,loss", {"columns": {"loss": "los"}}, "no column 'los'; did you mean 'loss'?"),
        ("n,d,loss", {"columns": {"lost": "loss"}}, "no column 'lost' to set; did you mean 'loss'"),
        ("n,d,loss", {"units": {"loss": "bit"}}, "no such unit of loss; did you mean 'bits'?"),
        ("n,d,loss,run", {"units": {"run": "M"}}, "the column run has no unit"),
    ],
)
def test_config_errors(table, header, options, message):
    with pytest.raises(ConfigError) as error:
        read_runs(table(header, "1e9,2e10,2.5,4"[: 2 * len(header)]), **options)
    assert message in str(error.value)


def test_no_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        read_runs(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes(b"n,d,loss,gr\xf6\xdfe\n")
    with pytest.raises(InputError, match="not a CSV in UTF-8"):
        read_runs(tmp_path / "latin.csv")


def test_units_that_are_said_are_not_doubted(table):
    path = table("n,d,loss", "768,3e4,6", "1e4,3e5,5")
    with pytest.raises(InputError, match="n is 768"):
        read_runs(path)
    runs = read_runs(path, units={"parameters": "1", "tokens": "1"})
    assert runs.parameters.tolist() == [768, 1e4]


def test_curves(table):
    runs = read_runs(
        table(
            "run,n,d,loss",
            "b,2e8,1e9,30",  # of the first steps: no worse unit than an unlucky start
            "a,1e8,2e9,3.5",
            "b,2e8,4e9,3.2",
            "a,1e8,1e9,4",
            "b,2e8,2e9,3.6",
        )
    )
    assert runs.parameters.tolist() == [1e8, 2e8]
    assert runs.tokens.tolist() == [2e9, 4e9]
    assert runs.loss.tolist() == [3.5, 3.2]
    assert runs.line.tolist() == [3, 4]
    assert [curve.loss.tolist() for curve in runs.curves()] == [[4, 3.5], [30, 3.6, 3.2]]
    assert runs.curves()[0].flops.tolist() == [6e17, 1.2e18]


def test_runs_of_one_row_are_finished_runs(table):
    runs = read_runs(table("run,n,d,loss", "b,1e8,2e9,3.5", "a,1e8,1e9,4", "c,2e8,1e9,3.9"))
    assert runs.logged == ()
    assert [curve.loss.tolist() for curve in runs.curves()] == [[4, 3.5]]


@given(st.permutations(range(6)))
def test_order_of_lines_changes_only_the_lines(order):
    rows = [f"{n}e8,{d}e9,{4 - n / 10 - d / 10}" for n in (1, 2, 3) for d in (1, 2)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "runs.csv")
        found = []
        for some in (range(6), order):
            path.write_text("n,d,loss\n" + "\n".join(rows[i] for i in some))
            found.append(read_runs(path))
    for name in ("parameters", "tokens", "flops", "loss"):
        assert (getattr(found[0], name) == getattr(found[1], name)).all()
