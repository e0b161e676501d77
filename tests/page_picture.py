"""The picture in docs/ui.md: the page beside the example of the demo, as it stood in a real browser.

`python tests/page_picture.py` runs `reconcile demo --ui` and writes `docs/ui.png`; it needs Chromium.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parent.parent
SIZE = {"width": 1280, "height": 720}


def main() -> None:
    argv = (sys.executable, "-u", "-m", "reconciler", "demo", "--ui")
    demo = subprocess.Popen(argv, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        assert demo.stdout
        url = next(found[0] for line in demo.stdout if (found := re.search(r"http://\S+", line)))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport=SIZE)
            page.set_default_timeout(120_000)
            page.goto(url)
            page.wait_for_selector("#col-needs .card")
            page.wait_for_selector("#col-done .card")
            page.wait_for_selector("#col-waiting .card")
            page.wait_for_timeout(400)
            page.screenshot(path=ROOT / "docs" / "ui.png")
            browser.close()
    finally:
        demo.send_signal(signal.SIGINT)
        demo.communicate()


if __name__ == "__main__":
    main()
