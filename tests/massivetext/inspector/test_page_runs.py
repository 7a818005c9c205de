"""Training runs side by side, and a folder that holds nothing but a run, in headless Chromium."""

import json
import threading
from contextlib import contextmanager

import pytest
from selenium.webdriver.common.keys import Keys

from massivetext.inspector.server import Server

from . import page_build
from .page_browser import Page


@contextmanager
def served(browser, root, *others):
    """The browser's page on another server."""
    with Server(root, 0, others) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Page(browser.driver, server.url.rstrip("/"), browser.downloads)
        finally:
            server.shutdown()
            thread.join()
    assert browser.driver.get_log("browser") == []


@pytest.fixture
def folders(tmp_path):
    for name, stop in (("one", 30), ("two", 20)):
        page_build.log(tmp_path / name, 0, stop)
    with open(tmp_path / "two/train/metrics.jsonl", "a") as file:
        said = {"to": 15, "loss": 9.5, "records": [100, 132]}
        file.write(json.dumps({"step": 20, "rewind": said}) + "\n")
    return tmp_path / "one", tmp_path / "two"


def curves(page: Page) -> list[list[str]]:
    """The names at the ends of the curves, by chart."""
    return page.driver.execute_script(
        "return [...document.querySelectorAll('figure')].map(f =>"
        "[...f.querySelectorAll('text[class]')].map(t => t.textContent.split(' ')[0]))"
    )


def test_two_runs_are_drawn_side_by_side(browser, folders):
    with served(browser, *folders) as page:
        page.go("#/training")
        assert [caption.partition(" (")[0] for caption in page.texts("figcaption")] == [
            "Loss",
            "Bits per byte of held-out text: books",
            "Bits per byte of held-out text: web",
            "Learning rate",
            "Throughput",
            "Norm of the gradient",
        ]
        for names in curves(page):
            assert sorted(names) == ["one", "two"]
        label = page.all("figure svg")[0].get_attribute("aria-label")
        assert "step 1 to 30" in label
        # The second went back from step 20 to step 15.
        assert "one from 7.99 to 7.7; two from 7.99 to 7.85" in label
        first, second = page.all("figure")[0].find_elements("css selector", ".curve")
        assert first.get_attribute("stroke-dasharray") != second.get_attribute("stroke-dasharray")
        assert page.texts("thead th")[:4] == ["", "one", "two", "unit"]
        assert page.texts("tbody tr")[0].split() == ["step", "30", "15"]
        assert page.texts("tbody tr")[-1].split() == "two 20 9.5 15 100 to 131".split()
        page.choose("Curves along", "tokens")
        page.until(
            lambda: "tokens 1000 to 30000" in page.all("figure svg")[0].get_attribute("aria-label")
        )
        page_build.log(folders[1], 15, 16)
        page.until(lambda: page.texts("tbody tr")[0].split() == ["step", "30", "16"])


def test_a_folder_with_nothing_but_a_run_opens_at_it(browser, folders):
    with served(browser, folders[0]) as page:
        page.go("")
        assert page.heading() == "Training"
        assert page.texts("#missing li") == ["one is no build: only training is shown"]
        page.go("#/documents")
        assert page.heading() == "Documents"
        page.go("#/thresholds")
        assert page.heading() == "Thresholds"


def sample(page: Page) -> list[str]:
    """Title and text of each sample that is shown."""
    return page.texts("section section h3, section section pre")


def steps(page: Page) -> list[str]:
    script = "return [...arguments[0].options].map(o => o.textContent)"
    return page.driver.execute_script(script, page.control("Step"))


def chosen(page: Page, label: str) -> str:
    script = "return arguments[0].selectedOptions[0].textContent"
    return page.driver.execute_script(script, page.control(label))


def test_samples_are_shown_step_by_step_and_followed(browser, folders):
    with served(browser, folders[0]) as page:
        page.go("#/training")
        assert page.texts("main section > h2") == ["Samples"]
        assert steps(page) == ["30", "20", "10"]
        assert chosen(page, "Prompt") == "The"
        assert sample(page) == ["step 30", "The text of step 30"]
        assert page.texts("section pre b") == ["The"]
        # The newest stays the newest.
        page_build.log(folders[0], 30, 40)
        page.until(lambda: sample(page) == ["step 40", "The text of step 40"])
        # The arrows go to older steps, and what was chosen stays.
        page.control("Step").send_keys(Keys.ARROW_DOWN)
        page.until(lambda: sample(page) == ["step 30", "The text of step 30"])
        assert page.status() == "Samples: step 30."
        text = page.one("section pre")
        page_build.log(folders[0], 40, 50)
        page.until(lambda: steps(page) == ["50", "40", "30", "20", "10"])
        assert sample(page) == ["step 30", "The text of step 30"]
        assert chosen(page, "Step") == "30"
        assert text.text == "The text of step 30"  # the same element, not one made anew
        page.control("Step").send_keys(Keys.HOME)
        page.until(lambda: sample(page) == ["step 50", "The text of step 50"])
        page_build.log(folders[0], 50, 60)
        page.until(lambda: sample(page) == ["step 60", "The text of step 60"])


def test_a_sample_is_text_whatever_it_is(browser, folders):
    with served(browser, folders[0]) as page:
        page.go("#/training")
        page.control("Prompt").send_keys(Keys.ARROW_DOWN)
        page.until(lambda: "onerror" in sample(page)[1])
        script = "return document.querySelector('main section pre').textContent"
        shown = page.driver.execute_script(script)
        hostile = page_build.HOSTILE
        for hidden in "\x00\x1b":
            hostile = hostile.replace(hidden, chr(0x2400 + ord(hidden)))
        for hidden in "\u202e\u202c\u2066":
            hostile = hostile.replace(hidden, f"\\u{ord(hidden):04x}")
        assert shown == hostile * 2
        assert page.all("main section script, main section img, main section svg") == []
        assert page.driver.execute_script("return window.hacked === undefined")
        assert page.driver.execute_script(
            "return document.querySelector('main section option:checked').textContent.length <= 61"
        )


def test_samples_of_two_runs_are_side_by_side_at_the_nearest_step(browser, folders):
    one, two = folders
    with open(one / "train/metrics.jsonl", "a") as file:
        only = {"prompt": "Only one", "text": "!"}
        file.write(json.dumps({"step": 30, "samples": [only]}) + "\n")
    with served(browser, one, two) as page:
        page.go("#/training")
        # The second went back from step 20 to step 15: its samples of step 20 are void.
        assert steps(page) == ["30", "20", "10"]
        assert sample(page) == [
            "one, step 30", "The text of step 30", "two, step 10", "The text of step 10",
        ]  # fmt: skip
        page.control("Step").send_keys(Keys.END)
        page.until(lambda: sample(page)[0] == "one, step 10")
        assert sample(page)[2:] == ["two, step 10", "The text of step 10"]
        page.control("Prompt").send_keys(Keys.END)
        page.until(lambda: sample(page) == ["one, step 30", "Only one!"])


def test_without_samples_there_is_no_such_section(browser, folders):
    path = folders[0] / "train/metrics.jsonl"
    path.write_text("".join(x for x in path.open() if '"samples"' not in x))
    with served(browser, folders[0]) as page:
        page.go("#/training")
        assert not page.one("main section").is_displayed()
