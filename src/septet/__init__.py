"""Septet: the whole life of a language model in one tool.

    import septet
    septet.run("recipes/ask-python.yaml")
    septet.open("liked").generate("What does os.path.join do?")

`run` and `open` load the rest of the package when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["open", "run"]

if TYPE_CHECKING:
    from septet.launch.handles import open_artifact as open
    from septet.launch.handles import run


def __getattr__(name: str) -> Any:
    if name in __all__:
        from septet.launch import handles

        return handles.open_artifact if name == "open" else handles.run
    raise AttributeError(f"module 'septet' has no attribute '{name}'")
