import bz2
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext import readers
from massivetext.config import Format, Subset
from massivetext.document import DeadLetters
from massivetext.readers import mediawiki, sink
from massivetext.readers.wikitext import is_redirect, plain_text


@pytest.mark.parametrize(
    ("wikitext", "expected"),
    [
        ("'''Bold''' and ''it'' and '''''both'''''", "Bold and it and both"),
        ("''''quoted''''", "'quoted'"),
        ("[[Target]]s, [[Target|label]], [[a (b)|]]", "Targets, label, a (b)"),
        ("[[File:x.png|thumb|A [[cat]] sits]]text", "text"),
        ("[[Category:Cats]]text[[de:Katze]] [[:Category:Cats]]", "text Category:Cats"),
        ("[http://x.org label] [http://x.org] [//y z]", "label z"),
        ("[http://x.org a [[b|c]] d]", "a c d"),
        ("a{{t|{{u}}|[[b]]}}c", "ac"),
        ("a{{{param|default}}}b", "ab"),
        ("a{{{{{t}}}}}b", "ab"),
        ("a{{open b", "a{{open b"),
        ("a}} b]] c|}", "a}} b]] c|}"),
        ("a{{t|[[open}}b", "ab"),
        ("a\n{| class=x\n|-\n| cell {{t}}\n{|\n| inner\n|}\n|}\nb", "a\n\nb"),
        ("a<ref>x {{t}} [[y]]</ref>b<ref name=n />c<REF name='n'>y</REF >d", "abcd"),
        ("a<!-- {{ [[ -->b<!-- open", "ab"),
        ("<nowiki>[[x]] {{y}} &lt;</nowiki>", "[[x]] {{y}} <"),
        ("<syntaxhighlight lang=x>a[[0]] &lt;</syntaxhighlight>", "a[[0]] &lt;"),
        ("<math>x^2</math>a<br />b<small>c</small>", "a\nbc"),
        ("a < b and c > d <unknown>", "a < b and c > d <unknown>"),
        ("a<gallery>\nFile:x.jpg|c\n</gallery>b", "ab"),
        ("a<ref>never closed", "anever closed"),
        ("x &amp; y&nbsp;z &eacute;", "x & y z é"),
        ("__NOTOC__text", "text"),
        ("* one\n** two\n# three\n: four\n*", "- one\n  - two\n- three\nfour"),
        ("intro\n== A ==\ntext\n=== B ===\n== See ==\n{{x}}", "intro\n\nA\n\ntext"),
        ("== A ==\n=== B ===\ntext", "A\n\nB\n\ntext"),
        ("Foo ({{lang}}; {{ipa}}) is (, born 5) a", "Foo is (born 5) a"),
        ("Foo (bar, {{x}})", "Foo (bar)"),
        ("----\ntext\n\n\n\nmore", "text\n\nmore"),
        ("", ""),
    ],
)
def test_wikitext(wikitext, expected):
    assert plain_text(wikitext) == expected


def test_namespaces_of_other_languages():
    assert plain_text("[[Datei:x|y]]a", frozenset({"datei"})) == "a"


def test_redirects():
    assert is_redirect("#REDIRECT [[x]]")
    assert is_redirect(" # redirect [[x]]")
    assert not is_redirect("#REDIRECTED")


HOSTILE = (
    "{{ }} [[ [[a| ]] {| <ref> <!-- '' {{[[ [[a]]{{ <nowiki> ( (, <a = &amp __A {{{ <ref><nowiki>"
)


@pytest.mark.parametrize("piece", [*HOSTILE.split(), "\n{|\n", "\n=", "* ", "[http://a "])
@pytest.mark.timeout(60)
def test_hostile_markup_is_linear(piece):
    assert isinstance(plain_text(piece * 100_000), str)  # quadratic work would take minutes


@given(st.text(alphabet=st.sampled_from("{}[]|<>/!-='*#:;ref \n&a.(),"), max_size=120))
@settings(max_examples=300, deadline=None)
def test_any_markup_gives_text(text):
    assert isinstance(plain_text(text), str)


