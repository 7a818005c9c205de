"""Wikitext to plain text, in one pass and linear time whatever the markup.

Templates, tables, references, comments, files and categories go; the text of links, headings and
lists stays. Openers wait on an explicit stack that remembers where in the output they began, so a
closing mark cuts the output back to there. An opener that is never closed is plain text.
"""

import html
import re

# English names work in every wiki beside its own; the dump's <siteinfo> gives those.
HIDDEN = frozenset({"file", "image", "media", "category"})

# Captions nest a link or two deep; beyond this, brackets are text. Joining the parts of a link once
# per level would otherwise be quadratic.
LINK_DEPTH = 8

_TOKEN = re.compile(
    r"""(?P<comment><!--)
      | (?P<tag></?[a-zA-Z][a-zA-Z0-9]*+[^<>]*+>)
      | (?P<table>^[ \t:]*+\{\|)
      | (?P<table_end>^[ \t]*+\|\}(?!\}))
      | (?P<open>\{\{++)
      | (?P<close>\}\}++)
      | (?P<link>\[\[)
      | (?P<external>\[(?:https?:|ftp:|mailto:)?//[^\s\[\]<>"|]*+)
      | (?P<bracket>\])
      | (?P<quotes>''++)
      | (?P<switch>__[A-Z]+__)
    """,
    re.VERBOSE | re.MULTILINE,
)
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
_REDIRECT = re.compile(r"\s*#\s*redirect\b", re.IGNORECASE)
_LANGUAGE_LINK = re.compile(r"[a-z]{2,3}(?:-[a-z-]+)?:\S")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Elements whose content is no prose, or is not wikitext: dropped with it.
_DROPPED = _words(
    "ref references gallery timeline score imagemap templatedata math chem hiero graph mapframe "
    "maplink inputbox includeonly templatestyles categorytree ce section"
)
# Elements whose content stands as it is, markup and all.
_VERBATIM = frozenset({"nowiki", "pre", "syntaxhighlight", "source"})
_CODE = frozenset({"syntaxhighlight", "source"})  # here even `&lt;` means itself
_BREAKS = frozenset(
    {"br", "p", "div", "li", "ul", "ol", "dl", "dd", "dt", "blockquote", "tr", "hr"}
)
_INLINE = _words(
    "a abbr b bdi big center cite code data del dfn em font i ins kbd mark noinclude onlyinclude "
    "poem q rb rp rt ruby s samp small span strike strong sub sup time tt u var table tbody td th "
    "thead h1 h2 h3 h4 h5 h6 caption"
)

_BLANKS = re.compile(r"[ \t]{2,}+")
_HOLLOW = re.compile(r"[ ]?\([\s,;:]*+\)")  # what a dropped pronunciation template leaves behind
_HOLLOW_START = re.compile(r"\([\s]*+[,;][\s,;]*+")
_HOLLOW_END = re.compile(r"[ ]?[,;][ ]?\)")
_LIST = re.compile(r"[*#:;]++")


class _Frame:
    """An opener: its kind, where its content starts in the output, and the mark itself."""

    __slots__ = ("kind", "mark", "start")

    def __init__(self, kind: str, start: int, mark: str):
        self.kind, self.start, self.mark = kind, start, mark


def is_redirect(text: str) -> bool:
    """Return whether a page only points to another."""
    return _REDIRECT.match(text) is not None


def plain_text(text: str, hidden: frozenset[str] = HIDDEN) -> str:
    """Return the readable text of `text`; `hidden` are lower-case namespaces without visible links.

    Headings and list items are lines of their own (items start with `- `, indented by level),
    paragraphs are separated by a blank line.
    """
    return _layout(html.unescape(_Converter(text, hidden).run()).replace("\u00a0", " "))


