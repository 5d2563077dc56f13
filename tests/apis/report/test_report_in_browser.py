"""The report, in a real browser."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from diffiml_plugin.apis.report import ReportPage

MASK = """number => {
  const canvas = document.querySelectorAll('article')[number].querySelector('.mask + canvas');
  const {width, height} = canvas;
  if (canvas.hidden) return null;
  const data = canvas.getContext('2d').getImageData(0, 0, width, height).data;
  return {width, height, levels: Array.from(data).filter((_, place) => place % 4 === 0)};
}"""
NAME = 'x' * 180 + ' <b>.jpg'
COUNT = 6


@pytest.fixture(scope='module')
def probability() -> np.ndarray:
    """All levels, from left to right, and a square of ones."""
    ramp = np.tile(np.linspace(0, 1, 256, dtype=np.float32), (170, 1))
    ramp[20:60, 20:60] = 1
    return ramp


@pytest.fixture
def report(tmp_path, make_prediction, encode, probability) -> str:
    photo = tmp_path / 'photo.jpg'
    photo.write_bytes(encode(Image.new('RGB', (256, 170), (90, 120, 60))))
    page = ReportPage(COUNT)
    for number in range(COUNT):
        prediction = make_prediction(
            probability, score=1 - number / 10, uncertainty=probability / 4
        )
        record = prediction.record() | dict(name=f'{number}{NAME}')
        page.add(record, prediction, photo, {'json': 'a.json'})
    path = tmp_path / 'report.html'
    path.write_bytes(page.html())
    return path.as_uri()


@pytest.fixture
def open_page(browser, report):
    """Open the report in a window of a width, and fail on any error or request."""
    contexts, errors, addresses = [], [], set()

    def _open(width: int = 1280, **settings):
        contexts.append(browser.new_context(viewport=dict(width=width, height=800), **settings))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.on('console', lambda said: said.type == 'error' and errors.append(said.text))
        page.on('pageerror', lambda error: errors.append(str(error)))
        page.on('request', lambda request: addresses.add(request.url))
        page.goto(report)
        return page

    yield _open
    for context in contexts:
        context.close()
    assert not errors
    assert {address for address in addresses if not address.startswith('data:')} == {report}


def has_mask(page, number: int, expected: np.ndarray | None) -> bool:
    """Wait until an image's mask is drawn as expected, or not drawn at all."""
    for _ in range(400):
        mask = page.evaluate(MASK, number)
        if mask is None and expected is None:
            return True
        if mask is not None and expected is not None:
            levels = np.array(mask['levels']).reshape(mask['height'], mask['width'])
            if np.array_equal(levels, 255 * expected):
                return True
        page.wait_for_timeout(100)
    return False


def test_the_slider_changes_the_mask(open_page, probability):
    page = open_page()
    levels = np.rint(255 * probability)
    # Before, the stored mask is shown.
    assert has_mask(page, 0, None)
    for threshold in (0.2, 0.83):
        page.fill('#threshold', str(threshold))
        assert has_mask(page, 0, levels > 255 * threshold)
        share = 100 * (probability > np.float32(threshold)).mean()
        assert f'{share:.1f} % marked at threshold {threshold}' in page.inner_text('article')
    # The outline surrounds the mask: white where it begins.
    outline = page.evaluate("""() => {
      const canvas = document.querySelector('.outline + canvas');
      return Array.from(canvas.getContext('2d').getImageData(0, 100, canvas.width, 1).data);
    }""")
    row = np.array(outline).reshape(-1, 4)
    (first,) = np.flatnonzero(levels[100] > 255 * 0.83)[:1]
    assert row[first - 1].tolist() == [255] * 4 and row[first - 2].tolist() == [0, 0, 0, 255]
    assert not row[first, 3] and not row[first - 3, 3]
    # What is far away is drawn only when it is looked at.
    assert has_mask(page, COUNT - 1, None)
    page.evaluate('scrollTo(0, document.querySelectorAll("article")[5].offsetTop)')
    assert has_mask(page, COUNT - 1, levels > 255 * 0.83) and has_mask(page, 0, None)
    page.click('#reset')
    assert has_mask(page, COUNT - 1, None)
    assert 'threshold 0.5' in page.locator('article').last.inner_text()


def test_nothing_is_wider_than_a_phone(open_page):
    for width in (320, 390):
        page = open_page(width, is_mobile=True, has_touch=True)
        assert page.evaluate('document.documentElement.scrollWidth') <= width
        photo = page.locator('.photo').first.bounding_box()
        assert 0.7 * width < photo['width'] <= width


@pytest.mark.parametrize('scripts', [True, False])
def test_a_print_has_all_pictures(open_page, scripts):
    page = open_page(java_script_enabled=scripts)
    # Every picture is a stream; equal ones are stored once.
    pictures = page.pdf(format='A4').count(b'/Subtype /Image')
    assert pictures >= 4
    page.emulate_media(media='print')
    assert not page.locator('#controls').is_visible()
    for kind in ('.photo', '.heat', '.outline', '.mask'):
        for picture in page.locator(kind).all():
            box = picture.bounding_box()
            assert box['width'] > 150 and box['height'] > 100
    # The overlay is in the picture: blue to yellow, over a gray photograph.
    frame = Image.open(io.BytesIO(page.locator('.frame').first.screenshot())).convert('RGB')
    pixels = np.asarray(frame).astype(int)
    left, right = (pixels[-20, place] for place in (12, -12))
    assert np.abs(left - (100, 100, 100)).max() < 12
    assert right[0] > 150 and right[1] > 150 and right[2] < 110


def test_the_stored_pictures_are_those_of_the_page(open_page, probability):
    page = open_page()
    address = page.locator('.heat').first.get_attribute('src')
    heat = Image.open(io.BytesIO(base64.b64decode(address.partition(',')[2])))
    alpha = np.asarray(heat.convert('RGBA'))[..., 3]
    assert (alpha == np.rint(255 * probability)).all()
