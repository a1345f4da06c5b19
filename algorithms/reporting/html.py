"""HTML from plain functions: what is not markup is escaped, always."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence


class Html(str):
    """Markup; any other string is text."""

    __slots__ = ()


Content = Html | str
Cell = Content | None

NOTHING = "\u2013"
"""A dash, where there is no number."""


def text(content: Content) -> Html:
    """Escaped, unless it is markup already."""
    return content if isinstance(content, Html) else Html(html.escape(content, quote=True))


def tag(name: str, /, *children: Content, **attributes: str | bool) -> Html:
    """An element; `class_` is the attribute class, `aria_label` is aria-label."""
    written = [
        f" {key.strip('_').replace('_', '-')}"
        + ("" if value is True else f'="{html.escape(value, quote=True)}"')
        for key, value in attributes.items()
        if not isinstance(value, bool) or value
    ]
    inner = "".join(map(text, children))
    if name in ("img", "meta"):
        return Html(f"<{name}{''.join(written)}>")
    return Html(f"<{name}{''.join(written)}>{inner}</{name}>")


def join(parts: Iterable[Content]) -> Html:
    """One after the other."""
    return Html("\n".join(map(text, parts)))


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Html:
    """A table whose first column names the rows; `None` is an empty cell, drawn as a dash.

    Args:
        caption: what it tells.
        head: of the columns.
        rows: of cells, as long as the head each.
    """
    header = tag("tr", *(tag("th", name, scope="col") for name in head))
    body = [
        tag(
            "tr",
            tag("th", row[0] if row[0] is not None else NOTHING, scope="row"),
            *(tag("td", NOTHING if cell is None else cell) for cell in row[1:]),
        )
        for row in rows
    ]
    inner = tag("table", tag("caption", caption), tag("thead", header), tag("tbody", *body))
    # Wide tables scroll by themselves; whoever has only a keyboard must reach them.
    return tag("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption)


def picture(png: bytes, alt: str, caption: Content, wide: bool, width: int) -> Html:
    """A figure that holds its image.

    Args:
        png: the image.
        alt: what is to be seen there, for those who don't see it.
        caption: how to read it.
        wide: whether it takes the page's whole width.
        width: at which it is drawn, in CSS pixels.
    """
    source = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    image = tag("img", src=source, alt=alt, width=str(width))
    holder = image
    if wide:
        holder = tag("div", image, class_="scroll", tabindex="0", role="region", aria_label=alt)
    return tag("figure", holder, tag("figcaption", caption), class_="wide" if wide else "half")


def details(summary: str, *content: Content) -> Html:
    """What opens on a click."""
    return tag("details", tag("summary", summary), *content)


def page(title: str, body: Content, footer: Content) -> Html:
    """The whole document.

    Args:
        title: also the first heading.
        body: everything between the heading and the footer.
        footer: below all else.
    """
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        Html(f"<style>{STYLE}</style>"),
    )
    main = tag("main", tag("h1", title), body, footer)
    document = tag("html", head, tag("body", main), lang="en")
    return Html(f"<!doctype html>\n{document}\n")


STYLE = """
:root { color-scheme: light; --ink: #1b1f24; --soft: #57606a; --line: #d8dee4; --blue: #0b5394; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1rem; letter-spacing: -.01em; }
h2 { font-size: 1.35rem; margin: 3rem 0 .5rem; padding-top: 1rem;
  border-top: 2px solid var(--ink); }
h3 { font-size: 1.08rem; margin: 2rem 0 .25rem; }
h1, h2, h3 { overflow-wrap: anywhere; }
p { max-width: 46rem; margin: .5rem 0; overflow-wrap: anywhere; }
ul.findings { max-width: 46rem; padding-left: 1.1rem; margin: .75rem 0; }
ul.findings li { margin: .3rem 0; overflow-wrap: anywhere; }
a { color: var(--blue); }
a:focus-visible, summary:focus-visible, .scroll:focus-visible { outline: 3px solid #0b5394;
  outline-offset: 2px; }
nav { border-left: 3px solid var(--line); padding: .1rem 0 .1rem 1rem; margin: 1.25rem 0 0; }
nav ul { list-style: none; margin: 0; padding: 0; }
nav > ul { columns: 16rem; }
nav ul ul { padding-left: 1rem; font-size: .92rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr));
  gap: 1px; background: var(--line); border: 1px solid var(--line); margin: 1.25rem 0; }
.card { background: #fff; padding: .9rem 1.1rem; }
.card p { margin: 0; color: var(--soft); font-size: .9rem; }
.card .figure { color: var(--ink); font-size: 1.7rem; line-height: 1.25; font-weight: 600;
  font-variant-numeric: tabular-nums; }
.pictures { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1.5rem 2rem;
  margin: 1rem 0; }
figure { margin: 0; min-width: 0; }
figure.wide { grid-column: 1 / -1; }
img { display: block; max-width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: .88rem; line-height: 1.45; margin-top: .35rem;
  max-width: 46rem; }
.scroll { overflow-x: auto; margin: .75rem 0; }
figure .scroll { margin: 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding-bottom: .4rem;
  max-width: min(46rem, 88vw); }
th, td { padding: .32rem .9rem .32rem 0; text-align: right; vertical-align: top;
  border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; }
thead th { border-bottom: 2px solid var(--ink); vertical-align: bottom; }
tr > :first-child { text-align: left; }
.words td { text-align: left; white-space: normal; }
details { border: 1px solid var(--line); padding: .5rem .9rem; margin: .75rem 0; }
summary { cursor: pointer; font-weight: 600; overflow-wrap: anywhere; }
pre { overflow-x: auto; font: .85rem/1.5 ui-monospace, "DejaVu Sans Mono", monospace; }
code { font: .9em ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
footer { margin-top: 3rem; color: var(--soft); font-size: .88rem; }
@media (max-width: 760px) {
  main { padding-top: 1.5rem; }
  .pictures { grid-template-columns: minmax(0, 1fr); }
  figure.wide img { max-width: none; width: 880px; }
}
@media print {
  main { max-width: none; padding: 0; }
  body { font-size: 10.5pt; }
  nav { display: none; }
  figure, .card, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  .scroll { overflow: visible; }
}
"""