class _Converter:
    def __init__(self, text: str, hidden: frozenset[str]):
        self.text = text
        self.hidden = hidden
        self.out: list[str] = []
        self.stack: list[_Frame] = []
        self.open = {"template": 0, "table": 0, "link": 0, "external": 0}
        self._ends: dict[str, re.Pattern[str]] = {}
        self._without_end: set[str] = set()

    def run(self) -> str:
        text, out = self.text, self.out
        position = 0
        while (match := _TOKEN.search(text, position)) is not None:
            if match.start() > position:
                out.append(text[position : match.start()])
            position = self._token(match)
        out.append(text[position:])
        return "".join(out)

    def _token(self, match: re.Match[str]) -> int:
        """Act on one mark; return the position from which to go on."""
        kind, mark = match.lastgroup, match.group()
        if kind == "comment":
            end = self.text.find("-->", match.end())
            return len(self.text) if end < 0 else end + 3  # unclosed: to the end, as MediaWiki does
        if kind == "tag":
            return self._tag(match)
        if kind == "table":
            self._push("table", mark)
        elif kind == "table_end":
            self._drop("table", mark)
        elif kind == "open":
            self._open_braces(mark)
        elif kind == "close":
            self._close_braces(mark)
        elif kind == "link":
            if self.open["link"] < LINK_DEPTH:
                self._push("link", mark)
            else:
                self.out.append(mark)
        elif kind == "external":
            self._push("external", mark)
        elif kind == "bracket":
            return self._bracket(match.start())
        elif kind == "quotes" and len(mark) in (4, 6):
            self.out.append("'")  # one apostrophe inside bold or italics; else all are markup
        return match.end()

    def _push(self, kind: str, mark: str) -> None:
        self.stack.append(_Frame(kind, len(self.out), mark))
        self.open[kind] += 1
        self.out.append("" if kind == "link" else mark)

    def _pop(self) -> _Frame:
        frame = self.stack.pop()
        self.open[frame.kind] -= 1
        return frame

    def _drop(self, kind: str, mark: str) -> None:
        """Close the innermost `kind`, and with it whatever was left open inside, and drop it."""
        if not self.open[kind]:
            self.out.append(mark)
            return
        while (frame := self._pop()).kind != kind:
            pass
        del self.out[frame.start :]

    def _open_braces(self, mark: str) -> None:
        left = len(mark)
        if left % 2:  # three braces are a parameter; the odd one goes to the outermost mark
            self._push("template", "{{{")
            left -= 3
        for _ in range(left // 2):
            self._push("template", "{{")

    def _close_braces(self, mark: str) -> None:
        left = len(mark)
        while left >= 2 and self.open["template"]:
            while self.stack[-1].kind != "template":
                self._pop()
            width = len(self.stack[-1].mark)
            self._drop("template", "")
            left -= min(width, left)
        if left:
            self.out.append("}" * left)

    def _bracket(self, start: int) -> int:
        """Act on `]`: it ends an external link, and two of them an internal one."""
        top = self.stack[-1].kind if self.stack else ""
        double = self.text.startswith("]]", start)
        if top == "external":
            frame = self._pop()
            label = "".join(self.out[frame.start + 1 :]).strip()
            del self.out[frame.start :]
            self.out.append(label)
            return start + 1
        if top == "link" and double:
            frame = self._pop()
            content = "".join(self.out[frame.start :])
            del self.out[frame.start :]
            self.out.append(self._link_text(content))
            return start + 2
        self.out.append("]")
        return start + 1

    def _link_text(self, content: str) -> str:
        target, pipe, label = content.partition("|")
        target = target.strip()
        if target.startswith(":"):
            target = target[1:]
        else:
            namespace, colon, _ = target.partition(":")
            if colon and namespace.strip().lower() in self.hidden:
                return ""
            if colon and not pipe and _LANGUAGE_LINK.match(target):
                return ""
        return label if label.strip() else target

    def _tag(self, match: re.Match[str]) -> int:
        head = _TAG.match(match.group())
        assert head is not None
        closing, name = head.group(1), head.group(2).lower()
        if name in _DROPPED or name in _VERBATIM:
            if closing or match.group().endswith("/>"):
                return match.end()
            end = self._end_of(name, match.end())
            if end is None:
                return match.end()
            if name in _VERBATIM:
                content = self.text[match.end() : end.start()]
                self.out.append(content.replace("&", "&amp;") if name in _CODE else content)
            return end.end()
        if name in _BREAKS:
            self.out.append("\n")
        elif name not in _INLINE:
            self.out.append(match.group())  # not markup: "a<b and c>d"
        return match.end()

    def _end_of(self, name: str, position: int) -> re.Match[str] | None:
        """Find the closing tag; a name once found to have none is not searched for again."""
        if name in self._without_end:
            return None
        if name not in self._ends:
            self._ends[name] = re.compile(rf"</{name}\s*+>", re.IGNORECASE)
        end = self._ends[name].search(self.text, position)
        if end is None:
            self._without_end.add(name)
        return end


def _layout(text: str) -> str:
    """Return lines with list marks and headings made plain, and hollow headings dropped."""
    rows: list[tuple[int, str]] = []  # (heading level or 0, line)
    for line in text.split("\n"):
        line = _BLANKS.sub(" ", line).strip()
        if not line:
            rows.append((0, ""))
        elif line[0] == "=" and line[-1] == "=" and len(line) > 2:
            level = min(len(line) - len(line.lstrip("=")), len(line) - len(line.rstrip("=")))
            rows.append((min(level, 6), line.strip("=").strip()))
        elif mark := _LIST.match(line):
            rows.append((0, _item(mark.group(), line[mark.end() :].strip())))
        elif line.startswith("----"):
            rows.append((0, line.lstrip("-").strip()))
        else:
            line = _HOLLOW_START.sub("(", _HOLLOW.sub("", line))
            rows.append((0, _HOLLOW_END.sub(")", line).strip()))
    return _join(_with_content(rows))


def _item(mark: str, text: str) -> str:
    if not text:
        return ""
    if mark[-1] in "*#":
        return "  " * (len(mark) - 1) + "- " + text
    return text


def _with_content(rows: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Drop headings with nothing below them, such as 'References' once the references are gone."""
    kept: list[tuple[int, str]] = []
    filled = [False] * 8  # filled[n]: text follows before the next heading of level n or less
    for level, line in reversed(rows):
        if level == 0:
            if line:
                filled = [True] * 8
            kept.append((0, line))
        elif filled[level]:
            kept.append((level, line))
            filled[level:] = [False] * (8 - level)
    return kept[::-1]


def _join(rows: list[tuple[int, str]]) -> str:
    lines: list[str] = []
    for level, line in rows:
        if level and lines and lines[-1]:
            lines.append("")
        if line or (lines and lines[-1]):
            lines.append(line)
        if level:
            lines.append("")
    return "\n".join(lines).strip("\n")
