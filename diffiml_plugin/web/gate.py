"""The requests that the page's server allows, and the checks of their senders and contents."""

import asyncio
import json
import re
import secrets
import shutil
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import gradio as gr
import httpx
from fastapi import FastAPI
from pydantic import AfterValidator, BaseModel, Field, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders, UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .store import Store

# Name of the server's folder that clients see.
_ALIAS = '/uploads'
# Largest size in bytes of a call (a few numbers and a path), and of a form without its file.
_CALL_BYTES = 64_000
# Time limits in seconds for receiving a body.
_CALL_TIME, _UPLOAD_TIME = 30, 300
# Largest number of simultaneous uploads, each of which may have the largest size.
_UPLOADS = 4
# Time in seconds between two removals of old files.
_TRIM_TIME = 60
# Largest size of a file's stem in bytes; longer ones are cut, since results add suffixes.
_NAME_BYTES = 200
_NO_NAME = re.compile(r'[/\\\x00-\x1f\x7f]|^\.{0,2}$')

_HEADERS = {
    # With this policy, a file that is opened directly in the browser cannot run scripts.
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'; sandbox",
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'referrer-policy': 'same-origin',
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
}
# Gradio uses inline styles and shows pictures from memory.
_PAGE_POLICY = (
    "default-src 'none'; script-src 'self' 'nonce-{}'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; base-uri 'self'; "
    "form-action 'none'; frame-ancestors 'none'"
)


class _Given(BaseModel):
    """A file, as the page refers to it."""

    path: str


class _Call(BaseModel):
    """A call of one of the page's functions, without the other fields that Gradio accepts."""

    fn_index: int
    data: list[Any]


