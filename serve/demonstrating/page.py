"""The script that Streamlit runs: one of three pages."""

from __future__ import annotations

import streamlit as st
import torch

from serve.demonstrating.context import Context
from serve.demonstrating.labels import opening
from serve.demonstrating.page_live import live
from serve.demonstrating.page_offline import offline
from serve.demonstrating.page_recommend import recommend
from serve.demonstrating.shared import row

# Less empty space than Streamlit leaves.
STYLE = """<style>
.stMainBlockContainer {padding-top: 2.5rem; padding-bottom: 3rem; max-width: 1200px;}
h1 {font-size: 2rem !important; padding-top: 0 !important;}
[data-testid=stHeader] {display: none;}
</style>"""


def main() -> None:
    """Show the page that was chosen."""
    torch.set_num_threads(1)
    st.set_page_config(page_title="rllib-recsim demo", layout="wide")
    st.html(STYLE)
    try:
        context = Context.read()
    except ValueError as error:
        st.error(opening(str(error)))
        st.stop()
    pages = [
        st.Page(lambda: recommend(context), title="Recommend", url_path="recommend", default=True),
        st.Page(lambda: offline(context), title="Judged from logs", url_path="offline"),
        st.Page(lambda: live(context), title="Live serving", url_path="live"),
    ]
    chosen = st.navigation(pages, position="hidden")
    place = row()  # Streamlit's own links hide in a sidebar that covers a telephone
    for page in pages:
        place.page_link(page, width="content")
    chosen.run()


main()
