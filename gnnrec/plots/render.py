"""From a `Plot` to a picture: SVG inside a page, whose light or dark colours it takes, or a PNG file."""

import html
import io
import re
import textwrap
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gnnrec.files import atomic_path
from gnnrec.plots.draw import Plot
from gnnrec.plots.ticks import thin_out

# Stand-ins of the SVG that become the page's own colours.
INK, MUTED, LINE = "#010101", "#020202", "#030303"
PAGE_COLOURS = {INK: "currentColor", MUTED: "var(--muted)", LINE: "var(--line)"}
PAPER = ("#16191d", "#5c6570", "#e1e5ea")  # the same three of a PNG, on white
FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "PingFang SC", "Microsoft YaHei")  # those installed
PNG_DPI = 240
LETTERS_PER_INCH = 12  # of a title


def svg(plot: Plot) -> str:
    """`<svg …>` text for a page that defines --muted and --line, without a word of scripts, fonts or addresses."""
    with _figure(plot, (INK, MUTED, LINE), ("DejaVu Sans",)) as figure:
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, dpi=200, metadata=nothing)
    return _for_page(buffer.getvalue(), f"{plot.heading}: {plot.finding}")


def save_png(plot: Plot, path: Path) -> Path:
    """Write the plot with its heading and finding above it, whole or not at all; returns `path`."""
    from matplotlib.font_manager import get_font_names

    # Titles come in every script: the first family that has a sign draws it, else an empty box stands for it.
    families = [name for name in FONTS if name in get_font_names()]
    with _figure(plot, PAPER, families) as figure:
        figure.suptitle(plot.heading, x=0.07 / plot.size[0], ha="left", weight="bold")
        finding = textwrap.fill(plot.finding, int(plot.size[0] * LETTERS_PER_INCH))
        title = figure.axes[0].set_title(finding, loc="left", color=PAPER[1], fontsize="medium")
        figure.draw_without_rendering()  # only now the axes have their place
        figure.set_layout_engine("none")  # and keep it
        place = figure.axes[0].get_position()
        title.set_x((0.02 - place.x0) / place.width)  # under the heading: beside long labels it would not fit
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=PNG_DPI, facecolor="white")
    return path


@contextmanager
def _figure(plot: Plot, colours: tuple[str, str, str], families: Sequence[str]) -> Iterator[Any]:
    """The drawn figure under the style of the house; not by pyplot: no window, no figure that outlives this."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(style(*colours) | {"font.family": families}), warnings.catch_warnings():
        # For SVG matplotlib only measures the text; the reader's browser has the glyphs that are missing here.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        figure = Figure(figsize=plot.size, layout="constrained")
        axes = figure.add_subplot()
        plot.draw(axes)
        figure.draw_without_rendering()  # only now it is known how much room there is
        thin_out(axes)
        yield figure


def style(ink: str, muted: str, line: str) -> dict[str, Any]:
    """matplotlib's settings for text, axes and grid in these colours."""
    return {
        "font.size": 9,
        "text.color": ink,
        "text.parse_math": False,  # a title with two dollar signs is no formula
        "axes.edgecolor": line,
        "axes.labelcolor": muted,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": line,
        "grid.linewidth": 0.6,
        "xtick.color": line,
        "ytick.color": line,
        "xtick.labelcolor": muted,
        "ytick.labelcolor": muted,
        "legend.frameon": False,
        "legend.labelcolor": ink,
        "svg.fonttype": "none",  # real text: small, sharp, searchable
        "svg.hashsalt": "gnnrec",  # the same plot gives the same bytes
    }


def _for_page(text: str, label: str) -> str:
    """Without prologue, names that several plots of one page share, and a fixed size; with the page's colours, and a
    label for those who cannot see it."""
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text, count=2)  # HTML knows them
    text = re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", text, count=1)
    text = re.sub(r'(<svg [^>]*?)height="[^"]*"', r"\1", text, count=1)
    names = f"p{zlib.crc32(text.encode()):08x}-"  # a hash that is the same in every process
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{names}", text)
    for stand_in, colour in PAGE_COLOURS.items():
        text = text.replace(stand_in, colour)
    return text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(label)}" ', 1)
