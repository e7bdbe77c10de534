"""A page in a real browser: how it is laid out at several widths and on paper, and what the browser complains of."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PAPER = 1032
"""Pixels between the margins of A4 landscape."""
VIEWS = {"wide": 1280, "phone": 390, "paper": PAPER}
"""How the page is looked at, and at which width."""
PROBE = """
<script>
// The rules of another medium are made those of the screen, as the browser has no other here.
function applied(words) {
  for (const sheet of document.styleSheets) for (const rule of sheet.cssRules)
    if (rule.media && rule.media.mediaText.includes(words)) rule.media.mediaText = "all";
}
function ratio(colour, ground) {
  const light = text => {
    const parts = text.match(/[0-9.]+/g).slice(0, 3).map(x => x / 255);
    const [r, g, b] = parts.map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [low, high] = [light(colour), light(ground)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}
// The least contrast of any colour of text, and how bright the ground is.
function colours() {
  const ground = getComputedStyle(document.body).backgroundColor;
  const kinds = ["body", ".caption", ".bad", ".measured", ".projected", ".counted", ".absent"];
  const some = kinds.map(query => document.querySelector(query)).filter(each => each);
  const least = Math.min(...some.map(each => ratio(getComputedStyle(each).color, ground)));
  return {contrast: least, bright: ratio(ground, "rgb(0, 0, 0)")};
}
function look() {
  if (window.name === "paper") applied("print");
  const all = query => [...document.querySelectorAll(query)];
  const width = document.documentElement.clientWidth;
  const shown = box => box.width > 0 && box.height > 0 && box.left >= 0 && box.right <= width + 1;
  const ids = new Set(all("[id]").map(each => each.id));
  const targets = all("a[href], use").map(each => each.getAttribute("href") || each.getAttribute("xlink:href"));
  const clips = all("[clip-path]").map(each => each.getAttribute("clip-path").replace(/url\\(([^)]*)\\)/, "$1"));
  return {
    width: width,
    content: document.documentElement.scrollWidth,
    figures: all("figure").length,
    hidden: all("figure svg").filter(each => !shown(each.getBoundingClientRect())).length,
    silent: all("svg:not([aria-hidden])").filter(each => !(each.getAttribute("aria-label") || "").trim()).length,
    links: targets.length,
    lost: [...targets, ...clips].filter(each => !each.startsWith("#") || !ids.has(each.slice(1))),
    twice: all("[id]").length - ids.size,
    order: all("[tabindex]").filter(each => each.tabIndex > 0).length,
    unreachable: all(".wide").filter(each => each.scrollWidth > each.clientWidth && each.tabIndex !== 0).length,
    navigation: all("nav").filter(each => shown(each.getBoundingClientRect())).length,
    light: colours(),
    chapters: all("article").length,
    broken: all("article").filter(each => getComputedStyle(each).breakBefore === "page").length,
    dark: (applied("prefers-color-scheme: dark"), colours()),
  };
}
window.addEventListener("load", () => parent.postMessage({name: window.name, found: look()}, "*"));
</script>
"""
WRAPPER = """<!DOCTYPE html><meta charset="utf-8"><body>{frames}<script>
const found = {{}};
window.addEventListener("message", event => {{
  found[event.data.name] = event.data.found;
  if (Object.keys(found).length === {count}) document.body.innerHTML = "";
  document.title = JSON.stringify(found);
}});
</script>"""


def chromium() -> str | None:
    """The program, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def looked_at(page: Path, folder: Path, program: str) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """What the page is like in each view, and the lines of the browser's console."""
    html = page.read_text(encoding="utf-8")
    (folder / "page.html").write_text(html.replace("</body>", f"{PROBE}</body>"), encoding="utf-8")
    frames = "".join(
        f'<iframe src="page.html" name="{name}" width="{width}" height="800" style="border:0"></iframe>'
        for name, width in VIEWS.items()
    )
    (folder / "wrapper.html").write_text(WRAPPER.format(frames=frames, count=len(VIEWS)), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr"]
    options += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=300000", "--dump-dom"]
    done = subprocess.run(
        [program, *options, (folder / "wrapper.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
        env=os.environ | {"HOME": str(folder)},
    )
    titled = re.search(r"<title>(.*)</title>", done.stdout)
    assert titled, done.stdout[:2000] + done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    found = json.loads(titled[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))
    # They come in whatever order the frames are ready.
    return {name: found[name] for name in VIEWS}, console
