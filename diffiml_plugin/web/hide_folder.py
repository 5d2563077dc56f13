"""Keeps the place of uploaded files to the server."""

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
_TEXT = ('application/json', 'text/')


class HideFolder:
    """ASGI middleware that gives clients another name for the folder of uploads.

    Gradio names uploaded files to the browser, and the browser to Gradio, by their full path. The
    other name is as long, so that no length changes, and as secret as it has to be: none.

    Args:
        app (Callable): ASGI application.
        folder (str): Absolute path of at least 12 characters.
    """

    def __init__(self, app: Callable, folder: str) -> None:
        self.app = app
        self.folder = folder.encode()
        filler = secrets.token_hex(len(folder))
        self.name = f'/uploads-{filler}'[: len(folder)].encode()

    async def __call__(self, scope: Message, receive: Callable, send: Callable) -> None:
        """Serve one request."""
        if scope['type'] != 'http':
            await self.app(scope, receive, send)
            return
        scope = dict(scope)
        scope['path'] = self._in(scope['path'].encode()).decode()
        for key in ('raw_path', 'query_string'):
            scope[key] = self._in(scope.get(key) or b'')
        sent = {name: value for name, value in scope['headers']}
        is_json = sent.get(b'content-type', b'').startswith(b'application/json')
        body = bytearray()

        async def receive_named() -> Message:
            message = await receive()
            if not is_json or message['type'] != 'http.request':
                return message
            # In one piece: a name may lie across two.
            body.extend(message.get('body', b''))
            while message.get('more_body'):
                message = await receive()
                body.extend(message.get('body', b''))
            return {'type': 'http.request', 'body': self._in(bytes(body)), 'more_body': False}

        await self.app(scope, receive_named, self._sender(send))

    def _sender(self, send: Callable) -> Callable[[Message], Awaitable[None]]:
        is_text = False

        async def send_named(message: Message) -> None:
            nonlocal is_text
            if message['type'] == 'http.response.start':
                headers = [(name, self._out(value)) for name, value in message['headers']]
                kind = dict(headers).get(b'content-type', b'').decode()
                is_text = kind.startswith(_TEXT)
                message = message | {'headers': headers}
            elif message['type'] == 'http.response.body' and is_text:
                message = message | {'body': self._out(message.get('body', b''))}
            await send(message)

        return send_named

    def _in(self, data: bytes) -> bytes:
        return data.replace(self.name, self.folder)

    def _out(self, data: bytes) -> bytes:
        return data.replace(self.folder, self.name)
