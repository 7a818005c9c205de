"""A browser on the inspector's page: goes to views, waits, and asks for what is shown."""

from pathlib import Path

from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

SECONDS = 20
VIEWS = {
    "documents": "#/documents",
    "document": "#/document?subset=web&part=part-00000&row=64",
    "overlap": "#/document?subset=web&part=part-00000&row=62",
    "compare": "#/compare?a=web:part-00000:0&b=web:part-00000:61",
    "thresholds": "#/thresholds",
    "training": "#/training",
}


class Page:
    """A browser on a server: goes to routes, waits, and asks for texts."""

    def __init__(self, driver, base: str, downloads: Path):
        self.driver = driver
        self.base = base
        self.downloads = downloads

    def go(self, route: str) -> None:
        # A new document each time: a change of the hash alone keeps the page's state.
        self.driver.get("about:blank")
        self.driver.get(f"{self.base}/{route}")
        self.until(self.status)

    def until(self, condition):
        return WebDriverWait(self.driver, SECONDS, 0.02).until(lambda _: condition())

    def all(self, selector: str):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str):
        return self.until(lambda: next(iter(self.all(selector)), None))

    def texts(self, selector: str) -> list[str]:
        # In one call: an element may be replaced between two.
        script = "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText)"
        return self.driver.execute_script(script, selector)

    def status(self) -> str:
        return self.driver.execute_script(
            "return document.getElementById('status')?.textContent || ''"
        )

    def control(self, label: str):
        script = """return [...document.querySelectorAll('label')]
            .find(l => l.textContent === arguments[0])?.control"""
        return self.until(lambda: self.driver.execute_script(script, label))

    def choose(self, label: str, value: str) -> None:
        Select(self.control(label)).select_by_value(value)

    def click(self, text: str) -> None:
        script = """const found = [...document.querySelectorAll('main button, main a')]
            .find(e => e.innerText === arguments[0]); found?.click(); return Boolean(found)"""
        self.until(lambda: self.driver.execute_script(script, text))

    def press(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self) -> str:
        return self.driver.execute_script("return document.activeElement.innerText") or ""

    def heading(self) -> str:
        return self.driver.execute_script("return document.querySelector('h1')?.innerText || ''")
