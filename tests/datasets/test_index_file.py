"""Lists of many kinds, read or refused with the entry's number."""

import json
import time
from pathlib import Path

import pytest
from mmengine import fileio

from diffiml_plugin.datasets.index_file import read_index
from diffiml_plugin.errors import UserError


@pytest.fixture
def root(tmp_path) -> Path:
    for name in (
        'Tp/a.jpg',
        'Tp/my photo.jpg',
        'Tp/née.jpg',
        'Gt/a.png',
        'Gt/my mask.png',
        'c.jpg',
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def read(root: Path, name: str, content: str | bytes, **kwargs) -> list[tuple]:
    path = root / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    pairs = read_index(str(path), str(root), **kwargs)
    return [tuple(p and Path(p).relative_to(root).as_posix() for p in pair) for pair in pairs]


A = ('Tp/a.jpg', 'Gt/a.png')
BLANKS = ('Tp/my photo.jpg', 'Gt/my mask.png')


@pytest.mark.parametrize(
    'text, expected',
    [
        ('Tp/a.jpg Gt/a.png 1\nc.jpg None 0\n', [A, ('c.jpg', None)]),
        ('Tp/a.jpg  Gt/a.png\nc.jpg Negative', [A, ('c.jpg', None)]),
        ('Tp/my photo.jpg Gt/a.png 1', [('Tp/my photo.jpg', 'Gt/a.png')]),
        ('Tp/my photo.jpg\tGt/my mask.png\t1\nTp/a.jpg\tGt/a.png\n', [BLANKS, A]),
        ('\ufeffTp/a.jpg Gt/a.png 1\r\n\r\nc.jpg None 0\r\n', [A, ('c.jpg', None)]),
        ('  Tp\\a.jpg Gt\\a.png 1  ', [A]),
        ('./Tp/a.jpg Tp/../Gt/a.png 1', [A]),
        ('Tp/née.jpg None 0', [('Tp/née.jpg', None)]),
    ],
)
def test_text_that_is_understood(text, expected, root):
    found = read(root, 'list.txt', text)
    assert [tuple(p and str(Path(root / p).resolve()) for p in pair) for pair in found] == [
        tuple(p and str(root / p) for p in pair) for pair in expected
    ]


@pytest.mark.parametrize(
    'rows, expected',
    [
        ([list(A), ['c.jpg', 'Negative']], [A, ('c.jpg', None)]),
        ([list(BLANKS), ['c.jpg', 'None', 0], [*A, '1']], [BLANKS, ('c.jpg', None), A]),
        ([['Tp\\a.jpg', 'Gt\\a.png']], [A]),
    ],
)
def test_json_that_is_understood(rows, expected, root):
    for name in ('list.json', 'LIST.JSON'):
        assert read(root, name, '\ufeff' + json.dumps(rows)) == expected


@pytest.mark.parametrize(
    'text, message',
    [
        ('image mask label\nTp/a.jpg Gt/a.png 1', "entry 1 .*label 'label', not 0 or 1.*header"),
        ('img_path mask_path\n', r"2 of the 2 files .*entry 1: '.*img_path'"),
        ('# my list\nTp/a.jpg Gt/a.png 1', "entry 1 .*label 'list'"),
        ('\n\nTp/a.jpg None 1', r'entry 1 \(line 3\).*label 1, but no mask'),
        ('Tp/a.jpg Gt/a.png 0', 'entry 1 .*label 0, but a mask'),
        ('Tp/a.jpg Gt/a.png 2', "label '2', not 0 or 1"),
        ('Tp/a.jpg\t\t1', 'has "" for its mask'),
        ('Tp/a.jpg,Gt/a.png,1', 'entry 1 .*is not an image, a mask'),
        ('"Tp/a.jpg" "Gt/a.png" 1', '2 of the 2 files'),
        ('Tp/my photo.jpg Gt/my mask.png 1', '2 of the 2 files.*tabs where paths hold blanks'),
        ('Tp/a.jpg Gt/a.png 1\nTp/b.jpg Gt/b.png 1\nTp/d.jpg None 0',
         "3 of the 5 files .*entry 2: '.*b.jpg', entry 2: '.*b.png', entry 3: '.*d.jpg'"),
        ('Tp/a.jpg Gt/a.png 1\n./Tp/a.jpg Gt/a.png 1', 'entry 2 .*repeats entry 1'),
        ('Tp/a.jpg Gt/a.png 1\nTp/a.jpg None 0', 'entry 2 .*the image of entry 1 another mask'),
        ('Tp/a.jpg Tp/a.jpg 1', 'the image itself for its mask'),
        ('Tp Gt/a.png 1', "1 of the 2 files .*Tp'"),
        ('Tp/a\0.jpg None 0', '1 of the 1 files'),
        ('http://a/b.jpg None 0', 'entry 1 .*an address for its image'),
        ('Tp/a.jpg s3://b/a.png 1', 'entry 1 .*an address for its mask'),
        ('Tp/née.jpg None 0'.encode('latin-1'), 'is not UTF-8 text.*save it as UTF-8'),
        ('Tp/a.jpg Gt/a.png 1'.encode('utf-16'), 'is not UTF-8 text'),
    ],
)  # fmt: skip
def test_text_that_is_refused(text, message, root):
    with pytest.raises(UserError, match=message):
        read(root, 'list.txt', text)


@pytest.mark.parametrize(
    'text, message',
    [
        ('[["Tp/a.jpg", "Gt/a.png"],\n ["c.jpg", "Negative"],\n]', 'is not JSON: .*line 3'),
        ("[['Tp/a.jpg', 'Gt/a.png']]", 'is not JSON: .*line 1 column 3'),
        ('[' * 100_000, 'is not JSON'),
        ('', 'is not JSON'),
        ('{"Tp/a.jpg": "Gt/a.png"}', 'holds a dict, not a list'),
        ('[{"image": "a.jpg", "mask": "a.png"}]', 'entry 1 .*"image".*is not an image, a mask'),
        ('[["Tp/a.jpg", "Gt/a.png"], ["c.jpg", null]]', 'entry 2 .*has null for its mask'),
        ('[["c.jpg", "None", null]]', 'entry 1 .*label None'),
        ('[[["Tp/a.jpg"], "Gt/a.png"]]', 'entry 1 .*for its image, not a path'),
        ('[[1, 2]]', 'entry 1 .*has 1 for its image'),
        ('["Tp/a.jpg", "Gt/a.png"]', 'entry 1 .*is not an image, a mask'),
        ('[["Tp/a.jpg"]]', 'entry 1 .*is not an image, a mask'),
        ('[["Tp/a.jpg", "Gt/a.png", 1, 1]]', 'entry 1 .*is not an image, a mask'),
        ('[["", "Gt/a.png"]]', 'entry 1 .*has "" for its image'),
    ],
)  # fmt: skip
def test_json_that_is_refused(text, message, root):
    with pytest.raises(UserError, match=message):
        read(root, 'list.json', text)


def test_training_may_repeat_an_image_but_not_contradict(root):
    line = 'Tp/a.jpg Gt/a.png 1\n'
    assert read(root, 'list.txt', 2 * line, repeats=True) == [A, A]
    with pytest.raises(UserError, match='another mask'):
        read(root, 'list.txt', line + 'Tp/a.jpg Gt/my-mask.png 1', repeats=True)


def test_a_list_that_cannot_be_opened_is_named(root):
    with pytest.raises(UserError, match="Tp' cannot be read: Is a directory"):
        read_index(str(root / 'Tp'), str(root))


class CountingBackend(fileio.LocalBackend):
    """Storage that takes some time for every request, as remote ones do."""

    asked = 0

    def isfile(self, filepath):
        CountingBackend.asked += 1
        return super().isfile(filepath)

    exists = isfile

    def list_dir_or_file(self, *args, **kwargs):
        CountingBackend.asked += 1
        return super().list_dir_or_file(*args, **kwargs)


class BareBackend(fileio.BaseStorageBackend):
    """Storage that can only be read, such as LMDB."""

    def get(self, filepath):
        return Path(filepath).read_bytes()

    def get_text(self, filepath, encoding='utf-8'):
        return self.get(filepath).decode(encoding)


def test_a_hundred_thousand_entries_need_two_requests_to_the_storage(root):
    fileio.register_backend('counting', CountingBackend, force=True)
    fileio.register_backend('bare', BareBackend, force=True)
    for number in range(100):
        (root / f'Tp/{number}.jpg').touch()
    text = ''.join(f'Tp/{number % 100}.jpg Gt/a.png 1\n' for number in range(100_000))
    start = time.perf_counter()
    CountingBackend.asked = 0
    found = read(root, 'l.txt', text, backend_args=dict(backend='counting'), repeats=True)
    assert len(found) == 100_000 and CountingBackend.asked == 2
    assert time.perf_counter() - start < 10
    # Files whose existence cannot be checked are not reported as missing.
    assert read(root, 'l.txt', 'no.jpg None 0', backend_args=dict(backend='bare')) == [
        ('no.jpg', None)
    ]
