"""Answers of the page's server to hostile requests."""

import json
import os
import random
import socket
from pathlib import Path
from urllib.parse import quote

import pytest

from .conftest import form

GIF = b'GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x01\x00\x01\x00'
EXAMPLE = '/uploads/examples/boats.jpg'
# Values of a call: steps, members, seed, threshold, opacity.
SETTINGS = [1, 1, 0, 0.5, 0.6]
META = dict(meta={'_type': 'gradio.FileData'})
ROUTES = """
file={v} proxy={v} file/{v} stream/x file=/etc/passwd file=/uploads/../../../etc/passwd
file=/uploads/%2e%2e/%2e%2e/etc/passwd file=/uploads//etc/passwd file=/uploads/%00
file=/uploads/%ff file=/uploads/.. file=/uploads file=/uploads/examples file={s}/examples
deep_link?session_hash=x info openapi.json heartbeat/x queue/data?session_hash=x queue/status
queue/join run/analyze api/predict call/predict call/v2/predict component_server cancel reset
startup-events user token app_id dev/reload runs run-history/buckets run-history/connect
vibe-edit vibe-code process_recording custom_component/x/client/y/z mcp/ mcp/sse
profiling/traces stream/a/b/c/playlist.m3u8
"""


def own(path: str, **more) -> dict:
    return META | dict(path=path) | more


@pytest.mark.parametrize('method', ['GET', 'POST', 'OPTIONS', 'PUT', 'DELETE'])
def test_only_what_the_page_needs_is_answered(ask, method):
    values = dict(v='http://127.0.0.1:9/x', s=os.environ['GRADIO_TEMP_DIR'])
    paths = [f'/gradio_api/{path.format(**values)}' for path in ROUTES.split()]
    paths += ['/config', '/monitoring', '/login', '/logout', '/manifest.json', '/pwa_icon']
    paths += ['/svelte/x', '/docs', '/proxy=http://127.0.0.1:9/', '//', '/assets/../../index.html']
    if method != 'GET':
        paths += ['/', '/theme.css', f'/gradio_api/file={EXAMPLE}']
    if method != 'POST':
        paths += ['/gradio_api/upload', '/gradio_api/run/predict']
    for path in paths:
        answer = ask(method, path)
        assert answer.status in (404, 405), path
        assert 'access-control' not in str(answer.headers).lower()
        assert 'server' not in answer.headers and 'Traceback' not in answer.text
    assert ask('HEAD', '/').status == 200


def test_the_server_never_connects_to_an_address(ask, watch, victim):
    port = victim.getsockname()[1]
    urls = [f'http://127.0.0.1:{port}/x', f'https://localhost:{port}/', f'//127.0.0.1:{port}/']
    urls += [f'ftp://127.0.0.1:{port}/', 'http://huggingface.co/a.png', 'file:///etc/passwd']
    for url in urls:
        for given in (
            own(url), own(EXAMPLE, url=url), own('', url=url), own([url]), own(own(url)),
            [own(url)], dict(path=url), dict(url=url), url, dict(image=own(url)),
            own(f'{EXAMPLE}/../{url}'),
        ):  # fmt: skip
            # The last value of the page is a token; the only value of the second call is an index.
            for inputs, data in ((6, [given, *SETTINGS]), (4, [given, 1, 0, given]), (1, [given])):
                more = dict(session_hash='x', event_data=own(url), trigger_id=1, simple_format=True)
                answer = ask.call(inputs, data, **more)
                # A file of the store that also has an address is read as a file.
                taken = inputs == 6 and isinstance(given, dict) and EXAMPLE in str(given)
                assert answer.status == (200 if taken else 400), given
        ask('GET', f'/gradio_api/file={url}')
        ask('GET', f'/?deep_link={url}&url={url}', headers={'X-Forwarded-Host': url})
        ask.upload(GIF, url)
    # This includes the start of the server and all earlier tests.
    assert watch.heard == []
    with pytest.raises(BlockingIOError):
        victim.accept()


