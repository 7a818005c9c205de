import json

import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from massivetext.document import DOCUMENT, PAGE, DeadLetters
from massivetext.extract import PageTooLarge, extract, extract_batch, guard

PROSE = (
    "The quick brown fox jumps over the lazy dog while forty-two engineers look on and take notes, "
    "and then they all go home to write about what they have seen that day."
)


def page(body, head=""):
    return f"<!DOCTYPE html><html><head>{head}</head><body>{body}</body></html>"


def test_prose_stays_and_navigation_goes():
    text = extract(
        page(
            "<nav><a href=/>Home</a></nav>"
            "<div class='site-header'><ul><li><a href=a>News</a><li><a href=b>Sport</a></ul></div>"
            f"<div id=story><h1>A fox</h1><p>{PROSE}</p><p>Short end.</p></div>"
            "<div class=footer><p>Copyright by nobody at all, all rights reserved.</p></div>"
            "<script>var x = '<p>';</script>"
        )
    )
    assert text == f"A fox\n\n{PROSE}\n\nShort end."


def test_lists_keep_bullets_numbers_and_nesting():
    text = extract(
        page(
            f"<p>{PROSE}</p><ul><li>one<ul><li>deeper</li></ul></li><li><p>two</p><p>more</p></li>"
            "</ul><ol><li>first<li>second</ol>"
        )
    )
    assert text == f"{PROSE}\n\n- one\n  - deeper\n\n- two\n\n  more\n\n1. first\n2. second"


def test_pre_is_verbatim():
    code = "def f(x):\n    if x:\n        return '<'\n\n    return 1"
    html = code.replace("<", "&lt;")
    assert extract(page(f"<p>{PROSE}</p><div><pre><b>{html}</b></pre></div>")) == (
        f"{PROSE}\n\n{code}"
    )


def test_table_rows_are_lines_with_tabs():
    rows = "<table><tr><th>a<th>b</tr><tr><td>1</td><td><p>2</p></td></tr></table>"
    assert extract(page(f"<p>{PROSE}</p>{rows}")) == f"{PROSE}\n\na\tb\n1\t2"


def test_a_long_table_of_numbers_does_not_outweigh_the_prose():
    rows = "".join(f"<tr><td><p>{i}</p></td><td><p>{i * i}</p></td></tr>" for i in range(100))
    text = extract(page(f"<p>{PROSE}</p><table>{rows}</table>"))
    assert text == f"{PROSE}\n\n" + "\n".join(f"{i}\t{i * i}" for i in range(100))


def test_a_layout_table_is_read_as_its_blocks():
    cells = f"<td><a href=x>Home</a> <a href=y>News</a></td><td><p>{PROSE}</p><p>{PROSE}</p></td>"
    text = extract(page(f"<table><tr>{cells}</tr></table>"))
    assert text.startswith(f"{PROSE}\n\n{PROSE}")


def test_line_breaks_indentation_and_entities():
    text = extract(
        page(f"<p>{PROSE}<br>next &amp;amp; line&nbsp;here &lt;b&gt;</p><blockquote>Said so.")
    )
    assert text == f"{PROSE}\nnext &amp; line here <b>\n\n  Said so."


def test_hidden_text_goes():
    hidden = (
        "<p hidden>a</p><p style='display: none'>b</p><p style='color:red;display:none'>c</p>"
        "<p style='visibility: hidden'>d</p><p aria-hidden=true>e</p>"
    )
    assert extract(page(f"<p>{PROSE}<span hidden>, not <b>this</b></span></p>{hidden}")) == PROSE
    shown = "<p style='display: block; content: none' aria-hidden=false data-hidden>shown</p>"
    assert extract(page(f"<p>{PROSE}</p>{shown}")) == f"{PROSE}\n\nshown"


def test_text_beside_what_is_removed_does_not_run_together():
    text = extract(page(f"<div>{PROSE}<nav>menu</nav>after<script>x</script>wards</div>"))
    assert text == f"{PROSE}\n\nafterwards"


@pytest.mark.parametrize(
    "raw",
    [
        "<script>if (a</p>b) '<!-- <b>'</script>",
        "<script><!--<script></script>--></script>",
        "<script><!-- '</b>' //--></script>",
        "<style>p:after { content: '</p>' }</style>",
        "<iframe></iframe><noembed><p></noembed>",
        "<!-- > <p> - -- --><?p x?>",
        "<svg><style>&lt;/style>&lt;plaintext></style><link></link><title>x</title></svg>",
        "<template><script><!--<script></script>--></script></template>",
        "<textarea></p></textarea>",
        "<math><annotation>x</annotation></math>",
    ],
)
def test_what_is_not_text_is_passed_over(raw):
    assert extract(page(f"<div><p>{PROSE}{raw}</p><p>after</p></div>")) == f"{PROSE}\n\nafter"


def test_plaintext_is_passed_over():
    assert extract(page(f"<p>{PROSE}</p><template><plaintext></template><p>x</p>")) == PROSE
    assert extract(f"<p>{PROSE}<plaintext></plaintext>x</p>") == PROSE


