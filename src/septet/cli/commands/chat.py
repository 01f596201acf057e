"""Talk with the assistant in the terminal."""

from __future__ import annotations

import click

from septet.cli.main import Settings
from septet.cli.serving import app_options, open_app


@click.command("chat")
@app_options
@click.pass_obj
def command(settings: Settings, name: str | None, model: str | None, index: str | None, device: str) -> None:
    """Ask question after question; an empty line or Ctrl-D ends. Ctrl-C stops an answer."""
    from septet.api.app import ChatRequest, Transcript

    running = open_app(settings, name=name, model=model, index=index, device=device)
    about = running.about()
    click.echo(f"{about.title}. {about.intro}")
    for example in about.examples[:3]:
        click.echo(f"  for example: {example}")
    messages: list[dict[str, str]] = []
    try:
        while True:
            try:
                question = click.prompt("\nyou", prompt_suffix="> ", default="", show_default=False).strip()
            except click.Abort:
                break
            if not question:
                break
            messages.append({"role": "user", "content": question})
            request, transcript = ChatRequest(messages=tuple(messages)), Transcript()
            try:
                for event in running.chat(request):
                    click.echo(transcript.add(event).text, nl=False)
            except KeyboardInterrupt:
                request.cancel()
                click.echo(" (stopped)", nl=False)
            click.echo()
            messages.append({"role": "assistant", "content": transcript.text})
    finally:
        running.close()
        click.echo()
