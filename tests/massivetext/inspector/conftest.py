"""A browser on the inspector of a small build, for the tests of its page."""

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from massivetext.inspector import api, documents, evidence
from massivetext.inspector.server import Server

from . import page_build

FLAGS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1200,900")


@pytest.fixture(autouse=True, scope="session")
def unhurried() -> Iterator[None]:
    """No answer is cut short because the machine that runs the tests is slow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "SECONDS", 60.0)
        patch.setattr(evidence, "SECONDS", 60.0)
        patch.setattr(api, "EXAMPLE_SECONDS", 60.0)
        yield


@pytest.fixture(scope="session")
def out(tmp_path_factory) -> Path:
    return page_build.make(tmp_path_factory.mktemp("inspected"))


@pytest.fixture(scope="session")
def base(out) -> Iterator[str]:
    with Server(out, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.url.rstrip("/")
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def browser(base, tmp_path_factory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="pip install selenium")
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("apt-get install chromium chromium-driver")
    from .page_browser import Page

    downloads = tmp_path_factory.mktemp("downloads")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in FLAGS:
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options, service)
    try:
        yield Page(driver, base, downloads)
    finally:
        driver.quit()


@pytest.fixture
def page(browser) -> Iterator[Any]:
    """The browser; afterwards, nothing was complained of and nothing asked for elsewhere."""
    browser.driver.get_log("performance")
    yield browser
    assert browser.driver.get_log("browser") == []
    asked = []
    for entry in browser.driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.append(message["params"]["request"]["url"])
    own = (f"{browser.base}/", "data:", f"blob:{browser.base}/", "about:")
    assert [url for url in asked if not url.startswith(own)] == []
    assert browser.driver.execute_script("return window.hacked === undefined")
