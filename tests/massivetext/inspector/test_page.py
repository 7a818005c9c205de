"""The inspector's page in headless Chromium, on a build with documents of every fate."""

import threading
import time
from urllib.parse import parse_qs, urlsplit

from selenium.webdriver.common.keys import Keys

from . import page_build
from .page_browser import VIEWS, Page

HOSTILE_ROW = 65
LONG_ROW = 66


def found(page: Page) -> list[str]:
    return page.texts(".list tbody th a")


def test_the_list_comes_in_pages_and_filters_narrow_it(page):
    page.go(VIEWS["documents"])
    assert page.heading() == "Documents"
    assert len(found(page)) == 50
    page.click("Show more documents")
    page.until(lambda: len(found(page)) == 69)
    assert "these are all" in page.status()
    page.choose("State", "dropped")
    page.until(lambda: len(found(page)) == 5)
    page.choose("Dropped by rule", "min_words")
    page.until(lambda: found(page) == ["web/web.jsonl#63"])
    assert page.texts(".list td.number")[:2] == ["36", "50"]
    assert parse_qs(urlsplit(page.driver.current_url).fragment.partition("?")[2]) == {
        "state": ["dropped"],
        "rule": ["min_words"],
    }
    page.driver.refresh()
    page.until(lambda: found(page) == ["web/web.jsonl#63"])
    page.click("Clear filters")
    page.until(lambda: len(found(page)) == 50)
    page.choose("Dropped at stage", "near")
    page.until(lambda: len(found(page)) == 1)
    page.click("Clear filters")
    page.choose("State", "heldout")
    page.choose("Subset", "books")
    page.until(lambda: found(page) == ["books/books.jsonl#0"])


def test_a_signal_range_and_a_search(page):
    page.go(VIEWS["documents"])
    assert not page.control("Signal at least").is_enabled()
    page.choose("Signal", "quality_words")
    page.control("Signal at most").send_keys("79")
    page.until(lambda: "web/web.jsonl#63" in found(page) and len(found(page)) < 50)
    page.control("Signal at least").send_keys("37")
    page.until(lambda: found(page) == ["web/web.jsonl#65"])
    page.click("Clear filters")
    page.control("Search in id, URL and text").send_keys("thevery END")
    page.until(lambda: found(page) == ["web/web.jsonl#66"])
    page.control("Search in id, URL and text").send_keys(" nowhere")
    page.until(lambda: page.texts(".list") == ["No document is like that."])


def test_keys_go_through_the_list_and_the_documents(page):
    page.go(VIEWS["documents"])
    page.press("j")
    assert page.focused() == found(page)[0]
    page.press("j", Keys.ARROW_DOWN, Keys.ARROW_UP, "k", "j")
    assert page.focused() == found(page)[1]
    page.press(Keys.ENTER)
    page.until(lambda: page.heading() == f"Document {page_ids(page)[1]}")
    page.press("j")
    page.until(lambda: page.heading() == f"Document {page_ids(page)[2]}")
    page.press("k")
    page.until(lambda: page.heading() == f"Document {page_ids(page)[1]}")
    page.press("u")
    page.until(lambda: page.heading() == "Documents" and len(found(page)) == 50)


def page_ids(page: Page) -> list[str]:
    """The ids in the order of the list: the books come before the web."""
    return ["books/books.jsonl#0", "books/books.jsonl#1", "web/web.jsonl#0"]


def test_a_document_shows_why_it_was_dropped_and_where(page):
    page.go(VIEWS["document"])
    tables = " ".join(page.texts("table"))
    assert "max_duplicate_lines" in tables
    assert "0.3" in tables
    assert page.texts(".state") == ["dropped"]
    lines = page.all("pre.text mark.kind-line, pre.text mark.several")
    assert len(lines) >= 40
    # What is marked is also underlined, numbered and explained.
    style = "return getComputedStyle(arguments[0]).textDecorationLine"
    assert page.driver.execute_script(style, lines[0]) == "underline"
    assert "[1]" in page.texts("pre.text .tag")
    assert "40 times" in page.texts(".legend")[0]
    page.press("n")
    page.until(lambda: page.status().startswith("Mark 1 of "))
    page.press("n")
    page.until(lambda: page.status().startswith("Mark 2 of "))
    assert "✗ fails" in page.texts("details td")


def test_a_copy_of_a_test_item_shows_the_item(page):
    page.go(VIEWS["overlap"])
    assert page.texts("section h2")[0].startswith("Test set ")
    item = page.texts("section pre")[0]
    assert len(item.split()) >= 80
    assert page.all("pre.text mark.kind-test")


def test_a_duplicate_leads_to_its_partner_and_the_differences(page):
    page.go("#/document?subset=web&part=part-00000&row=61")
    assert "web/web.jsonl#0" in page.texts("table a")
    script = (
        "return [...document.querySelectorAll('main a')].find(a => a.hash.startsWith('#/comp'))"
    )
    page.driver.execute_script(script).click()
    page.until(lambda: page.heading() == "Two documents compared")
    page.until(lambda: page.texts("pre ins, pre del"))
    kept, edited = page.texts("pre.text")
    marked = page.texts("pre.text del") + page.texts("pre.text ins")
    assert "changed" in marked
    assert len(marked) == 2
    assert "changed" in kept + edited
    assert page.status() == "Differences: 1."


