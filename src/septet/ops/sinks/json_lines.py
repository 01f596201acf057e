"""Print every event as a JSON object on its own line, for other programs.

septet --json run recipe.yaml | jq 'select(.event == "step_finished")'
"""

from __future__ import annotations

import sys

from septet.core.events import Event
from septet.ops.sink import Sink


class JsonLines(Sink):
    """Writes to standard output and flushes each line."""

    def on(self, event: Event) -> None:
        print(event.to_json(), file=sys.stdout, flush=True)