def test_a_boilerplate_word_in_a_long_class_name_is_no_evidence():
    assert extract(page(f"<div class='nav-drawer-slide-panel'><p>{PROSE}</p></div>")) == PROSE
    assert extract(page(f"<div class='site-nav'><p>{PROSE}</p></div>")) == ""


@pytest.mark.parametrize(("size", "kept"), [(139, False), (140, True)])
def test_a_group_needs_140_characters(size, kept):
    text = "x" * (size - 1) + "!"
    best = f"<div><p>{PROSE}</p><p>{PROSE}</p></div>"
    other = f"<section><div><p>{text[:70]}</p><p>{text[70:]}</p></div></section>"
    assert ("!" in extract(page(best + other))) is kept


@pytest.mark.parametrize(("share", "kept"), [(0.199, False), (0.2, True)])
def test_a_group_needs_a_fifth_of_the_best(share, kept):
    best, other = "b" * 2000, "o" * round(2000 * share)
    pair = "<div><p>{}</p><p>{}</p></div>"
    other = pair.format(other[: len(other) // 2], other[len(other) // 2 :] + "!")
    text = extract(page(pair.format(best[:1000], best[1000:]) + f"<section>{other}</section>"))
    assert ("!" in text) is kept


@pytest.mark.parametrize(
    ("levels", "share", "kept"),
    [
        *((1, 0.199, False), (1, 0.2, True), (2, 0.299, False), (2, 0.3, True)),
        *((4, 0.499, False), (4, 0.5, True), (9, 0.499, False), (9, 0.5, True)),
    ],
)
def test_the_share_grows_with_the_levels_between(levels, share, kept):
    def wrapped(tag, letter, size):
        text = f"<p>{letter * (size // 2)}</p><p>{letter * (size // 2 - 1)}!</p>"
        return f"<{tag}>" * (levels - 1) + f"<div>{text}</div>" + f"</{tag}>" * (levels - 1)

    html = page(wrapped("div", "b", 2000) + f"<form>{wrapped('div', 'o', round(2000 * share))}")
    assert extract(html).count("!") == (1 if kept else 0) + 1


def test_an_aunt_is_no_further_than_a_sibling():
    best = f"<div><div><div><p>{'b' * 1000}</p><p>{'b' * 1000}</p></div></div></div>"
    other = f"<section><p>{'o' * 200}</p><p>{'o' * 199}!</p></section>"
    assert "!" in extract(page(best + other))


def test_text_that_runs_a_script_is_no_link():
    assert extract(page(f"<p><a href='javascript:x()'>{PROSE}</a></p>")) == PROSE


def test_comments_and_dialogs_go():
    rest = "".join(f"<div {a}><p>{PROSE}</p></div>" for a in ("class=comment", "role=dialog"))
    assert extract(page(f"<p>{PROSE}</p>{rest}")) == PROSE


def test_a_group_at_the_path_of_the_best_may_be_short():
    best = f"<section><div><p>{'b' * 2000}</p><p>{'b' * 2000}</p></div></section>"
    other = f"<div><p>{PROSE}</p><p>{PROSE}</p></div>"
    assert extract(page(f"{best}<section>{other}</section>")).count(PROSE) == 2
    assert extract(page(f"{best}<form>{other}</form>")).count(PROSE) == 0


def test_an_element_around_one_block_is_no_level():
    prose = [f"{PROSE} {i}" for i in range(3)]
    wrapped = "".join(f"<div><div><p>{text}</p></div></div>" for text in prose)
    short = "<div><p>Yes.</p></div>"
    assert extract(page(wrapped + short)) == "\n\n".join([*prose, "Yes."])


def test_salient_text_around_the_main_element_leads_up_to_it():
    section = f"<section><h2>Part</h2><p>{'b' * 4000}</p></section>"
    text = extract(page(f"<main><h1>Title</h1><p>{PROSE}</p>{section}</main>"))
    assert text == f"Title\n\n{PROSE}\n\nPart\n\n{'b' * 4000}"


def test_wide_characters_count_three():
    line = "一波波低溫寒流報到已將後山一帶層層山巒披上"  # 21 characters
    best = f"<div><p>{line}</p><p>{line}</p><p>{line}</p></div>"
    other = f"<section><div><p>{PROSE}</p><p>{'w ' * 60}</p></div></section>"
    assert extract(page(best + other)).count(line) == 3
    assert extract(page(best.replace(line, line[:20]) + other)).count(line[:20]) == 0


def test_without_salient_text_the_largest_group_is_left():
    assert extract("") == ""
    assert extract(page("<p>short</p>")) == "short"
    verse = "<div><p>Two roads</p><p>diverged</p></div>"
    assert extract(page(f"<section><p>Poems</p></section>{verse}")) == "Two roads\n\ndiverged"
    assert extract(page(f"<p><a href=x>{PROSE}</a></p>")) == ""
    assert extract(page("<p>by <a href=x>someone else</a></p>")) == ""


def test_hostile_nesting_is_flat_work():
    assert extract("<div>" * 20_000 + PROSE + "</div>" * 20_000) == PROSE
    assert extract("<span>" * 20_000 + f"<p>{PROSE}") == PROSE
    deep_list = extract("<ul><li>" * 500 + PROSE)
    assert deep_list == " " * 40 + "- " + PROSE


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 100_000,
        "<x>" * 100_000 + "<div></div>" * 100_000,
        "<p>" + "".join(f"<b id={i}>" for i in range(1400)) + "<p>x" * 1400,
        "x" * (guard.PAGE_BYTES + 1),
        "é" * (guard.PAGE_BYTES // 2 + 1),
    ],
)
def test_pages_that_would_cost_too_much_are_refused(html):
    with pytest.raises(PageTooLarge):
        extract(html)


def test_large_plain_pages_are_not_refused():
    html = f"<div><p>{PROSE}<br><img src=x></p></div>" * 10_000
    assert extract(html).count(PROSE) == 10_000
    assert extract("<p>" * 50_000 + PROSE) == PROSE
    assert extract(f"<p><font size=2>{PROSE}" * 300).count(PROSE) == 300


@given(st.text(alphabet=st.sampled_from("<>/pdivultrab \"'=&;!-x\n\0é\ud800"), max_size=200))
@settings(max_examples=300, deadline=None)
def test_never_fails_on_any_markup(html):
    clean = html.encode("utf-8", "replace").decode()
    assert extract(clean) == extract(clean)


FRAGMENTS = [
    *("<p>", "</p>", '<div a"b>', "<td", "<tr>", "<table>", "</table>", "<li =x=\"'>", '<a"b c>'),
    *(
        "</div>",
        "<ul>",
        "</ul>",
        "<!--",
        "-->",
        "--!>",
        "<?x --> y>",
        "<b class='>'>",
        "</b>",
        "<a ",
    ),
    *(
        'href="',
        '">',
        "'",
        "<pre>\n",
        "<textarea>",
        "<svg>",
        "<title>",
        "</svg>",
        "<![CDATA[",
        "]]>",
    ),
    *(
        "text ",
        "&lt;",
        "<script>",
        "</script>",
        "<select>",
        "<option>",
        "<form>",
        "<plaintext>",
        "<br>",
    ),
    *(
        "<dd>",
        "<dl>",
        "<math>",
        "<mi>",
        "<annotation-xml>",
        "<frameset>",
        "<template>",
        "</template>",
    ),
]


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=30))
@settings(max_examples=500, deadline=None)
def test_any_mixture_of_tags_is_read(fragments):
    extract("".join(fragments) + f"<p>{PROSE}")


