#!/usr/bin/env python3
"""Take pictures of pages of the site: ci/screenshots.py SITE DIRECTORY; ci/docs --screenshots calls it.

Each page at 1400 and 400 pixels, light and dark, as PAGE-WIDTH-SCHEME.png. Says which pages are wider than a
telephone. Needs Chromium.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

PAGES = (
    "index",
    "tutorials/ask",
    "howto/request-fails",
    "reference/products",
    "reference/errors",
    "reference/commands",
    "reference/causes",
    "reference/environment",
    "conformance",
    "numerics",
    "performance",
    "architecture",
    "abi",
    "history",
    "project/changelog",
)
HEIGHTS = {1400: 2000, 400: 2600}
SCHEMES = ("light", "dark")
# A page in a frame of that width, whatever the least width of windows is; says of a page that it is wider.
FRAME = """<!DOCTYPE html><title>none</title>
<style>body {{ margin: 0 }} iframe {{ border: 0; display: block }}</style>
<iframe src="{page}" width="{width}" height="{height}"></iframe>
<script>onload = () => {{
  const page = document.querySelector("iframe").contentDocument, wide = [];
  if (page.documentElement.scrollWidth > {width}) wide.push(page.documentElement.scrollWidth);
  document.title = "wide: " + wide;
}}</script>
"""


def chromium() -> str:
    """The browser."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    sys.exit("ci/docs: no Chromium, which takes the pictures: install it (Debian: apt install chromium)")


def options(scheme: str, profile: str) -> list[str]:
    """How the browser is started."""
    root = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's sandbox refuses root
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    return [
        "--headless",
        "--disable-gpu",
        "--hide-scrollbars",
        "--allow-file-access-from-files",
        f"--user-data-dir={profile}",
        "--virtual-time-budget=5000",
        *root,
        *dark,
    ]


def run(command: list[str]) -> str:
    """What the browser prints."""
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120).stdout


def take(site: Path, page: str, width: int, scheme: str, directory: Path) -> str | None:
    """One picture; what is wrong with the page."""
    picture = directory / f"{page.replace('/', '-')}-{width}-{scheme}.png"
    height = HEIGHTS[width]
    with tempfile.TemporaryDirectory(prefix="amx-screenshots-") as scratch:
        frame = Path(scratch, "frame.html")
        frame.write_text(FRAME.format(page=(site / f"{page}.html").as_uri(), width=width, height=height))
        browser = [chromium(), *options(scheme, scratch), f"--window-size={max(width, 500)},{height}"]
        run([*browser, f"--screenshot={picture}", frame.as_uri()])
        if not picture.exists():
            return f"{picture}: there is no picture"
        if width == min(HEIGHTS) and scheme == SCHEMES[0]:
            title = re.search(r"<title>(.*?)</title>", run([*browser, "--dump-dom", frame.as_uri()]))
            if title is None or title[1] == "none":
                return f"{page}: the browser does not say how wide it is"
            if title[1] != "wide: ":
                return f"{page} is wider than {width} pixels: {title[1].removeprefix('wide: ')}"
    return None


def main() -> int:
    """Take them."""
    reader = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    reader.add_argument("site", type=Path)
    reader.add_argument("directory", type=Path)
    arguments = reader.parse_args()
    chromium()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    views = [(page, width, scheme) for page in PAGES for width in HEIGHTS for scheme in SCHEMES]
    with ThreadPoolExecutor(2) as executor:
        wrong = list(
            executor.map(lambda view: take(arguments.site.resolve(), *view, arguments.directory), views)
        )
    print(*filter(None, wrong), sep="\n")
    print(f"{len(views)} pictures in {arguments.directory}")
    return 1 if any(wrong) else 0


if __name__ == "__main__":
    sys.exit(main())
