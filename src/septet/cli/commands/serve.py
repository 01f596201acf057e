"""Serve the assistant: a chat page and an OpenAI-compatible API on this machine."""

from __future__ import annotations

import click

from septet.cli.main import Settings
from septet.cli.serving import app_options, open_app


@click.command("serve")
@app_options
@click.option(
    "--adapter",
    "adapters",
    multiple=True,
    metavar="NAME=MODEL",
    help="A model that was fine-tuned with an adapter, under a name that requests use; may be given again. They share their base.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="A loopback address.")
@click.option("--port", type=int, default=8765, show_default=True, envvar="PORT", help="0 takes any free one.")
@click.pass_obj
def command(
    settings: Settings,
    name: str | None,
    model: str | None,
    index: str | None,
    device: str,
    adapters: tuple[str, ...],
    host: str,
    port: int,
) -> None:
    """Serve the newest run's application: a chat page at /, the API under /v1, until Ctrl-C."""
    serve(settings, name=name, model=model, index=index, device=device, adapters=adapters, host=host, port=port)


def serve(
    settings: Settings,
    *,
    name: str | None = None,
    model: str | None = None,
    index: str | None = None,
    device: str = "auto",
    adapters: tuple[str, ...] = (),
    host: str = "127.0.0.1",
    port: int = 8765,
) -> None:
    """Open the application and serve it until Ctrl-C or SIGTERM."""
    from septet.api.server import build, listen, serve_forever
    from septet.ui.pages import mount

    listen(host, port).close()  # a port in use is told before the model is loaded
    running = open_app(settings, name=name, model=model, index=index, device=device, adapters=adapters)
    web = build(running)
    mount(web)

    def started(address: str) -> None:
        about = running.about()
        settings.show(
            {"address": address, "title": about.title},
            f"{about.title}: {address}\n  API: {address}/v1   stop with Ctrl-C",
        )

    try:
        serve_forever(web, host=host, port=port, started=started)
    finally:
        running.close()
