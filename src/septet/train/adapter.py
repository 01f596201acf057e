"""How a model is adapted: which parameters learn, and how what was learned becomes plain weights again.

    model = adapter.attach(model, seed=0)      # only the adapter's parameters, and a new head's, require a gradient
    ...                                        # train
    adapter.save(model, folder)                # the adapter alone, in peft's layout; nothing for `full` and `last-layers`
    model = adapter.merge(model)               # the same function of the input, as an ordinary model
    model = adapter.load(base, folder)         # an adapter that was saved, on its base again

Virtual tokens (`prompt`, `p-tuning`, `prefix`) are no weights of the base and cannot be merged (`mergeable` is False): their model
is kept as base and adapter (`beneath` gives the base), and `septet.nn.load.open_model` puts them together.

What it is not: an objective. What the parameters learn is `septet.train.objective`.

    python -m pytest tests/train/test_adapters.py tests/train/test_adapters_soft.py tests/train/test_adapters_quantised.py
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from septet.core.component import Component
from septet.core.errors import ComponentError

if TYPE_CHECKING:  # steps name adapters in their fields, and stay light
    from torch import Tensor, nn

    from septet.nn.model import Model

__all__ = ["Adapter", "PeftAdapter", "VirtualTokens", "plain"]

FREQUENT = 5000
"""Tokens that virtual ones begin as are drawn from so many first ones of the vocabulary, which are the frequent ones."""


class Adapter(Component):
    """A way to adapt a model."""

    drawer: ClassVar[str] = "septet.train.adapters"
    separable: ClassVar[bool] = True
    """Whether the model beneath can still be had (`Model.without_adapter`): the reference of an alignment."""
    mergeable: ClassVar[bool] = True
    """Whether what was learned can become plain weights of the model."""
    packs: ClassVar[bool] = True
    """Whether it works where a row holds several examples; where not, an objective gives each a row."""
    peak: ClassVar[float] = 1e-3
    """A learning rate that served up to width 256."""
    falls: ClassVar[int] = 1
    """With which power of the width the rate falls beyond: wider models have learned for longer, and less may be changed."""
    least: ClassVar[float] = 0.0
    """Where it stops falling."""

    @property
    def places(self) -> int:
        """How many positions of the context it takes up."""
        return 0

    def learning_rate(self, model: Model) -> float:
        """Return a peak learning rate for fine-tuning this model with AdamW, by its width."""
        width = int(getattr(model.config, "hidden_size", 256))
        return max(self.least, self.peak * min(1.0, (256 / width) ** self.falls))

    @abstractmethod
    def attach(self, model: Model, *, seed: int) -> Model:
        """Return the model with its adapter; exactly the parameters to learn require a gradient. Draws only from `seed`.

        A head for a task (`septet.nn.adapted.head_of`) always learns too. The given model must not be used afterwards. Raises
        ComponentError where the architecture has no place for it.
        """

    @abstractmethod
    def merge(self, model: Model) -> Model:
        """Return an ordinary model that computes what the adapted one does; ComponentError where `mergeable` is False."""

    @abstractmethod
    def save(self, model: Model, folder: Path) -> bool:
        """Write the adapter alone below `folder`; return False, writing nothing, where there is none."""

    def load(self, model: Model, folder: Path) -> Model:
        """Return a base with an adapter from a folder, without gradients. DataError where it belongs to another base."""
        from septet.nn.adapted import open_adapter  # transformers: 3 s

        return open_adapter(model, folder)

    def beneath(self, model: Model) -> Model:
        """Return the model without its adapter, as it is kept beside one that cannot be merged; a new head stays on it."""
        raise ComponentError(f"'{self.kind}' is merged into the weights; there is no model beneath to be kept.")

    def drift(self, model: Model, inputs: Mapping[str, Tensor]) -> dict[str, float]:
        """Return how far each way of merging moves the logits of these inputs, where there are several ways; empty for most.

        The figures are the largest absolute differences in float32. The model stays as it is.
        """
        return {}


def plain(model: Model) -> Model:
    """Return the model; raises ComponentError where it has virtual tokens, which nothing can be put on, merged or trained with."""
    if hasattr(model.base, "virtual_tokens"):
        raise ComponentError(
            "This model has virtual tokens already (prompt, p-tuning or prefix), and they cannot be merged. Start from its base, "
            "the model that it was made from."
        )
    return model


@contextmanager
def drawing(seed: int) -> Iterator[None]:
    """Within, torch draws from this seed alone, and nobody else notices; peft's warnings for developers are not shown."""
    import torch

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.manual_seed(seed)
        yield


