import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from massivetext.extract import elements as columns
from massivetext.extract.attributes import read_attributes
from massivetext.extract.blocks import read_blocks
from massivetext.extract.tags import _FLAGS, CODES, FLAGS, code, flags_of

from . import reference_extract as reference


def blocks_of(html):
    """Return the kernel's blocks as the reference writes them, and the parents."""
    blocks = read_blocks(LexborHTMLParser(html.encode()))
    rows = []
    for row in blocks.table:
        bullet = row[columns.BULLET]
        rows.append(
            (
                blocks.text[row[columns.START] : row[columns.STOP]].tobytes().decode(),
                int(row[columns.SIZE]),
                int(row[columns.LINK_SIZE]),
                int(row[columns.KIND]),
                int(row[columns.LEVEL]),
                int(row[columns.INDENT]),
                "- " if bullet < 0 else f"{bullet}. " if bullet else "",
                int(row[columns.OUTERMOST]),
            )
        )
    return rows, blocks.parents.tolist()


def expected(html):
    blocks, parents = reference.read_blocks(LexborHTMLParser(html.encode()))
    rows = [
        (
            block.text,
            reference.size(block.text),
            block.links,
            sum(flag for flag, names in reference.NAMES.items() if block.tag in names),
            block.level,
            block.indent,
            block.bullet,
            block.root,
        )
        for block in blocks
    ]
    return rows, parents


TAGS = (
    "p div section ul ol li dl dt dd table tr td th a b span br hr pre blockquote nav script style "
    "svg template textarea select math annotation h1 article center details hidden"
).split()
PIECES = [
    *(f"<{tag}>" for tag in TAGS if tag != "hidden"),
    *(f"</{tag}>" for tag in TAGS if tag != "hidden"),
    '<a href="javascript:x">',
    *("<p hidden>", "<span hidden>", "<a href='>'>", "<!-- <p> -->", "<br>", "<li>", "<td>"),
    *("word", " ", "\n", " two  words ", "&amp;lt;", "&lt;p&gt;", "&nbsp;", "é", "語", "\u3000"),
]


@given(st.lists(st.sampled_from(PIECES), max_size=40))
@settings(max_examples=500, deadline=None)
def test_kernel_agrees_with_the_reference(pieces):
    html = "".join(pieces)
    assert blocks_of(html) == expected(html)


@pytest.mark.parametrize(
    "html",
    [
        "<a>x y</a> <a>z</a>",
        "<a>x </a><a>y</a>",
        '<a href="javascript:x()">x</a> <a href=y>y</a>',
        "<a href=x>x<table><tr><td><a href=javascript:y>y</a></table>z</a>",
        "<a href=javascript:x>x<table><tr><td><a href=y>y</a></table>z</a>",
        "<p><a>one</a> <b>two</b><br><br>three<br></p>",
        "<pre>\n\n a\n  b  <br>\n<b>c</b>\n\n</pre>",
        "<pre><p>a  b</p> c  d\n </pre>",
        "<table><tr><td>a<td><td><p>b<br>c</p><th></table>",
        "<table><tr><td><table><tr><td>in</table>x<td><p>a<p>b<td>c</table>",
        "<ol><li><li>x<ol><li>y</ol>z</ol>",
        "<ul><li><p>a<p>b<blockquote>c</ul>",
    ],
)
def test_examples_agree_with_the_reference(html):
    assert blocks_of(html) == expected(html)


def test_every_name_is_in_the_table():
    for flag, names in _FLAGS.items():
        for name in names.split():
            assert flags_of(code(name), CODES, FLAGS) & flag
    assert flags_of(code("blink"), CODES, FLAGS) == 0
    assert len({code(name) for names in _FLAGS.values() for name in names.split()}) == len(
        {name for names in _FLAGS.values() for name in names.split()}
    )


@pytest.mark.parametrize(
    ("attributes", "boilerplate"),
    [
        ('class="nav"', True),
        ('class="a Site-Footer b"', True),
        ('class="nav-drawer-slide"', False),
        ('class="navy"', False),
        ('id="search_box"', True),
        ('role="navigation"', True),
        ('data-role="footer"', True),
        ('subclass="nav"', False),
        ('my_class="nav"', False),
        ('title="nav"', False),
        ('hidden=""', True),
        ('aria-hidden="true"', True),
        ('aria-hidden="truest"', False),
        ('style="color: red; DISPLAY:none"', True),
        ('style="display:block; float:none"', False),
        ('style="display;none"', False),
        ('style="visibility: hidden"', True),
        ('style="overflow: hidden"', False),
        ('x="" class="nav"', True),
        ('a"b="c" =d="e" id="toc"', True),
        ('class="comment-list"', True),
        ('class="commentary"', False),
        ('role="dialog"', True),
        ("", False),
    ],
)
def test_attributes_that_mark_boilerplate(attributes, boilerplate):
    data = np.frombuffer(f' {attributes}>"'.encode(), np.uint8)
    end = len(data) - 2
    assert read_attributes(data, 0, True, True, CODES, FLAGS) == (end, boilerplate, False)
    assert read_attributes(data, 0, False, False, CODES, FLAGS) == (end, False, False)
    named = any(name in attributes for name in ("class", "id=", "role"))
    assert read_attributes(data, 0, True, False, CODES, FLAGS)[1] is (boilerplate and not named)


@pytest.mark.parametrize(
    ("href", "scripted"),
    [
        ("javascript:", True),
        (" \n JavaScript:go()", True),
        ("javascript", False),
        ("javascript/", False),
        ("/javascript:x", False),
        ("x", False),
        ("", False),
    ],
)
def test_addresses_that_are_scripts(href, scripted):
    data = np.frombuffer(f' rel="x" href="{href}">'.encode(), np.uint8)
    assert read_attributes(data, 0, True, True, CODES, FLAGS) == (len(data) - 1, False, scripted)


@given(st.text(alphabet=st.sampled_from("<>/!-? =\"'ab\n&;script"), max_size=60))
@settings(max_examples=300, deadline=None)
def test_what_no_tree_writes_is_read_to_its_end(text):
    """The kernel reads any bytes without leaving its arrays."""

    class Tree:
        html = text

        def strip_tags(self, names):
            self.html = ""

    read_blocks(Tree())
