"""Links of the pages: to files that exist, and to headings that they have."""

import re
import subprocess
from pathlib import Path

import pytest

PAGES = [
    Path(name)
    for name in subprocess.run(
        ['git', 'ls-files', '*.md'], capture_output=True, text=True, check=True
    ).stdout.splitlines()
]
LINK = re.compile(r'\]\(([^)\s]+)\)')


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r'^```.*?^```', '', page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r'^#+ (.*)$', text, flags=re.MULTILINE)
    titles = [re.sub(r'\]\([^)]*\)', '', title) for title in titles]
    return {re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles}


@pytest.mark.parametrize('page', PAGES, ids=str)
def test_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text()):
        if re.match(r'[a-z]+:', link):
            continue
        name, _, anchor = link.partition('#')
        target = (page.parent / name) if name else page
        assert target.exists(), link
        assert not anchor or target.suffix != '.md' or anchor in anchors(target), link
