"""The page for everyone: labels, contrast, the order of keys, phones and print."""

import pytest
from selenium.webdriver.common.keys import Keys

from .page_browser import VIEWS, Page

# Text that is shown, its colour and what is behind it, as [text, colour, background, size].
TEXTS = """
const found = [];
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const node = walk.currentNode, element = node.parentElement;
  if (!node.data.trim() || !element.checkVisibility({visibilityProperty: true})) continue;
  if (element.closest('script, noscript, option')) continue;
  const style = getComputedStyle(element);
  const colour = element instanceof SVGElement ? style.fill : style.color;
  let behind = element, background = 'rgba(0, 0, 0, 0)';
  while (behind && background === 'rgba(0, 0, 0, 0)') {
    background = getComputedStyle(behind).backgroundColor;
    behind = behind.parentElement;
  }
  found.push([node.data.trim().slice(0, 40), colour, background]);
}
for (const control of document.querySelectorAll('input, select')) {
  const style = getComputedStyle(control);
  found.push([control.id, style.color, style.backgroundColor]);
}
return found;
"""
# Controls without a name, pictures without a text, and ids that are there twice.
UNNAMED = """
const bad = [];
for (const e of document.querySelectorAll('input, select, textarea'))
  if (!e.labels.length || !e.labels[0].textContent.trim()) bad.push(e.outerHTML);
for (const e of document.querySelectorAll('button, a, summary, h1, h2, caption, legend'))
  if (!e.textContent.trim()) bad.push(e.outerHTML);
for (const e of document.querySelectorAll('svg, [role=region], pre'))
  if (!e.getAttribute('aria-label') && !e.closest('details')) bad.push(e.outerHTML);
const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
bad.push(...ids.filter((id, i) => ids.indexOf(id) !== i));
return bad;
"""
FOCUSABLE = """
return [...document.querySelectorAll('a[href], button, input, select, summary, [tabindex="0"]')]
  .filter(e => e.checkVisibility({visibilityProperty: true}) && !e.disabled)
  .map(e => e.id || e.innerText || e.getAttribute('aria-label'))
"""
FOCUSED = """
const e = document.activeElement;
const style = getComputedStyle(e);
return [e === document.body ? '' : e.id || e.innerText || e.getAttribute('aria-label'),
        style.outlineStyle, parseFloat(style.outlineWidth)]
"""


def luminance(colour: str) -> float:
    """Return the relative luminance of `rgb(r, g, b)` (WCAG 2.2)."""
    parts = [float(n) / 255 for n in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [n / 12.92 if n <= 0.04045 else ((n + 0.055) / 1.055) ** 2.4 for n in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def media(page: Page, scheme: str, kind: str = "") -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    settings = {"media": kind, "features": features}
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", settings)


def open_all(page: Page) -> None:
    page.driver.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")


def test_the_ratio_of_contrast():
    assert contrast("rgb(0, 0, 0)", "rgb(255, 255, 255)") == pytest.approx(21)
    assert contrast("rgb(119, 119, 119)", "rgb(255, 255, 255)") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out(page, scheme):
    media(page, scheme)
    try:
        backgrounds = set()
        for view in VIEWS.values():
            page.go(view)
            open_all(page)
            texts = page.driver.execute_script(TEXTS)
            assert len(texts) > 20
            backgrounds |= {background for _, _, background in texts}
            weak = [t for t in texts if contrast(t[1], t[2]) < 4.5]
            assert weak == []
        assert ("rgb(22, 22, 22)" in backgrounds) == (scheme == "dark")
    finally:
        media(page, "")


@pytest.mark.parametrize("view", VIEWS)
def test_every_control_and_picture_has_a_name(page, view):
    page.go(VIEWS[view])
    open_all(page)
    assert page.driver.execute_script(UNNAMED) == []
    assert page.driver.execute_script("return document.documentElement.lang") == "en"
    assert len(page.all("h1")) == 1
    assert page.all("[role=status][aria-live=polite]")


def test_the_tab_key_goes_through_everything_in_order(page):
    page.go(VIEWS["thresholds"])
    expected = page.driver.execute_script(FOCUSABLE)
    seen = []
    for _ in expected:
        page.press(Keys.TAB)
        name, style, width = page.driver.execute_script(FOCUSED)
        seen.append(name)
        # Chromium draws its own ring ("auto") where the page has none.
        assert style != "none", name
        assert width >= 1, name
    assert seen == expected
    assert seen[:4] == ["skip", "Documents", "Thresholds", "Training"]


def test_the_first_key_skips_to_the_content(page):
    page.go(VIEWS["documents"])
    page.press(Keys.TAB)
    page.press(Keys.ENTER)
    assert page.driver.execute_script("return document.activeElement.id") == "content"
    assert page.heading() == "Documents"
    page.press(Keys.TAB)
    assert page.focused() == "Documents by subset and stage"


def test_a_new_view_is_read_from_its_heading(page):
    page.go(VIEWS["documents"])
    page.one("nav a[href='#/training']").click()
    page.until(lambda: page.heading() == "Training")
    assert page.focused() == "Training"
    assert page.texts("nav a[aria-current=page]") == ["Training"]


@pytest.mark.parametrize("view", VIEWS)
def test_a_phone_shows_it_without_scrolling_sideways(page, view):
    size = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        page.go(VIEWS[view])
        assert page.driver.execute_script("return document.documentElement.scrollWidth") <= 360
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_print_has_the_text_and_no_controls(page):
    page.go(VIEWS["document"])
    media(page, "", "print")
    try:
        assert (
            page.driver.execute_script(
                "return [...document.querySelectorAll('nav, button, footer')]"
                ".filter(e => e.checkVisibility()).length"
            )
            == 0
        )
        assert page.driver.execute_script(
            "const e = document.querySelector('pre.text');"
            "return e.scrollHeight <= e.clientHeight + 1"
        )
    finally:
        media(page, "")
