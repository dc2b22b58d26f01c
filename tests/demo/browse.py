"""Headless Chromium for one test, and what it shows of the layer table."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
chromium_needed = pytest.mark.skipif(
    not (CHROMIUM and DRIVER and find_spec("selenium")),
    reason="selenium (dev extra), chromium and chromedriver are needed",
)


@contextmanager
def browser(profile: Path, width: int) -> Iterator[Any]:
    """A driver with a window of this width in pixels; its logs hold console lines and requests."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    from tests.report.test_browser import FLAGS

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        yield driver
    finally:
        driver.quit()


def layer_names(driver: Any) -> list[str]:
    """First column of the layer table, as shown."""
    from tests.report.test_browser import column

    return column(driver, 0)
