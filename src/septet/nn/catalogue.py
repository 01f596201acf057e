"""Open models that one can start from: a small catalogue with its date, as facts that were read somewhere, each with its page.

The file beside this one, `catalogue.json`, has a line for each model. Sizes are in the words of transformers' configurations,
so that a model can be made without weights and counted. `parameters` is the published figure, rounded as there; what a page
does not say is left out (a licence, languages). Scores are those of the pages named: MNLI, accuracy in English; XNLI, the mean
over its languages.

What it is not: complete, or a hub. Nothing is fetched, and pages change after the date.

    python -c "from septet.nn.catalogue import catalogue; print(catalogue().as_of, len(catalogue().models))"
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Catalogue", "Known", "catalogue"]

FILE = Path(__file__).with_suffix(".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A published model. name: on the hub. context: tokens; None: no fixed limit. languages: ISO 639-1 codes; None: not listed.

    made_for: what it was taught beyond its pre-training: instructions, summarisation, translation, similarity. pair: the
    language it translates from and to, where it knows one pair. weights: "safetensors" or "pickle", where its page was seen to
    list only that. packaged: the name with which `septet checkpoint --packaged` takes it. shape: model_type and sizes. source:
    pages.
    """

    name: str
    architecture: str
    parameters: int
    shape: Mapping[str, Any]
    family: str = ""
    good_for: str = ""
    source: tuple[str, ...] = ()
    context: int | None = None
    languages: tuple[str, ...] | None = None
    licence: str | None = None
    cased: bool = True
    made_for: tuple[str, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    weights: str | None = None
    packaged: str | None = None
    pair: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Catalogue:
    """as_of: the day on which the pages were read."""

    as_of: str
    models: tuple[Known, ...]

    def named(self, name: str) -> Known | None:
        """Return the model of a name on the hub, or None."""
        return next((one for one in self.models if one.name.lower() == name.lower()), None)


def _frozen(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}


@functools.cache
def catalogue() -> Catalogue:
    """Return the catalogue of the package."""
    content = json.loads(FILE.read_text(encoding="utf-8"))
    models = [Known(**_frozen(one)) for one in content["models"]]
    return Catalogue(content["as_of"], tuple(models))
