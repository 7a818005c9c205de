"""Writes screenshots of a build's data card and of its inspector, as PNG files.

    python benchmarks/screenshots.py OUT FOLDER

OUT is the output folder of a build. Needs Chromium, its driver, and `pip install selenium`.
"""

import argparse
import base64
import json
import shutil
import struct
import sys
import threading
import zlib
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import numpy as np

from massivetext.data_card.write import write
from massivetext.errors import ConfigError, MassivetextError
from massivetext.inspector.server import Server

WIDTH, HEIGHT = 1200, 800
MOST_BYTES = 150_000
SECONDS = 30
FLAGS = "--headless=new --no-sandbox --disable-dev-shm-usage --disable-lcd-text --hide-scrollbars"

# The pixels of a PNG (arguments[0], base64) as base64 of RGBA.
PIXELS = """
const [shown, done] = arguments;
const image = new Image();
image.onload = () => {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [image.width, image.height];
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, image.width, image.height).data;
  const reader = new FileReader();
  reader.onload = () => done(reader.result.split(',')[1]);
  reader.readAsDataURL(new Blob([pixels]));
};
image.src = 'data:image/png;base64,' + shown;
"""


def find(base: str, **filters: str) -> dict | None:
    """Return the first document of the build that the filters let through, or None."""
    cursor = ""
    while cursor is not None:
        query = urlencode(filters | {"limit": 1, "cursor": cursor})
        with urlopen(f"{base}api/documents?{query}") as answer:  # our own server
            page = json.load(answer)
        if page["documents"]:
            return page["documents"][0]
        cursor = page["next"]
    return None


def views(base: str) -> dict[str, tuple[str, str]]:
    """Return the views to take: by name the route, and what is scrolled to (or nothing)."""
    with urlopen(f"{base}api/summary") as answer:
        rules = [rule["rule"] for rule in json.load(answer)["rules"]]
    taken = {"documents": ("#/documents?state=dropped", "")}
    repeated = [rule for rule in rules if "duplicate" in rule or "gram" in rule]
    found = [dropped for rule in repeated if (dropped := find(base, rule=rule))]
    if found:
        taken["document"] = (f"#/document?{_place(found[0], '&')}", "pre.text mark")
    near = find(base, stage="near")
    if near:
        with urlopen(f"{base}api/document?{_place(near, '&')}") as answer:
            partners = json.load(answer)["partners"]
        known = [partner for partner in partners if partner["row"] is not None]
        if known:
            sides = f"a={_place(near, ':')}&b={_place(known[0], ':')}"
            taken["compare"] = (f"#/compare?{sides}", "")
    return taken | {"thresholds": ("#/thresholds", ""), "training": ("#/training", "")}


def _place(document: dict, between: str) -> str:
    values = {key: str(document[key]) for key in ("subset", "part", "row")}
    if between == ":":
        return ":".join(values.values())
    return between.join(f"{key}={value}" for key, value in values.items())


def take(out: Path, folder: Path) -> list[Path]:
    """Write the screenshots of the build in `out` to `folder`; return their paths.

    Raises:
      ConfigError: `out` is no build, the browser is absent, or a picture is too large for a page.
    """
    try:
        from selenium import webdriver
        from selenium.webdriver.support.ui import WebDriverWait
    except ImportError as error:
        raise ConfigError("selenium is absent: pip install selenium") from error
    browser, driver_path = shutil.which("chromium"), shutil.which("chromedriver")
    if not (browser and driver_path):
        raise ConfigError("Chromium is absent: apt-get install chromium chromium-driver")
    if not (out / "manifests").is_dir():
        raise ConfigError(f"{out} is not the output of a build (it has no manifests)")
    folder.mkdir(parents=True, exist_ok=True)
    card = (folder / "card.html").resolve()
    write(out, card)
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in FLAGS.split():
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(driver_path))
    size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
    light = [{"name": "prefers-color-scheme", "value": "light"}]
    taken = []
    try:
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": light})
        driver.get(card.as_uri())
        taken.append(_save(driver, folder / "card.png"))
        with Server(out, 0) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                for name, (route, target) in views(server.url).items():
                    driver.get("about:blank")
                    driver.get(server.url + route)
                    WebDriverWait(driver, SECONDS).until(_drawn)
                    if target:
                        driver.execute_script(
                            "document.querySelector(arguments[0])"
                            "?.scrollIntoView({block: 'center'})",
                            target,
                        )
                    taken.append(_save(driver, folder / f"inspect_{name}.png"))
            finally:
                server.shutdown()
                thread.join()
    finally:
        driver.quit()
        card.unlink()
        card.with_suffix(".json").unlink()
    return taken


def _drawn(driver) -> bool:
    """A view says what it shows when it is whole."""
    return bool(driver.execute_script("return document.getElementById('status')?.textContent"))


def _save(driver, path: Path) -> Path:
    """Write what the browser shows, in at most 256 colours: a third of the bytes of all."""
    shown = driver.get_screenshot_as_base64()
    driver.switch_to.new_window("tab")
    try:
        raw = base64.b64decode(driver.execute_async_script(PIXELS, shown))
    finally:
        driver.close()
        driver.switch_to.window(driver.window_handles[0])
    picture = _png(np.frombuffer(raw, np.uint8).reshape(HEIGHT, WIDTH, 4)[..., :3])
    if len(picture) > MOST_BYTES:
        raise ConfigError(f"{path} would have {len(picture):,} bytes, more than {MOST_BYTES:,}")
    path.write_bytes(picture)
    return path


def _png(pixels: np.ndarray) -> bytes:
    """Return uint8 (height, width, 3) as a PNG with a palette of its own."""
    for step in (1, 2, 4, 8, 16, 32, 64):
        # White stays white: levels are counted from it.
        coarse = 255 - (255 - pixels.astype(np.int32)) // step * step
        packed = coarse[..., 0] << 16 | coarse[..., 1] << 8 | coarse[..., 2]
        colours, places = np.unique(packed, return_inverse=True)
        if len(colours) <= 256:
            break
    height, width = packed.shape
    palette = colours.astype(">u4").view(np.uint8).reshape(-1, 4)[:, 1:]
    rows = np.zeros((height, 1 + width), np.uint8)  # each after its filter: none
    rows[:, 1:] = places.reshape(height, width)
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0),
        b"PLTE": palette.tobytes(),
        b"IDAT": zlib.compress(rows.tobytes(), 9),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks.items()
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Screenshots of a build's card and inspector.")
    parser.add_argument("out", type=Path, help="the output folder of a build")
    parser.add_argument("folder", type=Path, help="where the PNG files go")
    options = parser.parse_args()
    try:
        for path in take(options.out, options.folder):
            print(f"{path} ({path.stat().st_size:,} bytes)")
    except MassivetextError as error:
        print(f"screenshots.py: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
