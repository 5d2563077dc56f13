"""What `make docs` adds to the pages: those outside of docs/, the tour, and the API."""

import ast
import json
import os
import re
from pathlib import Path, PurePosixPath

from griffe import Class, Extension, Function, Parameter, ParameterKind, Parameters
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

# Page of the site: file of the repository.
_PAGES = {
    'index.md': 'README.md',
    'changelog.md': 'CHANGELOG.md',
    'contributing.md': 'CONTRIBUTING.md',
    'model_card.md': 'diffiml_plugin/release/README.md',
    'tour.md': 'docs/tour.ipynb',
}
# Of a Markdown file that the site has in another form.
_TWINS = {'docs/benchmarks/demo/report.md': 'benchmarks/demo/report.html'}
_ROOT = 'diffiml_plugin'
# Packages of the API, below the root.
_API = (
    '', '.apis', '.onnx', '.pipelines', '.models', '.models.diffiml', '.models.baselines',
    '.datasets', '.datasets.transforms', '.synthesis', '.synthesis.operations',
    '.synthesis.histories', '.evaluation', '.engine', '.benchmark', '.visualization',
)  # fmt: skip
_CODE = re.compile(r'(^ *```.*?^ *```|`[^`\n]+`)', re.MULTILINE | re.DOTALL)
_LINK = re.compile(r'(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)')
_ROLE = re.compile(r':(?:class|func|meth|mod|attr):`~?\.*([\w.]+)`')


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not Markdown files of docs/."""
    root = Path(config.config_file_path).parent
    for page, source in _PAGES.items():
        text = (root / source).read_text()
        if source.endswith('.ipynb'):
            text = _notebook(text)
        # A model card's settings are for another site.
        text = re.sub(r'\A---\n.*?\n---\n', '', text, flags=re.DOTALL)
        files.append(File.generated(config, page, content=text))
    pages = {_ROOT + package: f'api/{_ROOT}{package}.md' for package in _API}
    names = []
    for package, page in pages.items():
        folder = root / package.replace('.', '/')
        about = _ROLE.sub(r'`\1`', _docstring(folder / '__init__.py'))
        text = f'# {package}\n\n{about}\n\n'
        for module in filter(_is_documented, sorted(folder.glob('*.py'))):
            text += f'::: {package}.{module.stem}\n\n'
        files.append(File.generated(config, page, content=text))
        names.append(f'- [`{package}`]({Path(page).name}): {about.splitlines()[0]}\n')
    intro = '# API\n\nClasses and functions by package, from their docstrings. Configs name most'
    intro += ' of them: [registered names](../components.md).\n\n'
    files.append(File.generated(config, 'api/index.md', content=intro + ''.join(names)))
    titles = [package.removeprefix(f'{_ROOT}.') for package in pages]
    entries = [{title: page} for title, page in zip(titles, pages.values(), strict=True)]
    config.nav[-1]['API'] = ['api/index.md', *entries]
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links that are right in the repository be right in the site."""
    uri = page.file.src_uri
    if uri.startswith('api/'):
        return markdown
    root = Path(config.config_file_path).parent
    source = PurePosixPath(_PAGES.get(uri, f'docs/{uri}'))
    sites = {there: here for here, there in _PAGES.items()} | _TWINS

    def relink(match: re.Match) -> str:
        picture, text, link = match.groups()
        name, _, anchor = link.partition('#')
        if not name or re.match(r'[a-z]+:', link):
            return match[0]
        target = os.path.normpath(source.parent / name)
        if not (root / target).exists():
            raise PluginError(f'{source}: the link {link!r} leads nowhere')
        in_docs = target.startswith('docs/') and target.removeprefix('docs/')
        site = sites.get(target, in_docs)
        if not site:
            return text if text.startswith('`') else f'{text} (`{target}`)'
        start = os.path.relpath(site, PurePosixPath(uri).parent)
        return f'{picture}[{text}]({start}{"#" * bool(anchor)}{anchor})'

    parts = _CODE.split(markdown)
    # Odd parts are code. A link's text may be code too, so inline code is kept with its link.
    joined, plain = [], ''
    for part in parts:
        if part.lstrip(' ').startswith('```'):
            joined += [_LINK.sub(relink, plain), part]
            plain = ''
        else:
            plain += part
    return ''.join([*joined, _LINK.sub(relink, plain)])


def _notebook(text: str) -> str:
    """Turn a notebook without outputs into Markdown."""
    cells = []
    for cell in json.loads(text)['cells']:
        content = ''.join(cell['source'])
        cells.append(content if cell['cell_type'] == 'markdown' else f'```python\n{content}\n```')
    return '\n\n'.join(cells) + '\n'


def _docstring(file: Path) -> str:
    return ast.get_docstring(ast.parse(file.read_text())) or ''


def _is_documented(file: Path) -> bool:
    """Whether a module has a public class or function with a docstring."""
    if file.stem.startswith('_'):
        return False
    return any(
        isinstance(node, ast.ClassDef | ast.FunctionDef)
        and not node.name.startswith('_')
        and ast.get_docstring(node)
        for node in ast.parse(file.read_text()).body
    )


class Docstrings(Extension):
    """Adapts docstrings and signatures to the reader of docstrings."""

    def on_instance(self, *, obj, **kwargs) -> None:
        """Turn the roles of reStructuredText into links and code."""
        if obj.docstring:
            obj.docstring.value = _ROLE.sub(_code, obj.docstring.value)

    def on_class(self, *, cls: Class, **kwargs) -> None:
        """Give a class the constructor that it inherits from another package."""
        if '__init__' not in cls.members and cls.docstring and '**kwargs:' in cls.docstring.value:
            kinds = dict(
                self=ParameterKind.positional_or_keyword,
                args=ParameterKind.var_positional,
                kwargs=ParameterKind.var_keyword,
            )
            given = Parameters(*(Parameter(name, kind=kind) for name, kind in kinds.items()))
            cls.set_member('__init__', Function('__init__', parameters=given))


def _code(match: re.Match) -> str:
    path = match[1]
    name = f'`{path.rsplit(".", 1)[-1]}`'
    return f'[{name}][{path}]' if path.startswith('diffiml_plugin.') else name