class Gate:
    """The page's server: a list of allowed requests, with Gradio behind it.

    Gradio has dozens of routes, some of which fetch URLs, and trusts much of a request's content.
    Here it receives only three kinds of requests, which are built anew: nothing that a client
    sends reaches it, except for numbers, tokens, and paths of the store.

    Args:
        blocks (gr.Blocks): The page; its events must not use the queue.
        store (Store): Folder of uploads and results.
        max_upload (int): Largest size of an upload in bytes.
        hosts (Sequence[str]): Host names that requests may use.
        **kwargs: Passed to ``gradio.mount_gradio_app``.
    """

    def __init__(
        self, blocks: gr.Blocks, store: Store, max_upload: int, hosts: Sequence[str], **kwargs: Any
    ) -> None:
        self._blocks = blocks
        self._store = store
        self._max_upload = max_upload
        self._files = StaticFiles(directory=store.path)
        # These types depend on the page, so a type checker cannot infer them.
        self._arguments: dict[int, Any] = {
            number: TypeAdapter(  # type: ignore[var-annotated]
                tuple[tuple(self._kind(block) for block in function.inputs)]  # type: ignore
            )
            for number, function in blocks.fns.items()
        }
        self._gradio = gr.mount_gradio_app(
            FastAPI(openapi_url=None), blocks, '/', max_file_size=max_upload, **kwargs
        )
        self._uploads = asyncio.Semaphore(_UPLOADS)
        app = Starlette(
            routes=self._routes(),
            middleware=[
                Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
                Middleware(_SameOrigin),
                Middleware(GZipMiddleware),
            ],
            lifespan=self._lifespan,
            max_body_size=_CALL_BYTES,
        )
        app.router.redirect_slashes = False
        self.app = _WithHeaders(app)

    def _routes(self) -> list[Route | Mount]:
        upload_bytes = self._max_upload + _CALL_BYTES
        return [
            Route('/', self._page),
            Route('/theme.css', self._theme),
            Route('/favicon.ico', _no_icon),
            *(
                Mount(f'/{name}', StaticFiles(packages=[('gradio', f'templates/frontend/{name}')]))
                for name in ('assets', 'static')
            ),
            Route('/gradio_api/upload', self._upload, methods=['POST'], max_body_size=upload_bytes),
            Route('/gradio_api/upload_progress', _progress),
            Route('/gradio_api/run/predict', self._predict, methods=['POST']),
            Mount(f'/gradio_api/file={_ALIAS}', self._files),
        ]

    def _kind(self, block: gr.components.Component) -> Any:
        """Return the type of the values that a component accepts."""
        if isinstance(block, gr.Image):
            return Annotated[_Given, AfterValidator(self._file)] | None
        if isinstance(block, gr.Slider):
            limits = Field(strict=True, ge=block.minimum, le=block.maximum)
            return Annotated[float, limits]
        if isinstance(block, gr.Number):
            return Annotated[int, Field(ge=block.minimum, le=block.maximum)]
        if isinstance(block, gr.Textbox):
            return Annotated[str, Field(pattern='^([0-9a-f]{32})?$')] | None
        if isinstance(block, gr.Dataset):
            return Annotated[int, Field(strict=True, ge=0, lt=len(block.samples))]
        raise TypeError(f'what may be given for a {type(block).__name__} is not known')

    def _file(self, given: _Given) -> dict:
        if not given.path.startswith(f'{_ALIAS}/'):
            raise ValueError('not an upload')
        try:
            path, status = self._files.lookup_path(given.path.removeprefix(f'{_ALIAS}/'))
        except OSError as error:
            raise ValueError('not an upload') from error
        if status is None or not stat.S_ISREG(status.st_mode):
            # The file may have been removed in the meantime; the page then reports this name.
            path = str(self._store.path / 'removed' / Path(given.path).name)
        return dict(path=path, meta=dict(_type='gradio.FileData'))

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async def trim_always() -> None:
            while True:
                await asyncio.sleep(_TRIM_TIME)
                await self._trim()

        async with self._gradio.router.lifespan_context(self._gradio):
            task = asyncio.create_task(trim_always())
            yield
            task.cancel()

    async def _trim(self) -> None:
        removed = await run_in_threadpool(self._store.trim)
        # Gradio keeps these sets of files that it might have to remove.
        for names in self._blocks.temp_file_sets:
            names -= removed

    async def _ask(self, request: Request, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """Send a request to Gradio, within this process."""
        base = f'{request.url.scheme}://{request.headers["host"]}'
        transport = httpx.ASGITransport(self._gradio)
        async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
            return await client.request(method, base + path, **kwargs)

    def _hidden(self, text: str) -> str:
        """Hide the path of the server's folder."""
        path = str(self._store.path)
        for written in (quote(path), json.dumps(path, ensure_ascii=False)[1:-1]):
            text = text.replace(written, _ALIAS)
        return text

    async def _page(self, request: Request) -> Response:
        answer = await self._ask(request, 'GET', '/')
        nonce = secrets.token_urlsafe(16)
        text = self._hidden(answer.text).replace('<script', f'<script nonce="{nonce}"')
        headers = {
            'content-security-policy': _PAGE_POLICY.format(nonce),
            'cache-control': 'no-store',
        }
        return HTMLResponse(text, answer.status_code, headers)

    async def _theme(self, request: Request) -> Response:
        answer = await self._ask(request, 'GET', '/theme.css')
        return PlainTextResponse(answer.text, answer.status_code, media_type='text/css')

    async def _predict(self, request: Request) -> Response:
        try:
            async with asyncio.timeout(_CALL_TIME):
                body = await request.body()
            call = _Call.model_validate_json(body)
            data = self._arguments[call.fn_index].validate_python(call.data)
        except TimeoutError:
            raise HTTPException(408) from None
        except ClientDisconnect:
            return Response(status_code=400)
        except (ValidationError, KeyError):
            raise HTTPException(400, 'not a call of the page') from None
        sent = dict(fn_index=call.fn_index, data=data)
        try:
            answer = await self._ask(request, 'POST', '/gradio_api/run/predict', json=sent)
            await self._trim()
        except asyncio.CancelledError:
            return PlainTextResponse('the server has ended', 503)
        return Response(
            self._hidden(answer.text), answer.status_code, media_type='application/json'
        )

    async def _upload(self, request: Request) -> Response:
        try:
            async with (
                asyncio.timeout(_UPLOAD_TIME),
                self._uploads,
                request.form(max_files=1, max_fields=1) as form,
            ):
                file = form.get('files')
                if not isinstance(file, UploadFile):
                    raise HTTPException(400, 'the form has no file of the name "files"')
                if file.size > self._max_upload:
                    raise HTTPException(413)
                path = await run_in_threadpool(self._save, file, _name_of(file))
        except TimeoutError:
            raise HTTPException(408) from None
        except ClientDisconnect:
            return Response(status_code=400)
        # The client declared an invalid character set.
        except UnicodeError:
            raise HTTPException(400) from None
        except OSError:
            raise HTTPException(507) from None
        await self._trim()
        return JSONResponse([f'{_ALIAS}/{path}'])

    def _save(self, file: UploadFile, name: str) -> str:
        folder = self._store.folder()
        with (folder / name).open('xb') as target:
            shutil.copyfileobj(file.file, target)
        return f'{folder.name}/{name}'


class _WithHeaders:
    """ASGI middleware that adds the headers missing from a response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def send_more(message: Message) -> None:
            if message['type'] == 'http.response.start':
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_more)


class _SameOrigin:
    """ASGI middleware that rejects requests from other pages, except for links to this page."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope['type'] == 'http' and _is_foreign(scope):
            response = PlainTextResponse('asked by another page', 403)
            await response(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def _is_foreign(scope: Scope) -> bool:
    headers = Headers(scope=scope)
    origin = headers.get('origin')
    if origin is not None and origin.partition('://')[2] != headers.get('host'):
        return True
    is_link = (
        scope['path'] == '/'
        and scope['method'] == 'GET'
        and headers.get('sec-fetch-mode') == 'navigate'
        and headers.get('sec-fetch-dest') == 'document'
    )
    site = headers.get('sec-fetch-site', 'none')
    return site not in ('same-origin', 'none') and not is_link


async def _no_icon(_: Request) -> Response:
    return Response(status_code=204)


async def _progress(_: Request) -> Response:
    """Report that an upload is done, since the page would otherwise ask again."""
    return PlainTextResponse('data: {"msg": "done"}\n\n', media_type='text/event-stream')


def _name_of(file: UploadFile) -> str:
    """Return the name of an upload, shortened if necessary.

    Raises:
        HTTPException: If the name is invalid.
        UnicodeError: If the name is not UTF-8, even if the request declares another encoding.
    """
    for _, value in file.headers.raw:
        value.decode()
    name = file.filename or ''
    if _NO_NAME.search(name) or len(name.encode()) > 255:
        raise HTTPException(400, 'the name of the file is empty, too long, or not a name')
    stem, dot, suffix = name.rpartition('.')
    if not stem or len(suffix) > 8:
        stem, dot, suffix = name, '', ''
    return stem.encode()[:_NAME_BYTES].decode(errors='ignore') + dot + suffix
