"""What the pictures have in common: colours for light and dark, text, and the document around them.

No font is embedded or loaded: the reader's monospaced one is set, and `length` holds it to the grid.
"""

from __future__ import annotations

import html

CHARACTER = 7.6  # of 12 pixels, at most
STYLE = """
text { font: 12px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #1f2933 }
.ground { fill: #ffffff }
.title { font-weight: 600; font-size: 15px }
.quiet { fill: #52606d; font-size: 11px }
.box { fill: #e3eefb; stroke: #7b9cc4 }
.frame { fill: #f7f9fb; stroke: #cbd2d9 }
.arrow { stroke: #52606d; fill: none; marker-end: url(#head) }
#head path { fill: #52606d }
@media (prefers-color-scheme: dark) {
  text { fill: #e4e7eb } .ground { fill: #11181f } .quiet, #head path { fill: #9aa5b1 }
  .arrow { stroke: #9aa5b1 } .box { fill: #243b53; stroke: #5b7ea8 } .frame { fill: #1b2733; stroke: #3e4c59 }
}
"""


def text(x: float, y: float, words: str, kind: str = "", *, length: float = 0, anchor: str = "") -> str:
    """One line of text; `length` pixels long, if that is given."""
    attributes = f' class="{kind}"' if kind else ""
    attributes += f' text-anchor="{anchor}"' if anchor else ""
    attributes += f' textLength="{length:g}" lengthAdjust="spacingAndGlyphs"' if length else ""
    return f'<text x="{x:g}" y="{y:g}"{attributes}>{html.escape(words, quote=False)}</text>'


def box(x: float, y: float, width: float, height: float, kind: str = "box", *, radius: float = 4) -> str:
    """A rectangle with round corners."""
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}"/>'


def document(
    width: float, height: float, title: str, description: str, body: list[str], style: str = ""
) -> str:
    """The whole SVG; `style` comes after what all have."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
            f'height="{height:g}" role="img" aria-labelledby="title desc">',
            f'<title id="title">{html.escape(title, quote=False)}</title>',
            f'<desc id="desc">{html.escape(description, quote=False)}</desc>',
            f"<style>{STYLE}{style.lstrip()}</style>",
            '<defs><marker id="head" markerWidth="8" markerHeight="8" refX="5" refY="3" orient="auto">'
            '<path d="M0 0 L6 3 L0 6 z"/></marker></defs>',
            box(0, 0, width, height, "ground", radius=0),
            *body,
            "</svg>\n",
        ]
    )
