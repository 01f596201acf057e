"""Ask the documents one question: an answer with its sources, without a server."""

from __future__ import annotations

import click

from septet.cli.main import Settings
from septet.cli.serving import app_options, open_app


@click.command("ask")
@click.argument("question")
@app_options
@click.pass_obj
def command(
    settings: Settings, question: str, name: str | None, model: str | None, index: str | None, device: str
) -> None:
    """Answer QUESTION from the documents of the newest run, with citations."""
    from septet.api.app import ChatRequest, Transcript

    running = open_app(settings, name=name, model=model, index=index, device=device)
    try:
        transcript = Transcript()
        for event in running.chat(ChatRequest(messages=({"role": "user", "content": question},))):
            delta = transcript.add(event)
            if not settings.json:
                click.echo(delta.text, nl=False)
        if settings.json:
            settings.show({"question": question, "answer": transcript.text, **transcript.extra()}, "")
        else:
            click.echo()
    finally:
        running.close()
