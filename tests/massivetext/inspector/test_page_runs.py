"""Training runs side by side, and a folder that holds nothing but a run, in headless Chromium."""

import json
import threading
from contextlib import contextmanager

import pytest

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
