import re
from urllib.parse import unquote_to_bytes, urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from massivetext import blocklist
from massivetext.errors import ConfigError
from massivetext.urls import BlockList, canonical

DOMAINS = """# a comment
Example.com
*.bad.org   # and why
.dot.net.

https://www.scheme.info/
b.com
sub.b.com
0.0.0.0 ads.test track.test
127.0.0.1 localhost
1.2.3.4
2001:DB8:0::1
москва.рф
xn--bcher-kva.example
faß.de
under_score.host
xxx
"""


@pytest.fixture(scope="module")
def blocked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lists")
    domains = folder / "domains"
    domains.write_bytes(b"\xef\xbb\xbf" + DOMAINS.replace("\n", "\r\n").encode())
    words = folder / "words"
    words.write_text("Sex\nporno # why\n\n# none\nпорно\nहिंदी\n18")
    return BlockList.read([domains], [words])


def match(blocked: BlockList, *urls: str | None) -> list[tuple[str | None, str | None]]:
    domain, word = blocked.match(pa.array(urls, pa.string()))
    assert domain.type == word.type == pa.string()
    return list(zip(domain.to_pylist(), word.to_pylist(), strict=True))


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("http://example.com/", "Example.com"),
        ("HTTPS://WWW.EXAMPLE.COM:8443/a?b#c", "Example.com"),
        ("example.com", "Example.com"),
        ("example.com:80/x", "Example.com"),
        ("//example.com/x", "Example.com"),
        ("ftp://a.b.c.example.com", "Example.com"),
        ("http://user:pass@example.com/", "Example.com"),
        ("http://a@b@b.com:80:90/", "b.com"),
        ("http://example.com@other.com/", None),
        ("http://other.com/@example.com", None),
        ("http://other.com\\@example.com/", None),
        ("http://other.com?@example.com", None),
        ("http://other.com#@example.com", None),
        ("http://example.com./", "Example.com"),
        ("http://example.com", "Example.com"),
        ("  http://example.com\n", "Example.com"),
        ("http://notexample.com/", None),
        ("http://example.com.org/", None),
        ("http://com/", None),
        ("http://ex%61mple%2Ecom/", "Example.com"),
        ("http://example%2525.com/", None),
        ("http://example.com%00/", None),
        ("http://example\0.com/", None),
        ("http://x.bad.org", "*.bad.org"),
        ("http://dot.net", ".dot.net."),
        ("http://scheme.info", None),
        ("http://www.scheme.info", "https://www.scheme.info/"),
        ("http://x.sub.b.com", "sub.b.com"),
        ("http://sub2.b.com", "b.com"),
        ("http://ads.test", "ads.test"),
        ("http://track.test", "track.test"),
        ("http://0.0.0.0", None),
        ("http://localhost:1234/", "localhost"),
        ("http://1.2.3.4:80/", "1.2.3.4"),
        ("http://9.1.2.3.4/", None),
        ("http://www.1.2.3.4/", None),
        ("http://1.2.3.40/", None),
        ("http://[2001:db8::1]:80/", "2001:DB8:0::1"),
        ("http://[2001:db8::2]/", None),
        ("http://[2001:db8::1", None),
        ("http://www.москва.рф/", "москва.рф"),
        ("http://МОСКВА.рф/", "москва.рф"),
        ("http://xn--80adxhks.xn--p1ai/", "москва.рф"),
        ("http://%D0%BC%D0%BE%D1%81%D0%BA%D0%B2%D0%B0.рф/", "москва.рф"),
        ("http://bücher.example", "xn--bcher-kva.example"),
        ("http://xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("http://fass.de", "faß.de"),
        ("http://faß.de", "faß.de"),
        ("http://a.under_score.host", "under_score.host"),
        ("http://any.xxx", "xxx"),
        ("mailto:someone@example.com", "Example.com"),
        ("", None),
        ("   ", None),
        (None, None),
        (":", None),
        ("//", None),
        ("http://", None),
        ("http://@", None),
        ("http://[", None),
        ("http://:80", None),
        ("...", None),
        ("http://" + 60 * "abcd." + "example.com", None),
        ("http://" + 48 * "abcd." + "example.com", "Example.com"),
    ],
)
def test_domain(blocked, url, domain):
    assert match(blocked, url)[0][0] == domain


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://a.org/sex", "Sex"),
        ("http://SEX.org/", "Sex"),
        ("http://a.org/hot-sex_now", "Sex"),
        ("http://a.org/?q=1&porno=2&sex=3", "porno"),
        ("http://sussex.org/sexes", None),
        ("http://a.org/#sex", None),
        ("http://sex@a.org/", None),
        ("sex://a.org/", None),
        ("http://a.org/hot%20sex%20now", "Sex"),
        ("http://a.org/s%65x", "Sex"),
        ("http://a.org/sex%", "Sex"),
        ("http://a.org/sex%zz", "Sex"),
        ("http://a.org/%sex", "Sex"),
        ("http://a.org/ПОРНО", "порно"),
        ("http://a.org/%D0%9F%D0%BE%D1%80%D0%BD%D0%BE", "порно"),
        ("http://a.org/हिंदी", "हिंदी"),
        ("http://a.org/हिंदीय", None),
        ("http://a.org/sch%E4-sex", "Sex"),
        ("http://a.org/%E4sex", "Sex"),
        ("http://a.org/sex%F0", "Sex"),
        ("http://a.org/18", "18"),
        ("http://a.org/2018", None),
        ("http://a.org/a\0sex\0b", "Sex"),
        ("sex", "Sex"),
        ("", None),
        (None, None),
    ],
)
def test_word(blocked, url, word):
    assert match(blocked, url)[0][1] == word