class PeftAdapter(Adapter):
    """An adapter that peft puts beside or into the base's own modules."""

    @abstractmethod
    def configuration(self, model: Model, common: dict[str, Any]) -> Any:
        """Return peft's configuration; `common` has the task and the modules of a head, which always learn."""

    def prepare(self, model: Model) -> None:
        """Change the model before the adapter is put on it; most do not."""

    def attach(self, model: Model, *, seed: int) -> Model:
        from septet.nn.adapted import fingerprint, head_of, task_type  # transformers and peft: 5 s
        from septet.nn.model import Model
        from septet.nn.quantised import peft

        base = plain(model).base
        common = {"task_type": task_type(base), "modules_to_save": head_of(base) or None}
        own = fingerprint(base)
        self.prepare(model)
        config = self.configuration(model, common)
        with drawing(seed):
            module: Any = peft().get_peft_model(base, config)
        module.base_fingerprint = own
        return Model(module, model.tokenizer)

    def merge(self, model: Model) -> Model:
        """Compute the weights with what was learned in their own type (float32 here)."""
        from peft.utils import ModulesToSaveWrapper  # peft is there already

        from septet.nn.model import Model

        assert hasattr(model.module, "merge_and_unload"), "this model has no adapter to merge"
        base = model.base
        for name, part in list(base.named_modules()):
            if isinstance(part, ModulesToSaveWrapper):
                # peft unwraps them too, but not where such a head is more than one map and the adapter is IA3
                base.set_submodule(name, part.modules_to_save["default"])
        module: nn.Module = model.module.merge_and_unload()  # type: ignore[operator]
        module.requires_grad_(True)
        return Model(module, model.tokenizer)

    def save(self, model: Model, folder: Path) -> bool:
        from septet.nn.adapted import write_adapter

        write_adapter(model, folder)
        return True


class VirtualTokens(Adapter):
    """Virtual tokens: vectors that are read with every text; the weights stay as they are."""

    mergeable: ClassVar[bool] = False
    peak: ClassVar[float] = 1e-2

    tokens: int = Field(default=20, ge=1)
    """How many; each takes up a place of the model's context."""
    text: str | None = None
    """Words that they begin as, repeated or cut to `tokens` tokens; none: frequent tokens of the vocabulary, drawn at random."""

    @property
    def places(self) -> int:
        return self.tokens

    def learning_rate(self, model: Model) -> float:
        """Return `peak`: the vectors have no width over which their steps add up."""
        return self.peak

    @abstractmethod
    def wrap(self, model: Model, ids: Tensor) -> nn.Module:
        """Return the module with virtual tokens that begin as the tokens `ids`, int64 [tokens]."""

    def attach(self, model: Model, *, seed: int) -> Model:
        import torch

        from septet.nn.adapted import fingerprint, head_parameters
        from septet.nn.model import Model

        if plain(model).context <= self.tokens:
            raise ComponentError(
                f"tokens: {self.tokens} virtual tokens leave no place in a context of {model.context}; take fewer."
            )
        own = fingerprint(model.base)
        model.base.requires_grad_(False)
        ids = torch.tensor(self._first(model, seed), device=model.device)
        with drawing(seed):
            module: Any = self.wrap(model, ids).to(model.device)
        module.base_fingerprint = own
        for _, parameter in head_parameters(model.base):
            parameter.requires_grad_(True)
        return Model(module, model.tokenizer)

    def _first(self, model: Model, seed: int) -> list[int]:
        import numpy as np

        tokenizer = model.tokenizer
        if self.text is not None:
            ids = list(tokenizer(self.text, add_special_tokens=False)["input_ids"])
            if not ids:
                raise ComponentError(
                    "text: it has no tokens, so nothing can begin as it; write some words or leave it out."
                )
            return (ids * (self.tokens // len(ids) + 1))[: self.tokens]
        special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
        ordinary = [id for id in range(min(len(tokenizer), model.config.vocab_size)) if id not in special][:FREQUENT]
        drawn = np.random.default_rng(seed).choice(ordinary, self.tokens, replace=self.tokens > len(ordinary))
        return [int(id) for id in drawn]

    def merge(self, model: Model) -> Model:
        raise ComponentError(
            f"'{self.kind}' cannot be merged: virtual tokens are no weights of the model. Keep the base with the adapter beside it."
        )

    def save(self, model: Model, folder: Path) -> bool:
        from septet.nn.adapted import write_adapter

        write_adapter(model, folder)
        return True

    def beneath(self, model: Model) -> Model:
        from septet.nn.model import Model
        from septet.nn.soft import Soft

        assert isinstance(model.module, Soft), "this model has no virtual tokens"
        base = model.module.detach()
        base.requires_grad_(True)
        return Model(base, model.tokenizer)
