"""The report's HTML, read by Python's own parser."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from diffiml_plugin.apis import Failure
from diffiml_plugin.apis.report import ReportPage, is_foreign_page

HOSTILE = (
    '"><script>alert(1)</script>', "' onerror='alert(1)", '</title></style><img src=x>',
    '{{ 7 * 7 }}{% raw %}', 'javascript:alert(1)', 'a\nb\x1b[31m\u202etxt', '&lt;b&gt;', '\udcff',
)  # fmt: skip


class Reader(HTMLParser):
    """Collects elements with their attributes, and texts."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.text = ''
        self.feed(page.decode())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.text += '\n'

    def handle_data(self, data):
        self.text += data


def record_of(prediction, **changes) -> dict:
    return prediction.record() | changes


@pytest.fixture
def photo(tmp_path, encode) -> Path:
    path = tmp_path / 'photo.jpg'
    path.write_bytes(encode(Image.new('RGB', (48, 32), (90, 120, 60)), quality=83))
    return path


@pytest.fixture
def page_of(make_prediction, photo):
    """A page of images by name and score."""

    def _page(scores: dict[str, float], source: Path = photo, **changes) -> ReportPage:
        page = ReportPage(len(scores))
        for name, score in scores.items():
            prediction = make_prediction(np.eye(32, 48), score=score, **changes)
            page.add(record_of(prediction, name=name), prediction, source, {'json': f'{name}.json'})
        return page

    return _page


def test_the_highest_score_is_first(page_of):
    text = Reader(page_of(dict(low=0.1, b=0.5, a=0.5, high=0.9)).html()).text
    places = [text.index(f' {name}\n') for name in ('high', 'a', 'b', 'low')]
    assert places == sorted(places)
    assert '4 images' in text and 'score 0.900' in text


def test_failures_and_interruptions_are_listed(page_of):
    failures = [Failure('cut.png', "'cut.png' is damaged: it ends"), Failure('none', 'no image')]
    text = Reader(page_of(dict(a=0.5)).html(failures, missing=7)).text
    for words in ('2 could not be analyzed', 'cut.png', "'cut.png' is damaged: it ends",
                  'no image', 'interrupted before 7 more'):  # fmt: skip
        assert words in text
    alone = Reader(ReportPage(0).html(failures))
    assert '0 images' in alone.text and 'no image' in alone.text
    assert 'interrupted' not in alone.text
    assert not [tag for tag, _ in alone.elements if tag in ('article', 'script', 'input')]


def test_the_score_is_called_what_it_is(page_of):
    calibrated = Reader(page_of(dict(a=0.934), score_is_probability=True).html()).text
    assert 'probability that it is manipulated 93 %' in calibrated and 'half' in calibrated
    ranking = Reader(page_of(dict(a=0.934)).html()).text
    assert 'is not a probability' in ranking and '93 %' not in ranking


def test_metadata_and_provenance_are_shown(page_of, tmp_path, encode, make_exif):
    plain = Reader(page_of(dict(a=0.5)).html()).text
    assert '83 of 100' in plain and plain.count('not stored') >= 6
    for words in ('ab' * 32, 'cd' * 32, 'ensemble size', 'version of torch', '48 x 32 pixels'):
        assert words in plain
    path = tmp_path / 'edited.jpg'
    other = encode(Image.effect_noise((160, 107), 90))
    exif = make_exif('>', other, software='Brush 3', changed='2026:05:04 18:01:22')
    path.write_bytes(encode(Image.new('RGB', (48, 32)), exif=exif))
    page = Reader(page_of(dict(a=0.5), path).html())
    assert 'DIFFERS from the photograph' in page.text and 'Brush 3' in page.text
    assert '2026:05:04 18:01:22' in page.text
    (shown,) = [a for _, a in page.elements if a.get('alt') == 'Thumbnail stored in EXIF']
    # A stranger's file is decoded and encoded again, not passed on.
    assert base64.b64encode(other).decode() not in shown['src']
    text = Reader(page_of(dict(a=0.5), tmp_path / 'photo.avif').html()).text
    assert 'cannot be read' in text and 'some metadata is damaged' in text