@given(st.text(alphabet="abc .é\n", max_size=100))
def test_text_without_markup_is_kept(text):
    assert plain_text(text).split() == text.split()


DUMP = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/">
<siteinfo><namespaces><namespace key="6" case="first-letter">Datei</namespace>
<namespace key="0" case="first-letter" /></namespaces></siteinfo>
<page><title>A &amp; B</title><ns>0</ns><id>12</id>
<revision><id>99</id><timestamp>2016-01-01T00:00:00Z</timestamp>
<contributor><id>7</id></contributor><text xml:space="preserve">'''A''' &lt;b&gt;x&lt;/b&gt;
[[Datei:y|z]]</text></revision></page>
<page><title>R</title><ns>0</ns><id>13</id><redirect title="A" /><revision><text>#REDIRECT [[A]]
</text></revision></page>
<page><title>Talk:A</title><ns>1</ns><id>14</id><revision><text>hm</text></revision></page>
<page><title>C</title><ns>0</ns><id>15</id><revision><text /></revision></page>
</mediawiki>
"""


def read(tmp_path, data, name="w.xml"):
    (tmp_path / name).write_bytes(data)
    config = Subset((str(tmp_path / name),), format=Format.MEDIAWIKI)
    dead = DeadLetters()
    (split,) = readers.plan(config, "wikipedia")
    batches = readers.read(split, config, "wikipedia", dead, lambda count: None)
    return [row for batch in batches for row in batch.to_pylist()], dead.letters


@pytest.mark.parametrize("name", ["w.xml", "w.xml.bz2"])
def test_dump(tmp_path, name):
    data = DUMP.encode()
    rows, dead = read(tmp_path, bz2.compress(data) if name.endswith("bz2") else data, name)
    assert dead == []
    assert [(row["id"], row["text"]) for row in rows] == [
        (f"wikipedia/{name}#0", "A x"),
        (f"wikipedia/{name}#3", ""),
    ]
    assert json.loads(rows[0]["metadata"]) == {"title": "A & B", "page_id": "12"}
    assert rows[0]["timestamp"] == "2016-01-01T00:00:00Z"
    assert rows[0]["url"] is None


@pytest.mark.parametrize(
    ("data", "message", "count"),
    [
        (DUMP[: DUMP.index("<title>Talk")], "invalid XML", 1),
        (DUMP.replace("<title>Talk:A</title>", "<title></x>"), "invalid XML", 1),
        ("<html/>", "not <mediawiki>", 0),
        ("", "invalid XML", 0),
        ('<!DOCTYPE x [<!ENTITY a "b">]><mediawiki/>', "DOCTYPE", 0),
        ('<!DOCTYPE x SYSTEM "file:///etc/passwd"><mediawiki/>', "DOCTYPE", 0),
        ("<mediawiki>" + "<a>" * 100, "nested more than 64 deep", 0),
        ("<mediawiki><x " + "y" * (9 << 20), "a tag exceeds", 0),
    ],
)
def test_bad_dumps(tmp_path, data, message, count):
    rows, dead = read(tmp_path, data.encode())
    assert len(rows) == count
    assert message in dead[-1].error
    assert len(dead) == 1


def test_an_article_beyond_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(sink, "RECORD_BYTES", 4 * 40)
    long = DUMP.replace("hm", "x" * 41).replace("<ns>1</ns>", "<ns>0</ns>")
    rows, dead = read(tmp_path, long.encode())
    assert [row["id"] for row in rows] == ["wikipedia/w.xml#0", "wikipedia/w.xml#3"]
    assert [letter.id for letter in dead] == ["wikipedia/w.xml#2"]
    monkeypatch.setattr(mediawiki, "FIELD_BYTES", 3)
    rows, dead = read(tmp_path, DUMP.encode())
    assert [row["id"] for row in rows] == ["wikipedia/w.xml#3"]
    assert [letter.id for letter in dead][:1] == ["wikipedia/w.xml#0"]
