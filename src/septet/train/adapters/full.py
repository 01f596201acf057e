"""Every parameter learns: no adapter at all.

What it is not: cheap. Optimizer states are kept for the whole model, and the model beneath is gone; where one is needed (the
reference of DPO), its log-probabilities are computed beforehand.

    septet finetune --adapter full ...
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from septet.train.adapter import Adapter, plain

if TYPE_CHECKING:
    from septet.nn.model import Model

__all__ = ["Full"]


class Full(Adapter):
    """All parameters of the model."""

    separable: ClassVar[bool] = False
    version: ClassVar[int] = 2
    # fitted to what is published for whole models: 2e-5 to 5e-5 at width 768 (Devlin et al. 2019, appendix A.3), 1e-5 to 3e-5 at
    # 1024 (Liu et al. 2019, table 10); and to 1e-4 to 3e-4, which served the packaged encoder at 384
    falls: ClassVar[int] = 3
    least: ClassVar[float] = 1e-5

    def attach(self, model: Model, *, seed: int) -> Model:
        plain(model).module.requires_grad_(True)
        return model

    def merge(self, model: Model) -> Model:
        return model

    def save(self, model: Model, folder: Path) -> bool:
        return False
