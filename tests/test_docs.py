"""Links of the pages: to files that exist, and to headings that they have."""

import json
import re
import subprocess
from pathlib import Path

import pytest

PAGES = [
    Path(name)
    for name in subprocess.run(
        ['git', 'ls-files', '*.md', '*.ipynb'], capture_output=True, text=True, check=True
    ).stdout.splitlines()
]
LINK = re.compile(r'\]\(([^)\s]+)\)')
CODE = re.compile(r'^ *```.*?^ *```', re.MULTILINE | re.DOTALL)


def read(page: Path) -> str:
    """Return a page's Markdown without blocks of code."""
    text = page.read_text()
    if page.suffix == '.ipynb':
        cells = json.loads(text)['cells']
        text = '\n\n'.join(''.join(c['source']) for c in cells if c['cell_type'] == 'markdown')
    return CODE.sub('', text)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r'^#+ (.*)$', read(page), flags=re.MULTILINE)
    titles = [re.sub(r'\]\([^)]*\)', '', title) for title in titles]
    names = [re.sub(r'[^\w\- ]', '', title.lower()).replace(' ', '-') for title in titles]
    # A heading that occurs again gets a number.
    return {
        name + (f'-{names[:i].count(name)}' * (name in names[:i])) for i, name in enumerate(names)
    }


@pytest.mark.parametrize('page', PAGES, ids=str)
def test_links_lead_somewhere(page):
    for link in LINK.findall(read(page)):
        if re.match(r'[a-z]+:', link):
            continue
        name, _, anchor = link.partition('#')
        target = (page.parent / name) if name else page
        assert target.exists(), link
        assert not anchor or target.suffix != '.md' or anchor in anchors(target), link


def test_every_page_is_listed():
    """In the README's table and in the site's menu."""
    menu = Path('mkdocs.yml').read_text()
    readme = Path('README.md').read_text()
    for page in PAGES:
        if page.parent == Path('docs'):
            assert f'({page})' in readme, page
            assert f': {page.stem}.md\n' in menu, page