def test_hostile_addresses_take_linear_time(blocked):
    million = 1_000_000
    urls = [
        "http://" + "a." * million + "example.com/",
        "http://" + "@" * million + "example.com",
        "http://" + "%61" * million,
        "a" * 10 * million + "://example.com/sex",
        "http://example.com/" + "%" * 10 * million,
        "http://example.com/" + "a-" * 5 * million + "sex",
        ":" * million,
        "[" * million,
    ]
    assert match(blocked, *urls) == [
        (None, None),
        ("Example.com", None),
        (None, None),
        ("Example.com", "Sex"),
        ("Example.com", None),
        ("Example.com", "Sex"),
        (None, None),
        (None, None),
    ]
    assert canonical(pa.array(urls, pa.large_string())).to_pylist()[6:] == urls[6:]


def test_slices_types_and_empty_lists(blocked):
    urls = pa.array(["x", None, "http://example.com", "http://b.com/sex", "y"])
    for column in (urls.slice(1, 3), urls.cast(pa.large_string()).slice(1, 3)):
        assert [c.to_pylist() for c in blocked.match(column)] == [
            [None, "Example.com", "b.com"],
            [None, None, "Sex"],
        ]
        assert canonical(column).to_pylist() == [None, "http://example.com/", "http://b.com/sex"]
    assert match(BlockList.read(), "http://example.com/sex") == [(None, None)]
    assert match(blocked) == []
    assert canonical(pa.array([], pa.string())).to_pylist() == []


def reference_host(url: str) -> str:
    url = url.strip("".join(map(chr, range(33))))
    address = re.match(r"(?:(?:[A-Za-z0-9+.-]+:)?//)?([^/\\?#]*)", url)[1]
    host = address.rpartition("@")[2]
    host = re.match(r"(?:\[[^\]]*)?[^:]*", host)[0]
    text = unquote_to_bytes(host).decode("utf-8", "replace")
    return pc.utf8_lower(pa.scalar(text)).as_py().rstrip(".")


def reference_domain(url: str, listed: dict[str, str]) -> str | None:
    host = reference_host(url)
    if host.rpartition(".")[2].isdigit():
        return listed.get(host)
    labels = host.split(".")
    return next(
        (listed[s] for i in range(len(labels)) if (s := ".".join(labels[i:])) in listed), None
    )


