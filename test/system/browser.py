"""Headless Chromium for system tests.

    with open_chromium() as browser:
        browser.get(server.url + "/")
"""
import contextlib
import shutil
import tempfile

import pytest

from longwire_server import free_port
from waiting import SECONDS

webdriver = pytest.importorskip("selenium.webdriver", reason="python3-selenium is not installed")
from selenium.webdriver.chrome.service import Service

CHROMIUM, CHROMEDRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(not CHROMIUM or not CHROMEDRIVER,
                                    reason="chromium and chromium-driver are not installed")


@contextlib.contextmanager
def open_chromium(*flags):
    """A browser with a fresh profile; its console is kept for get_log("browser")."""
    home = tempfile.mkdtemp(prefix="longwire-chromium-")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
                 "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", f"--user-data-dir={home}",
                 *flags):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(service=Service(CHROMEDRIVER, port=free_port()), options=options)
    browser.set_script_timeout(SECONDS)
    try:
        yield browser
    finally:
        browser.quit()
        shutil.rmtree(home, ignore_errors=True)
