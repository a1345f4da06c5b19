from html.parser import HTMLParser

from algorithms.reporting.html import Html, join, page, picture, table, tag


def test_text_is_escaped_and_markup_is_not() -> None:
    assert tag("p", "a < b & 'c'") == "<p>a &lt; b &amp; &#x27;c&#x27;</p>"
    assert tag("p", tag("b", "<i>")) == "<p><b>&lt;i&gt;</b></p>"
    assert tag("a", "x", href='"><script>', class_="y", aria_label="z", hidden=True) == (
        '<a href="&quot;&gt;&lt;script&gt;" class="y" aria-label="z" hidden>x</a>'
    )
    assert join(["<", Html("<br>")]) == "&lt;\n<br>"


def test_a_table_names_its_rows_and_columns() -> None:
    found = table("what <it> tells", ["run", "x"], [["<a>", None]])
    assert '<th scope="col">x</th>' in found
    assert '<th scope="row">&lt;a&gt;</th><td>\u2013</td>' in found
    assert "<caption>what &lt;it&gt; tells</caption>" in found


def test_a_picture_holds_its_image_and_says_what_it_shows() -> None:
    found = picture(b"png", 'a "curve"', "read so", wide=False, width=540)
    assert 'src="data:image/png;base64,cG5n" alt="a &quot;curve&quot;" width="540"' in found
    assert "<figcaption>read so</figcaption>" in found


def test_a_page_is_well_formed() -> None:
    opened: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, name: str, attributes: object) -> None:
            if name not in ("meta", "img"):
                opened.append(name)

        def handle_endtag(self, name: str) -> None:
            assert opened.pop() == name

    parser = Parser()
    parser.feed(page("<title>", tag("p", "text"), tag("footer", "end")))
    assert not opened
