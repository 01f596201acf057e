"""What runs a stage on one shard, in another process or on another machine: one line of JSON in, one line out.

A stage is named, "module:function", and not sent; so nothing is pickled, and a script that calls `septet.run` needs no guard.
An error for people comes back as a value, with its message whole.

    python -m septet.launch.worker        # started by septet.launch.processes; reads tasks from its standard input
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from importlib import import_module
from typing import Any

from septet.core.errors import DataError, SeptetError
from septet.core.protocols import Stage

__all__ = ["answer", "task", "value_of"]


def task(stage: Stage, settings: dict[str, Any], shard: dict[str, Any]) -> str:
    """Return the line that asks for `stage(settings, shard)`."""
    return json.dumps({"stage": f"{stage.__module__}:{stage.__name__}", "settings": settings, "shard": shard})


def answer(line: str) -> str:
    """Do what a task asks for and return the line that tells the result."""
    asked = json.loads(line)
    module, _, name = asked["stage"].partition(":")
    try:
        stage = getattr(import_module(module), name)
        return json.dumps({"value": stage(asked["settings"], asked["shard"])})
    except SeptetError as error:
        return json.dumps({"error": type(error).__name__, "text": str(error)})
    except OSError as error:
        return json.dumps({"system": error.errno, "text": str(error)})
    except Exception:  # our own mistake: it is raised again where the run is, with the place
        return json.dumps({"crash": traceback.format_exc()})


def value_of(line: str) -> dict[str, Any]:
    """Return the result in a line, or raise what was raised there."""
    told = json.loads(line)
    if "value" in told:
        return told["value"]
    if "error" in told:
        kinds = {kind.__name__: kind for kind in (SeptetError, *SeptetError.__subclasses__())}
        raise kinds.get(told["error"], DataError)(told["text"])
    if "system" in told:
        raise OSError(told["system"], told["text"])
    raise RuntimeError(f"a stage failed in a worker:\n{told['crash']}")


def main() -> None:
    """Answer tasks until the input ends or the parent is gone. Ctrl-C is left to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    if os.environ.get("SEPTET_OFFLINE"):
        from septet.core.offline import go_offline

        go_offline()
    # what a library prints must not stand between the answers
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(answer(line), file=out, flush=True)


if __name__ == "__main__":
    main()