def test_only_uploads_are_read(ask, image, tmp_path):
    outside = tmp_path / 'a.gif'
    outside.write_bytes(GIF)
    folder = os.environ['GRADIO_TEMP_DIR']
    names = [
        str(outside),
        f'{folder}{EXAMPLE[8:]}',
        f'/uploads/../..{outside}',
        f'/uploads/{outside}',
    ]
    names += [
        '/uploads/',
        '/uploads',
        '/uploads/\0',
        f'/uploads/{"a" * 300}',
        '/uploads/\udcff',
        '',
    ]
    for name in names:
        answer = ask.call(6, [own(name), *SETTINGS])
        assert answer.status == 400 or 'role=\\"alert' in answer.text, name
        assert folder not in answer.text and 'manipulated' not in answer.text, name
    (path,) = json.loads(ask.upload(image.read_bytes(), 'ü ö#%41?.jpg').text)
    assert 'probability that it is' in ask.call(6, [own(path), *SETTINGS]).text
    assert ask('GET', quote(f'/gradio_api/file={path}', safe='/=')).status == 200


@pytest.mark.parametrize(
    'data',
    [
        [own(EXAMPLE), 10**9, 1, 0, 0.5, 0.6], [own(EXAMPLE), 1, 10**9, 0, 0.5, 0.6],
        [own(EXAMPLE), 1, 1, 10**30, 0.5, 0.6], [own(EXAMPLE), 1, 1, 0, -1, 0.6],
        [own(EXAMPLE), 1, 1, 0, float('nan'), 0.6], [own(EXAMPLE), '1', 1, 0, 0.5, 0.6],
        [own(EXAMPLE), None, 1, 0, 0.5, 0.6], [own(EXAMPLE), 1, 1, {}, 0.5, 0.6], [], [1] * 1000,
        None, {}, 'x',
    ],
)  # fmt: skip
def test_values_outside_the_sliders_are_refused(ask, data):
    assert ask.call(6, data).status == 400


def test_malformed_calls_are_refused(ask):
    bodies = [b'', b'[', b'[' * 60_000, b'\xff', b'null', b'{"fn_index": 99, "data": []}', b'{}']
    bodies += [
        b'{"fn_index": 1e99, "data": []}',
        b'{"fn_index": null, "data": [], "api_name": "x"}',
    ]
    for body in bodies:
        assert ask('POST', '/gradio_api/run/predict', body).status == 400, body[:40]


def test_tokens_are_not_paths(ask):
    for token in ('../examples', '.', '/etc', 'examples', 'a' * 33, 1, own(EXAMPLE)):
        assert ask.call(3, [token, 0.5, 0.5]).status == 400
    answer = ask.call(3, ['0' * 32, 0.5, 0.5])
    assert answer.status == 200 and 'no longer kept' in answer.text


@pytest.mark.parametrize(
    'upload, status',
    [
        (dict(name=''), 400), (dict(name=b'x=y'), 400), (dict(field='name="other"; '), 400),
        (dict(field=''), 400), (dict(kind='multipart/form-data'), 400), (dict(end=b''), 400),
        (dict(kind='multipart/form-data; boundary='), 400), (dict(kind='text/plain'), 400),
        (dict(kind='application/x-www-form-urlencoded'), 400), (dict(kind=''), 400),
        (dict(count=2), 400), (dict(count=20), 400), (dict(name='../../x.png'), 400),
        (dict(name='a\0.png'), 400), (dict(name='..'), 400), (dict(name='a\\b.png'), 400),
        (dict(name='n' * 300), 400), (dict(name='n' * 9000), 400), (dict(name='ü' * 120), 200),
        (dict(name=b'filename="\xff\xfe.png"'), 400), (dict(name=b'filename="a\r\n.png"'), 400),
        (dict(kind='multipart/form-data; boundary=B; charset=zlib'), 200),
        (dict(kind='multipart/form-data; boundary=B; charset=unicode_escape',
              name=b'filename="\\ud800.png"'), 400),
    ],
)  # fmt: skip
def test_forms_are_accepted_or_refused(ask, upload, status):
    answer = ask.upload(GIF, **upload)
    assert answer.status == status, answer.text
    if status == 200:
        (path,) = json.loads(answer.text)
        assert len(Path(path).name.encode()) <= 210


