"""The picture of a report of `amx bench`."""

import dataclasses
import itertools

import benching
import pytest
from benching import kernel_row, report_of

from amx.bench.peers.peer import Form

emulated, small = benching.emulated, benching.small  # fixtures


def test_the_plot_is_a_picture(emulated, small, tmp_path, monkeypatch):
    """A point for each kernel, and a bar for each library's call of each form."""
    figure = pytest.importorskip("matplotlib.figure")
    from amx.bench.plot import draw

    pictures = []
    save = figure.Figure.savefig
    monkeypatch.setattr(
        figure.Figure,
        "savefig",
        lambda self, *given, **how: (pictures.append(self), save(self, *given, **how)),
    )
    report = report_of("8x9x10", "16x16x16", "3x8x9x10")
    draw(report, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
    roofline, *bars = pictures[0].axes
    limit = report.ceiling.limit(report.kernels[0].case.dtype, 1)
    labels = [text.get_text() for text in roofline.get_legend().get_texts()]
    assert labels[0] == "amx kernel, packed (emulated)"
    assert labels[1].startswith(f"{limit.name}: " if limit else "memory: ")
    points = roofline.collections[0].get_offsets()
    assert [rate for _, rate in points] == pytest.approx([row.gops for row in report.kernels])
    for form, axes in zip((Form.PACKED, Form.PLAIN), bars, strict=True):
        assert form.value in axes.get_title()
        drawn = [bar.get_height() for bar in axes.patches]
        assert drawn == pytest.approx([r.gops for r in by_library(report) if r.form is form and r.gops])


def test_names_in_the_plot_cover_nothing(emulated, small, tmp_path, monkeypatch):
    """Not each other, nor a point, though six products are almost the same."""
    figure = pytest.importorskip("matplotlib.figure")
    from amx.bench.plot import draw

    pictures = []
    monkeypatch.setattr(figure.Figure, "savefig", lambda self, *_, **__: pictures.append(self))
    texts = [f"{m}x64x64" for m in range(64, 70)]
    report = dataclasses.replace(report_of("8x9x10"), kernels=tuple(map(kernel_row, texts)))
    draw(report, tmp_path / "bench.png")
    roofline = pictures[0].axes[0]
    assert sorted(name.get_text() for name in roofline.texts) == texts
    boxes = [name.get_window_extent() for name in roofline.texts]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    points = [roofline.transData.transform(name.xy) for name in roofline.texts]
    assert not any(box.contains(*point) for box in boxes for point in points)


def by_library(report):
    """Calls in the order of the bars: ours for all products, then the next library's."""
    libraries = list(dict.fromkeys(row.library for row in report.calls))
    return sorted(report.calls, key=lambda row: libraries.index(row.library))