def test_what_differs_is_said_at_the_image(make_prediction, photo):
    page = ReportPage(2)
    for number, tile in enumerate((None, 512)):
        prediction = make_prediction(np.eye(32, 48))
        prediction.provenance['settings'] = dict(tile=tile, ensemble_size=2)
        page.add(record_of(prediction, name=f'{number}.jpg'), prediction, photo)
    text = Reader(page.html()).text
    beginning, _, end = text.partition('How the result came about')
    assert re.search(r'tile\s+512', beginning) and re.search(r'tile\s+none', beginning)
    assert 'tile' not in end and re.search(r'ensemble size\s+2', end)


@pytest.mark.parametrize('hostile', HOSTILE)
def test_names_and_metadata_are_escaped(page_of, tmp_path, encode, make_exif, hostile):
    path = tmp_path / 'photo.jpg'
    text = hostile.replace('\udcff', 'ÿ')
    exif = make_exif(make=text, model=text, software=text, taken=text, changed=text)
    path.write_bytes(encode(Image.new('RGB', (48, 32)), exif=exif))
    html = page_of({hostile: 0.5}, path).html([Failure(hostile, hostile)])
    harmless = Reader(page_of({'a': 0.5}, path).html([Failure('a', 'a')]))
    page = Reader(html)
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in harmless.elements]
    assert '\x1b' not in page.text and '\u202e' not in page.text
    shown = hostile.encode('unicode_escape').decode()
    shown = r'\xff' if hostile == '\udcff' else shown
    assert page.text.count(shown) >= 3
    for (_, attributes), (_, expected) in zip(page.elements, harmless.elements, strict=True):
        assert attributes.keys() == expected.keys()
        assert not [key for key in attributes if key.startswith('on') or key == 'style']
        assert attributes.get('src', 'data:image/').startswith('data:image/')
        assert attributes.get('href', '#').startswith(('#', './'))
    (link,) = [a['href'] for _, a in page.elements if a.get('href', '').endswith('.json')]
    assert unquote(link[2:], errors='surrogateescape') == f'{hostile}.json'
    assert not re.search(r'[:<>"\'\s&]', link)


def test_the_policy_allows_this_page_alone(page_of):
    html = page_of(dict(a=0.5)).html()
    page = Reader(html)
    (policy,) = [
        a['content'] for _, a in page.elements if a.get('http-equiv') == 'Content-Security-Policy'
    ]
    allowed = dict(part.split(' ', 1) for part in policy.split('; '))
    assert allowed.pop('default-src') == "'none'" and allowed.pop('img-src') == 'data:'
    for tag in ('style', 'script'):
        (content,) = re.findall(rf'<{tag}>(.*?)</{tag}>', html.decode(), re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert allowed.pop(f'{tag}-src') == f"'sha256-{digest}'"
    assert allowed == {'base-uri': "'none'", 'form-action': "'none'"}
    assert not re.search(rb'https?://', html) and b'url(' not in html


def test_five_hundred_images_of_noise_stay_below_25_megabytes(make_prediction, tmp_path, encode):
    rng = np.random.default_rng(0)
    page, size, sample = ReportPage(500), (320, 480), 10
    empty = len(ReportPage(500).html())
    for number in range(sample):
        noise = rng.integers(0, 256, (*size, 3), np.uint8)
        path = tmp_path / f'{number}.jpg'
        path.write_bytes(encode(Image.fromarray(noise)))
        prediction = make_prediction(
            rng.random(size), noise, uncertainty=rng.random(size).astype(np.float32) / 2
        )
        page.add(record_of(prediction, name=f'folder/{number}.jpg'), prediction, path)
    assert empty + 500 / sample * (len(page.html()) - empty) < 25e6


def test_only_reports_are_replaced(page_of, tmp_path):
    path = tmp_path / 'report.html'
    assert not is_foreign_page(path)
    path.write_bytes(page_of(dict(a=0.5)).html())
    assert not is_foreign_page(path)
    path.write_text('<!DOCTYPE html><p>mine')
    assert is_foreign_page(path)
    path.unlink()
    path.mkdir()
    assert is_foreign_page(path)
