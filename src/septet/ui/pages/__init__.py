"""The pages, one file each with `add(service)`; and `mount`, which puts them in front of the web application.

    web = septet.api.server.build(running)
    septet.ui.pages.mount(web)              # the chat page is at /

nicegui would answer every path that the routes do not know, with a page of its own. Here it gets `/` and its own files only, so
that every other unknown path stays an error in the one shape. Its answers carry a Content-Security-Policy that admits this
server and nothing else: a page that asked for anything from outside would not get it.

What it is not: a second server, or a place for state; nothing is written to disk and no cookie is set.

    septet serve
"""

from __future__ import annotations

import importlib
import os
import re
import tempfile
from pathlib import Path

from fastapi import FastAPI
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from septet.core import registry

# nicegui takes the folder for its storage from the environment while it is imported, and would choose the working directory
os.environ.setdefault("NICEGUI_STORAGE_PATH", str(Path(tempfile.gettempdir(), "septet-no-storage")))

from nicegui import core, ui

__all__ = ["mount"]

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_OURS = re.compile(r"/(_nicegui.*|favicon\.ico)?")


def mount(web: FastAPI) -> None:
    """Add every page of `septet.ui.pages` to the application that `septet.api.server.build` made.

    Once a process: nicegui holds one application for the whole process.
    """
    assert not core.app.config.has_run_config, "pages can be mounted once a process"
    for name in registry.names(__name__):
        importlib.import_module(f"{__name__}.{name.replace('-', '_')}").add(web.state.service)
    ui.run_with(
        web,
        title=web.state.service.app.about().title,
        favicon=_ICON,
        dark=None,
        language="en-US",
        reconnect_timeout=5.0,
        tailwind=False,
        show_welcome_message=False,
    )
    web.router.routes[-1] = _Pages(core.app)  # in place of the mount that matches every path


_ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'><rect width='32' height='32' rx='8' fill='#3b5bdb'/>"
    "<g fill='#fff'><rect x='5' y='18' width='2.4' height='8'/><rect x='8.4' y='14' width='2.4' height='12'/>"
    "<rect x='11.8' y='10' width='2.4' height='16'/><rect x='15.2' y='6' width='2.4' height='20'/>"
    "<rect x='18.6' y='10' width='2.4' height='16'/><rect x='22' y='14' width='2.4' height='12'/>"
    "<rect x='25.4' y='18' width='2.4' height='8'/></g></svg>"
)


class _Pages(BaseRoute):
    """Sends `/` and nicegui's own files to nicegui, with headers that keep the browser at home."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        ours = scope["type"] in ("http", "websocket") and _OURS.fullmatch(scope["path"])
        return (Match.FULL if ours else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [
                    (b"content-security-policy", POLICY.encode()),
                    (b"referrer-policy", b"no-referrer"),
                    (b"x-content-type-options", b"nosniff"),
                ]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        await self.app({**scope, "app_root_path": "", "root_path": ""}, receive, tell)
