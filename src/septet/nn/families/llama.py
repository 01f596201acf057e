"""Llama: decoder-only, rotary positions, RMS normalisation, gated feed-forward.

Source: Touvron et al. 2023 (https://arxiv.org/abs/2302.13971); the one dial follows nanochat's idea, with our own figures
(docs/guides/pretrain.md has the table and how they were chosen).

What it is not: a fixed list of sizes; any depth from 1 up works.

    septet pretrain --family llama --depth 4 ...
"""

from __future__ import annotations

from typing import Any, ClassVar

from septet.nn.family import HEAD_DIM, Dial, Family

__all__ = ["Llama"]


class Llama(Family):
    """Decoder-only, with tied embeddings unless told otherwise."""

    sees: ClassVar[str] = "the tokens before it"
    made_for: ClassVar[str] = "writing on: chat, code, answers"
    known: ClassVar[str] = "Llama 1 to 3, SmolLM2; Mistral is alike"

    tied: bool = True
    """Use one table for the embeddings and the vocabulary head; saves vocabulary x width parameters."""

    def sizes(self, depth: int, width: int) -> dict[str, int]:
        """Heads of 64 dimensions; feed-forward 8/3 of the width, rounded up to 64."""
        return {"heads": max(1, width // HEAD_DIM), "feed_forward": 64 * -(-8 * width // (3 * 64))}

    def matrices(self, depth: int, width: int, feed_forward: int) -> int:
        """Four square matrices for attention, and three for the gated feed-forward part."""
        return depth * (4 * width * width + 3 * width * feed_forward)

    def config(self, dial: Dial, tokenizer: Any) -> Any:
        """Return a LlamaConfig; weights are float32 until exported."""
        from transformers import LlamaConfig  # 2 s to import

        return LlamaConfig(
            vocab_size=dial.vocabulary,
            hidden_size=dial.width,
            intermediate_size=dial.feed_forward,
            num_hidden_layers=dial.depth,
            num_attention_heads=dial.heads,
            num_key_value_heads=dial.heads,
            max_position_embeddings=dial.context,
            tie_word_embeddings=self.tied,
            attention_bias=False,
            mlp_bias=False,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
