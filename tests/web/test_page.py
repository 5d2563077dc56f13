"""The web page, in a real browser."""

import json
import os
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffiml_plugin.cli import main
from diffiml_plugin.errors import UserError

pytest.importorskip('gradio', reason='the extra `web` is not installed')

from diffiml_plugin.web import serve

# Keeps everything that the server sends, including streams.
LISTEN = """
window.said = [];
const ask = window.fetch;
window.fetch = async (...args) => {
  const answer = await ask(...args);
  const reader = answer.clone().body?.getReader();
  const words = new TextDecoder();
  (async () => {
    while (reader) {
      const {done, value} = await reader.read();
      if (done) break;
      window.said.push(words.decode(value));
    }
  })().catch(() => {});
  return answer;
};
const Source = window.EventSource;
window.EventSource = class extends Source {
  constructor(...args) {
    super(...args);
    this.addEventListener('message', event => window.said.push(event.data));
  }
};
"""


@pytest.fixture
def tab(browser, page_url):
    context = browser.new_context(viewport=dict(width=1280, height=1400), accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.add_init_script(LISTEN)
    page.complaints = []
    page.on('console', lambda said: page.complaints.append((said.type, said.text)))
    page.on('pageerror', lambda error: page.complaints.append(('error', str(error))))
    page.hosts = set()
    page.on('request', lambda request: page.hosts.add(request.url.split('/')[2]))
    page.goto(page_url)
    page.wait_for_selector('#photo input[type=file]', state='attached')
    yield page
    context.close()


def wait_until(tab, expression: str) -> None:
    # `wait_for_function` would evaluate text in the page, which its policy forbids.
    for _ in range(240):
        if tab.evaluate(expression):
            return
        tab.wait_for_timeout(250)
    pytest.fail(f'never true: {expression}')


def upload(tab, path: Path) -> None:
    tab.set_input_files('#photo input[type=file]', path)
    tab.wait_for_selector('#overlay img')
    wait_until(tab, "document.querySelector('#score').innerText.includes('probability')")


def set_slider(tab, label: str, value: str) -> None:
    number = tab.get_by_label(f'number input for {label}')
    slider = tab.get_by_label(f'range slider for {label}')
    # Faster than a user: input that arrives while the page draws results is lost.
    for _ in range(20):
        number.fill(value)
        number.press('Enter')
        if slider.input_value() == value:
            return
        tab.wait_for_timeout(250)
    pytest.fail(f'the slider of {label} does not move')


def download(tab, button: str) -> Path:
    with tab.expect_download() as waiting:
        tab.click(button)
    target = Path(tempfile.mkdtemp()) / waiting.value.suggested_filename
    waiting.value.save_as(target)
    return target


def test_an_upload_is_analyzed_as_from_python(tab, inferencer, image, page_url):
    # A second member, for the picture of uncertainty.
    (expected,) = inferencer(image, ensemble_size=2)['predictions']
    upload(tab, image)
    assert f'manipulated {100 * expected.score:.0f} %' in tab.inner_text('#score')
    for name in ('overlay', 'probability', 'mask', 'edge', 'uncertainty'):
        wait_until(tab, f"document.querySelector('#{name} img').naturalWidth > 0")
    mask = np.asarray(Image.open(download(tab, '#mask-file')))
    assert (mask == 255 * expected.mask).all()
    report = download(tab, '#report-file')
    assert report.name == f'{image.name}.json'
    record = json.loads(report.read_text())
    assert record['provenance'] == expected.provenance
    assert record['tampered_share'] == expected.record()['tampered_share']
    # The threshold changes the mask and its text, but nothing else.
    before = {n: tab.get_attribute(f'#{n} img', 'src') for n in ('mask', 'overlay')}
    set_slider(tab, 'Threshold', '0.98')
    wait_until(tab, "document.querySelector('#score').innerText.includes('threshold 0.98')")
    changed = 'document.querySelector("#{} img").src !== {}'
    wait_until(tab, changed.format('mask', json.dumps(before['mask'])))
    mask = np.asarray(Image.open(download(tab, '#mask-file')))
    wanted = expected.probability > 0.98
    assert (mask == 255 * wanted).all() and 0 < wanted.sum() < expected.mask.sum()
    assert json.loads(download(tab, '#report-file').read_text())['threshold'] == 0.98
    # The opacity changes the overlay.
    set_slider(tab, 'Opacity', '0')
    wait_until(tab, changed.format('overlay', json.dumps(before['overlay'])))
    # No other host was asked, and no answer shows the server's folder.
    assert tab.hosts == {page_url.split('/')[2]}
    assert not [text for kind, text in tab.complaints if kind == 'error']
    said = ''.join(tab.evaluate('window.said')) + tab.content()
    assert '/uploads/' in said and image.name in said
    for secret in (os.environ['GRADIO_TEMP_DIR'], os.getcwd(), sys.prefix, str(Path.home()) + '/'):
        assert secret not in said, secret


def test_the_animation_shows_the_solver(tab, image):
    upload(tab, image)
    tab.get_by_text('Solver', exact=True).click()
    set_slider(tab, 'Steps', '4')
    tab.get_by_text('From noise to mask').click()
    tab.click('#animate')
    tab.wait_for_selector('#film img')
    data = tab.evaluate("""async () => {
        const answer = await fetch(document.querySelector('#film img').src);
        return Array.from(new Uint8Array(await answer.arrayBuffer()));
    }""")
    film = Path(tempfile.mkdtemp()) / 'film.gif'
    film.write_bytes(bytes(data))
    assert Image.open(film).n_frames == 5


def test_the_page_has_examples(tab):
    tab.locator('button.gallery-item, .gallery button').first.click()
    tab.wait_for_selector('#photo img')
    tab.click('#analyze')
    tab.wait_for_selector('#overlay img')
    assert re.search(r'manipulated \d+ %', tab.inner_text('#score'))


@pytest.mark.parametrize(
    'content, words', [(b'no picture', 'is not an image of a known format'), (None, 'allowed')]
)
def test_bad_uploads_are_answered_with_a_sentence(tab, tmp_path, content, words):
    path = tmp_path / 'picture.png'
    if content is None:
        Image.new('1', (9000, 9000)).save(path)
    else:
        path.write_bytes(content)
    tab.set_input_files('#photo input[type=file]', path)
    text = tab.wait_for_selector('#problem p').inner_text()
    assert (
        words in text and "'picture.png'" in text and '/' not in text.replace("'picture.png'", '')
    )


def test_analyzing_without_an_image_is_answered_with_a_sentence(tab):
    tab.click('#analyze')
    assert 'Give an image first' in tab.wait_for_selector('#problem p').inner_text()


def test_the_server_listens_to_this_machine_only(page_url, inferencer):
    assert page_url.startswith('http://127.0.0.1:')
    port = int(page_url.rstrip('/').rsplit(':', 1)[1])
    with pytest.raises(UserError, match=f'cannot listen on 127.0.0.1:{port}'):
        serve(inferencer, port=port, wait=False)


def test_a_missing_gradio_names_the_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'diffiml_plugin.web', None)
    assert main(['serve']) == 2
    assert 'diffiml_plugin[web]' in capsys.readouterr().err
