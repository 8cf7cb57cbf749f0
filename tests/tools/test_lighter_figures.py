"""The built book has lighter copies of the figures, which look the same."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from tool_files import tool

from fewbits import plots

lighter = tool("lighter_figures")

pytestmark = pytest.mark.usefixtures("book_theme")


def pixels(path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def test_a_figure_is_smaller_and_keeps_its_colours(tmp_path):
    folder = tmp_path / "_images"
    folder.mkdir()
    figure, axes = plt.subplots(figsize=(plots.WIDTH, 3))
    for place, colour in enumerate([*plots.COLORS.values(), *plots.NEUTRALS]):
        axes.bar(place, 1, color=colour)
        axes.plot([place, place + 5], [1, 2], color=colour)
    axes.set(xlabel="method", ylabel="height", title="All colours")
    figure.savefig(folder / "figure.png")
    before, size = pixels(folder / "figure.png"), (folder / "figure.png").stat().st_size
    lighter.lighten_all(SimpleNamespace(outdir=tmp_path), None)
    after = pixels(folder / "figure.png")
    assert (folder / "figure.png").stat().st_size < 0.6 * size
    assert np.abs(after - before).mean() < 0.5
    for colour in plots.COLORS.values():
        area = (before == np.round(255 * np.array(to_rgb(colour)))).all(axis=2)
        assert area.sum() > 1000
        assert np.abs(after[area] - before[area]).max() <= 2


def test_a_photograph_and_a_failed_build_are_left_alone(tmp_path):
    folder = tmp_path / "_images"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8)
    Image.fromarray(noise).save(folder / "photograph.png")
    Image.new("RGB", (9, 9), "red").save(folder / "drawing.png")
    stored = {path: path.read_bytes() for path in folder.iterdir()}
    lighter.lighten_all(SimpleNamespace(outdir=tmp_path), ValueError("no book"))
    assert {path: path.read_bytes() for path in folder.iterdir()} == stored
    lighter.lighten_all(SimpleNamespace(outdir=tmp_path), None)
    assert [path.name for path in folder.iterdir() if path.read_bytes() != stored[path]] == ["drawing.png"]