def test_attribute_names_may_hold_quotes():
    assert extract(f'<div a"b =c=\'"\' <d><p x" \v\u00a0><p>{PROSE}</p></div>') == PROSE


WORDS = st.lists(
    st.sampled_from(["alpha", "beta", "gamma", "delta", "fox", "dog"]), min_size=30, max_size=60
)


@given(st.lists(WORDS, min_size=1, max_size=5))
@settings(max_examples=50, deadline=None)
def test_plain_paragraphs_are_kept_exactly(paragraphs):
    lines = [" ".join(words) for words in paragraphs]
    longest = max(map(len, lines))
    assume(longest >= 140)
    html = page("".join(f"<p>{line}</p>\n" for line in lines))
    assert extract(html) == "\n\n".join(lines)


def pages(*contents, charset="utf-8", metadata=None):
    rows = [
        {
            "id": f"web/a#{i}",
            "content": content,
            "charset": charset,
            "source": "a",
            "url": "http://x",
            "timestamp": "t",
            "metadata": metadata,
        }
        for i, content in enumerate(contents)
    ]
    return pa.RecordBatch.from_pylist(rows, schema=PAGE)


def test_batch_becomes_documents_with_titles():
    dead = DeadLetters()
    html = page(f"<p>{PROSE} é</p>", "<title> A\n title </title>").encode("latin1")
    batch = extract_batch(pages(html, b"", charset="latin1", metadata='{"n": 1}'), "extract", dead)
    assert batch.schema == DOCUMENT
    assert dead.letters == []
    first, second = batch.to_pylist()
    assert first["text"] == f"{PROSE} é"
    assert json.loads(first["metadata"]) == {"n": 1, "title": "A title"}
    assert (first["id"], first["url"], first["source"]) == ("web/a#0", "http://x", "a")
    assert second["text"] == ""
    assert second["metadata"] == '{"n": 1}'


def test_a_bad_page_harms_no_other():
    dead = DeadLetters()
    good = page(f"<p>{PROSE}</p>").encode()
    batch = extract_batch(pages(good, b"<div>" * 100_000, good), "extract", dead)
    assert batch["id"].to_pylist() == ["web/a#0", "web/a#2"]
    (letter,) = dead.letters
    assert (letter.id, letter.stage, letter.source) == ("web/a#1", "extract", "a")
    assert "nested too deeply" in letter.error
    assert len(letter.payload) == 4096
