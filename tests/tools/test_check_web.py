"""`make check-web` notices what it is there for: pages with one damage each."""

import random

import pytest
from tool_files import tool

check_web = tool("check_web")

GOOD = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>A page</title><link rel="icon" href="data:,">
<style>html {{ background: #fff; color: #222; }} html[data-theme="dark"] {{ background: #111; color: #eee; }}</style>
<script>
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.onchange = () => {{ document.documentElement.dataset.theme = dark.matches ? "dark" : "light"; }};
  dark.onchange();
</script></head>
<body><main><h1>A page</h1><article><p>Text.</p>{}</article></main></body></html>
"""

# What is put into a page, and the words that one of its faults must have.
DAMAGES = {
    "label": ('<input type="text" id="field">', "critical, label: "),
    "grey": ('<p style="color: #bbb">Hardly seen by day.</p>', "light, 1280 px: serious, color-contrast: "),
    "dark": ('<p style="color: #333">Hardly seen by night.</p>', "dark, 390 px: serious, color-contrast: "),
    "hidden": ('<details><summary>Open</summary><p style="color: #bbb">Grey.</p></details>', "serious, color-contrast"),
    "wide": ('<div style="width: 700px">wide</div>', "light, 390 px: page is"),
    "link": ('<a href="nowhere.html">Nowhere</a>', "broken link: nowhere.html"),
    "console": ("<script>console.error('oh')</script>", "console: oh"),
    "heavy": ('<img src="heavy.png" alt="noise">', "weighs 2"),
    "nesting": ("<p>A paragraph <div>in</div> two.</p>", "close-order"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    (folder / "good.html").write_text(GOOD.format(""), "utf-8")
    for name, (damage, _) in DAMAGES.items():
        (folder / f"{name}.html").write_text(GOOD.format(damage), "utf-8")
    # A picture of one pixel; the noise behind it, which no compression makes smaller, is not shown.
    pixel = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
    (folder / "heavy.png").write_bytes(pixel + random.Random(0).randbytes(check_web.LIMIT))
    return folder


@pytest.mark.skipif(bool(check_web.missing()), reason=f"not installed: {' and '.join(check_web.missing())}")
def test_every_damage_is_noticed_and_nothing_else(browser, folder):
    excuse = check_web.Excuse("label", "^#field", "shows what an excuse does")
    check = check_web.Check(folder, [excuse])
    faults = {name: [] for name in ("good", *DAMAGES)}
    for line in check.all(browser, [*faults]):
        name, _, fault = line.partition(": ")
        faults[name].append(fault)
    assert faults.pop("good") == []
    assert faults.pop("label") == []
    assert check.used == {excuse}
    for name, found in faults.items():
        assert any(DAMAGES[name][1] in fault for fault in found), name
    assert all(fault.startswith("dark, ") for fault in faults["dark"])
    unexcused = list(check_web.Check(folder, []).all(browser, ["label"]))
    assert any(DAMAGES["label"][1] in fault for fault in unexcused)


def test_excuses_have_reasons():
    for excuse in check_web.EXCUSES:
        assert len(excuse.reason) > 20