def reference_word(url: str, listed: dict[str, str]) -> str | None:
    url = url.strip("".join(map(chr, range(33))))
    rest = re.sub(r"^(?:[A-Za-z0-9+.-]+:)?//", "", url)
    authority = re.match(r"[^/\\?#]*", rest)[0]
    rest = (authority.rpartition("@")[2] + rest[len(authority) :]).partition("#")[0]
    text = unquote_to_bytes(rest).decode("utf-8", "replace")
    pieces = re.split(r"[^0-9a-zäж]+", pc.utf8_lower(pa.scalar(text)).as_py())
    return next((listed[p] for p in pieces if p in listed), None)


PIECES = st.sampled_from(
    [*"aAbB.:/@?#\\[]%1 -\0ÄäЖ", "b.a", "1.1.1.1", "http://", "%41", "%2e", "%2F", "%e4", "%C3%84"]
)


@settings(max_examples=600, deadline=None)
@given(st.lists(st.lists(PIECES, max_size=14).map("".join), max_size=6))
def test_equals_reference(tmp_path_factory, urls):
    domains = {"a": "a", "b.a": "B.a", "a.b": "a.b", "1.1.1.1": "1.1.1.1", "ä.a": "ä.a"}
    words = {"a": "a", "ab": "AB", "ä": "Ä", "жa": "жa", "1": "1"}
    folder = tmp_path_factory.getbasetemp()
    (folder / "domains").write_text("\n".join(domains.values()))
    (folder / "words").write_text("\n".join(words.values()))
    blocked = BlockList.read([folder / "domains"], [folder / "words"])
    assert match(blocked, *urls) == [
        (reference_domain(url, domains), reference_word(url, words)) for url in urls
    ]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["http", "HTTPS", "ftp"]),
    st.sampled_from(["", "u@", "u:p@"]),
    st.from_regex(r"[A-Za-z0-9-]{1,9}(\.[A-Za-z0-9-]{1,9}){0,3}", fullmatch=True),
    st.sampled_from(["", ":", ":80", ":8080"]),
    st.from_regex(r"(/[a-z/@:]*)?(\?[a-z/@:]*)?(#[a-z/@:]*)?", fullmatch=True),
)
def test_hosts_of_plain_addresses_are_those_of_urllib(scheme, user, host, port, rest):
    url = f"{scheme}://{user}{host}{port}{rest}"
    assert reference_host(url) == urlsplit(url).hostname == host.lower()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "a.com\nhttp://b.com/page\n",
            r"x:2: 'http://b.com/page' names a page, not a host; an ent",
        ),
        ("b.com/page", ":1: 'b.com/page' names a page"),
        ("b.com:80", ":1: 'b.com:80' has a port"),
        ("# c\n\na b.com", ":3: 'a b.com' is more than one entry"),
        ("a..com", ":1: 'a..com' is no host name"),
        ("||ads.com^", "is no host name"),
        ("1.2.3", "'1.2.3' is no host name"),
        ("1.2.3.400", "is no host name"),
        ("0.0.0.0 a,b", ":1: 'a,b' is no host name"),
        ("*", r"'\*' is no host name"),
        (64 * "ж" + ".com", "is no host name"),
        (".".join(64 * ["abc"]), "is no host name"),
        ("a.com\n" + 254 * "a" + "\n", ":2: 'a{80}' is no host name"),
        ("user@b.com", "is no host name"),
        ("a\0b.com", "is no host name"),
        ("", "x: the list has no entry; correct the path or take it out"),
        ("\n# only a comment\n  \n", "x: the list has no entry"),
        (b"a.com\nb\xff.com\n", ":2: not UTF-8; a block list is a plain text file"),
    ],
)
def test_bad_lists_of_domains_name_file_and_line(tmp_path, content, message):
    path = tmp_path / "x"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError, match=message):
        BlockList.read([path])


def test_bad_lists_of_words_name_file_and_line(tmp_path):
    path = tmp_path / "x"
    for content, message in (
        ("one\ntwo words\n", r":2: 'two words' is more than one word; words of an address"),
        ("sex-tape", ":1: 'sex-tape' is more than one word"),
        ("100%", "'100%' is more than one word"),
        ("# nothing", "x: the list has no entry"),
    ):
        path.write_text(content)
        with pytest.raises(ConfigError, match=message):
            BlockList.read([], [path])
    with pytest.raises(ConfigError, match="missing cannot be read: No such file"):
        BlockList.read([tmp_path / "missing"])