def test_hostile_text_is_shown_as_text(page):
    page.go(f"#/document?subset=web&part=part-00000&row={HOSTILE_ROW}")
    text = page.driver.execute_script("return document.querySelector('pre.text').textContent")
    shown = page_build.HOSTILE.replace("\x00", "\u2400").replace("\x1b", "\u241b")
    for mark in "\u202e\u202c\u2066":
        shown = shown.replace(mark, f"\\u{ord(mark):04x}")
    assert shown in text
    assert not page.all("main script, main img, main pre svg")
    assert "javascript:alert(65)//<b>" in page.texts("dd")
    assert not page.all("a[href^=javascript]")
    page.go("#/documents?query=onerror")
    page.until(lambda: len(found(page)) == 2)
    assert page.texts(".excerpt")[0].startswith("<script>window.hacked = 1</script>")
    page.go("#/nowhere?<script>")
    assert page.heading() == "Documents"


def test_a_long_text_comes_in_pieces(page):
    page.go(f"#/document?subset=web&part=part-00000&row={LONG_ROW}")
    whole = page.texts("pre.text")[0]
    while "Next piece" in page.texts(".pieces a"):
        before = page.texts(".pieces p")[0]
        page.click("Next piece")
        page.until(lambda b=before: (page.texts(".pieces p") or [b])[0] != b)
        whole += page.texts("pre.text")[0]
    assert whole.rstrip().endswith("thevery end")
    assert len(whole.split()) == page_build.LONG_WORDS + 2
    page.click("Piece before")
    page.until(lambda: "Next piece" in page.texts(".pieces a"))


def test_a_place_that_is_not_there_is_said(browser):
    browser.go(VIEWS["documents"])
    browser.driver.execute_script("location.hash = '#/document?subset=web&part=x&row=9'")
    browser.until(lambda: browser.texts("[role=alert]"))
    # The browser itself notes the answer's status.
    assert all("/api/document" in line["message"] for line in browser.driver.get_log("browser"))


def outcome(page: Page) -> list[str]:
    rows = page.texts(".outcome > .scroll tbody tr")
    return rows[-1].split() if rows else []


def test_a_moved_threshold_shows_at_once_what_changes(page):
    page.go(VIEWS["thresholds"])
    page.until(lambda: outcome(page)[:1] == ["all"])
    before = outcome(page)
    assert before[3:] == ["0", "0", "0"]
    slider = page.control("min_words (≥)")
    assert slider.get_attribute("aria-valuetext") == "≥ 50"
    slider.send_keys(Keys.HOME)
    page.until(lambda: outcome(page)[4:] == ["0", "1"])
    assert int(outcome(page)[2]) == int(before[1]) + 1
    assert found(page) == ["web/web.jsonl#63"]
    assert "min_words" in page.texts(".fragment pre")[0]
    exact = page.control("min_words, exactly")
    exact.send_keys(Keys.CONTROL, "a")
    exact.send_keys("121")
    page.until(lambda: "quality:\n  min_words: 121" in (page.texts(".fragment pre") or [""])[0])
    assert int(outcome(page)[4]) > 50
    page.click("Copy")
    page.until(lambda: page.status() in ("Copied.", "Selected: press Ctrl+C to copy."))
    page.click("Download")
    page.until((page.downloads / "thresholds.yaml").exists)
    saved = page.until((page.downloads / "thresholds.yaml").read_text)
    assert saved.strip() == page.texts(".fragment pre")[0].strip()
    page.click("Reset all thresholds")
    page.until(lambda: outcome(page) == before)
    assert not page.all(".fragment")


def test_every_slider_moves_and_is_answered(page):
    page.go(VIEWS["thresholds"])
    page.until(lambda: outcome(page))
    for number, slider in enumerate(page.all("input[type=range]"), 1):
        low = slider.get_attribute("aria-valuetext")
        slider.send_keys(Keys.ARROW_RIGHT)
        if slider.get_attribute("aria-valuetext") == low:
            slider.send_keys(Keys.ARROW_LEFT)
        assert slider.get_attribute("aria-valuetext") != low, number
    page.until(lambda: page.status().startswith(f"Thresholds changed: {number};"))
    assert number >= 20


def test_training_is_drawn_and_followed(page, out):
    page.go(VIEWS["training"])
    captions = page.texts("figcaption")
    assert [caption.partition(" (")[0] for caption in captions] == [
        "Loss",
        "Bits per byte of held-out text",
        "Learning rate",
        "Throughput",
        "Norm of the gradient",
    ]
    label = page.all("figure svg")[0].get_attribute("aria-label")
    assert "from 7.99 to 7.4" in label
    dashes = {path.get_attribute("stroke-dasharray") for path in page.all("figure .curve")[1:3]}
    assert len(dashes) == 2
    assert "5,000" in " ".join(page.texts("td.number"))
    threading.Thread(target=page_build.log, args=(out, 60, 70)).start()
    page.until(lambda: page.texts("td.number")[:1] == ["70"])
    assert "to 7.3" in page.all("figure svg")[0].get_attribute("aria-label")
    page.click("Pause")
    page_build.log(out, 70, 71)
    time.sleep(2.5)
    assert page.texts("td.number")[:1] == ["70"]
    page.click("Go on")
    page.until(lambda: page.texts("td.number")[:1] == ["71"])