def test_forms_never_cause_a_server_error(ask):
    random.seed(0)
    body, headers = form(GIF)
    for _ in range(200):
        broken = bytearray(body)
        for _ in range(random.randint(1, 6)):
            broken[random.randrange(len(broken))] = random.randrange(256)
        cut = broken[: random.randrange(len(broken))] if random.random() < 0.3 else broken
        assert ask('POST', '/gradio_api/upload', bytes(cut), headers).status in (200, 400)


def chunks(size: int):
    for _ in range(size // 50_000):
        yield bytes(50_000)


def answer_to(ask, request: bytes, wait: float = 20) -> str:
    host, port = ask.host.split(':')
    with socket.create_connection((host, int(port)), timeout=wait) as connection:
        connection.sendall(request)
        return connection.recv(1000).decode()


def test_requests_have_a_limit(ask):
    assert ask.upload(bytes(900_000)).status == 200
    assert ask.upload(bytes(1_030_000)).status == 413
    assert ask.upload(bytes(1_200_000)).status == 413
    # Twenty files, each below the limit.
    assert ask.upload(bytes(900_000), count=20).status in (400, 413)
    for path in ('/gradio_api/upload', '/gradio_api/run/predict'):
        headers = form(b'')[1]
        size = 3_000_000
        assert ask('POST', path, bytes(size), headers).status in (400, 413)
        body = b''.join(chunks(size))
        assert ask('POST', path, iter(form(body)[0].split(b'\0' * 50_000)), headers).status < 500
    # In chunks, without a length.
    body = [form(b'')[0].split(b'\r\n\r\n')[0] + b'\r\n\r\n', *chunks(3_000_000)]
    assert (
        ask('POST', '/gradio_api/upload', iter(body), form(b'')[1], encode_chunked=True).status
        == 413
    )
    assert (
        ask('POST', '/gradio_api/run/predict', chunks(300_000), encode_chunked=True).status == 413
    )
    # A wrong length.
    head = f'POST /gradio_api/run/predict HTTP/1.1\r\nHost: {ask.host}\r\n'
    assert ' 413 ' in answer_to(ask, f'{head}Content-Length: 300000000\r\n\r\n{{'.encode())
    assert ' 400 ' in answer_to(ask, f'{head}Content-Length: -5\r\n\r\n{{'.encode())
    assert ' 400 ' in answer_to(ask, f'{head}Content-Length: 1\r\n\r\n{"x" * 99}'.encode())


def test_slow_requests_time_out(ask, monkeypatch):
    monkeypatch.setattr('diffiml_plugin.web.gate._CALL_TIME', 0.3)
    monkeypatch.setattr('diffiml_plugin.web.gate._UPLOAD_TIME', 0.3)
    monkeypatch.setattr('diffiml_plugin.web.server._PATIENCE', 0.3)
    for path in ('run/predict', 'upload'):
        kind = form(b'')[1]['Content-Type']
        head = f'POST /gradio_api/{path} HTTP/1.1\r\nHost: {ask.host}\r\nContent-Type: {kind}\r\n'
        assert ' 408 ' in answer_to(ask, f'{head}Content-Length: 99\r\n\r\n--B\r\n'.encode())
    # No data, half a header, and half of a second request.
    assert answer_to(ask, b'') == ''
    assert answer_to(ask, b'GET / HTTP/1.1\r\nHost') == ''
    host, port = ask.host.split(':')
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        first = f'GET /nothing HTTP/1.1\r\nHost: {ask.host}\r\n\r\n'
        connection.sendall(first.encode() + b'GET / HT')
        while connection.recv(1000):
            pass


@pytest.mark.parametrize(
    'host, status',
    [
        ('evil.example', 400), ('127.0.0.1.evil.example', 400), ('localhost@evil.example', 400),
        ('0.0.0.0', 400), ('x' * 5000, 400), ('localhost:80:80', 400), ('localhost', 200),
        ('localhost:1', 200), ('LOCALHOST', 200), ('[::1]:7860', 200), ('127.0.0.1', 200),
    ],
)  # fmt: skip
def test_other_names_of_the_server_are_refused(ask, host, status):
    for path in ('/', '/theme.css', f'/gradio_api/file={EXAMPLE}'):
        assert ask('GET', path, headers={'Host': host}).status == status
    body, headers = form(GIF)
    assert ask('POST', '/gradio_api/upload', body, headers | {'Host': host}).status == status


LINK = {'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'navigate'}


@pytest.mark.parametrize(
    'headers, page, rest',
    [
        ({'Origin': 'http://evil.example'}, 403, 403), ({'Origin': 'null'}, 403, 403),
        ({'Origin': 'http://localhost:3000'}, 403, 403), ({'Origin': 'http://['}, 403, 403),
        ({'Sec-Fetch-Site': 'cross-site'}, 403, 403), ({'Sec-Fetch-Site': 'same-site'}, 403, 403),
        (LINK | {'Sec-Fetch-Dest': 'document'}, 200, 403),
        (LINK | {'Sec-Fetch-Dest': 'iframe'}, 403, 403),
        ({'Sec-Fetch-Site': 'same-origin'}, 200, 200), ({'Sec-Fetch-Site': 'none'}, 200, 200),
        ({'Origin': 'http://{host}', 'Sec-Fetch-Site': 'same-origin'}, 200, 200),
    ],
)  # fmt: skip
def test_other_pages_are_refused(ask, headers, page, rest):
    headers = {name: value.format(host=ask.host) for name, value in headers.items()}
    body, kind = form(GIF)
    for status, answer in (
        (page, ask('GET', '/', headers=headers)),
        (rest, ask('GET', f'/gradio_api/file={EXAMPLE}', headers=headers)),
        (rest, ask('POST', '/gradio_api/upload', body, headers | kind)),
    ):
        assert answer.status == status
        assert 'access-control' not in str(answer.headers).lower()


def test_headers_isolate_the_page(ask):
    (upload,) = json.loads(ask.upload(b'<script>alert(1)</script>', 'a.html').text)
    for path in ('/', '/theme.css', '/nothing', f'/gradio_api/file={upload}'):
        headers = ask('GET', path).headers
        assert headers['X-Content-Type-Options'] == 'nosniff'
        assert headers['X-Frame-Options'] == 'DENY'
        assert headers['Referrer-Policy'] == 'same-origin'
        policy = headers['Content-Security-Policy']
        assert "frame-ancestors 'none'" in policy and "default-src 'none'" in policy
        assert 'unsafe-eval' not in policy and '*' not in policy
        assert path == '/' or 'sandbox' in policy
    policies = {ask('GET', '/').headers['Content-Security-Policy'] for _ in range(2)}
    assert len(policies) == 2, 'a nonce is used once'


def test_failures_are_escaped(ask):
    (path,) = json.loads(ask.upload(b'x', '<img src=x onerror=alert(1)>.png').text)
    answer = ask.call(6, [own(path), *SETTINGS])
    problem, *rest = json.loads(answer.text)['data']
    assert '<img' not in problem and '&lt;img' in problem and rest == [None] * 9


@pytest.mark.slow
def test_memory_and_disk_stay_bounded_over_200_requests(ask, image):
    def resident() -> float:
        pages = int(Path('/proc/self/statm').read_text().split()[1])
        return pages * os.sysconf('SC_PAGE_SIZE') / 1e6

    def stored() -> float:
        files = Path(os.environ['GRADIO_TEMP_DIR']).rglob('*')
        return sum(path.stat().st_size for path in files if path.is_file()) / 1e6

    def round_trip(number: int) -> None:
        # A photograph that grows with each upload, then a file that is not one.
        for content in (image.read_bytes() + bytes(number), os.urandom(200_000)):
            (path,) = json.loads(ask.upload(content).text)
            token = json.loads(ask.call(6, [own(path), *SETTINGS]).text)['data'][1]
            ask.call(3, [token, random.random(), 0.5])

    for number in range(20):
        round_trip(number)
    before = resident(), stored()
    for number in range(200):
        round_trip(number)
    after = resident(), stored()
    print('MB of memory and disk: {:.0f}, {:.0f} -> {:.0f}, {:.0f}'.format(*before, *after))
    assert after[0] - before[0] < 30