def test_large_lists_are_read_in_blocks(tmp_path, monkeypatch):
    names = [f"Host{i}.example" if i % 7 == 0 else f"host{i}.example" for i in range(2000)]
    path, other = tmp_path / "x", tmp_path / "y"
    path.write_text("\n".join(names))
    other.write_text("HOST1.example\nhost2000.example\n")
    monkeypatch.setattr(blocklist, "_BLOCK_BYTES", 100)
    blocked = BlockList.read([path, other])
    urls = [f"http://www.host{i}.example/" for i in range(2002)]
    want = [*names, "host2000.example", None]
    assert [domain for domain, _ in match(blocked, *urls)] == want
    path.write_text("a.com\n" + 300 * "a")
    with pytest.raises(ConfigError, match=r"x:2: the line has over \d+ bytes"):
        BlockList.read([path])
    path.write_text("a.com\nb.com\n" * 20 + "bad/page\n")
    with pytest.raises(ConfigError, match=":41: 'bad/page' names a page"):
        BlockList.read([path])


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("http://a.org", "http://a.org/"),
        ("https://a.org", "http://a.org/"),
        ("HTTPS://A.ORG:443", "http://a.org/"),
        ("http://a.org:80/", "http://a.org/"),
        ("http://a.org:", "http://a.org/"),
        ("http://a.org:443/", "http://a.org:443/"),
        ("https://a.org:80/", "http://a.org:80/"),
        ("http://a.org:8080/", "http://a.org:8080/"),
        ("http://a.org/#top", "http://a.org/"),
        ("http://a.org#top", "http://a.org/"),
        ("http://a.org?q=A#x?y", "http://a.org/?q=A"),
        ("http://a.org/?", "http://a.org/?"),
        ("http://a.org/A/", "http://a.org/A/"),
        ("http://a.org/A", "http://a.org/A"),
        ("http://a.org/?b=1&a=2", "http://a.org/?b=1&a=2"),
        ("http://a.org/?a=2&b=1", "http://a.org/?a=2&b=1"),
        ("http://www.a.org/", "http://www.a.org/"),
        ("http://a.org/%7Ea", "http://a.org/%7Ea"),
        ("http://a.org/~a", "http://a.org/~a"),
        ("http://a.org/a//b/../c", "http://a.org/a//b/../c"),
        ("http://User@A.org/", "http://User@a.org/"),
        ("http://a@B@C:80:90/", "http://a@B@c:80:90/"),
        ("http://[2001:DB8::1]:80/x", "http://[2001:db8::1]/x"),
        ("http://Ünï.org/Ä", "http://Ünï.org/Ä"),
        (" \thttp://a.org/ x \r\n", "http://a.org/ x"),
        ("http://a.org\\B", "http://a.org\\B"),
        ("ftp://A.org:21#x", "ftp://A.org:21#x"),
        ("A.org/x#y", "A.org/x#y"),
        ("//A.org", "//A.org"),
        ("doc-17#B", "doc-17#B"),
        ("http:/a.org", "http:/a.org"),
        ("http://", None),
        ("http:///x", None),
        ("https://:443/x", None),
        ("http://user@/x", None),
        ("", None),
        (" \n", None),
        (None, None),
    ],
)
def test_canonical(url, key):
    found = canonical(pa.array([url, "x", url], pa.string()))
    assert found.type == pa.large_string()
    assert found.to_pylist() == [key, "x", key]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(PIECES, max_size=14).map("".join), max_size=6))
def test_canonical_is_valid_and_keeps_the_host(urls):
    keys = canonical(pa.array(urls, pa.string()))
    keys.validate(full=True)
    for url, key in zip(urls, keys.to_pylist(), strict=True):
        if key is not None:
            assert reference_host(key) == reference_host(url)
