"""BART: an encoder reads a damaged text, a decoder writes the whole one; learned positions.

Source: Lewis et al. 2020 (https://arxiv.org/abs/1910.13461). Depth is that of the encoder, and of the decoder too. What it is
not: a filler of single blanks; it writes everything again.

    septet pretrain --family bart --depth 4 ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from septet.nn.family import Dial, Family

if TYPE_CHECKING:
    from septet.nn.architecture import Architecture

__all__ = ["Bart"]


class Bart(Family):
    """Encoder-decoder, with tied embeddings."""

    architecture: ClassVar[Architecture] = "encoder-decoder"
    objective: ClassVar[str] = "denoising"
    tokens_like: ClassVar[str] = "bart"
    sees: ClassVar[str] = "source: all; target: all it has written"
    made_for: ClassVar[str] = "text to text: summaries, repair"
    known: ClassVar[str] = "BART base and large, mBART"

    dropout: float = 0.0
    """The share of values dropped in training; the paper has 0.1, which costs quality in runs of few passes."""

    def matrices(self, depth: int, width: int, feed_forward: int) -> int:
        """The encoder has four square matrices a layer, the decoder eight; both a feed-forward part."""
        return depth * (12 * width * width + 4 * width * feed_forward)

    def config(self, dial: Dial, tokenizer: Any) -> Any:
        """Return a BartConfig; the decoder begins with the token that ends a text, as published."""
        from transformers import BartConfig  # 2 s to import

        return BartConfig(
            vocab_size=dial.vocabulary,
            d_model=dial.width,
            encoder_layers=dial.depth,
            decoder_layers=dial.depth,
            encoder_attention_heads=dial.heads,
            decoder_attention_heads=dial.heads,
            encoder_ffn_dim=dial.feed_forward,
            decoder_ffn_dim=dial.feed_forward,
            max_position_embeddings=dial.context,
            dropout=self.dropout,
            attention_dropout=self.dropout,
            activation_dropout=0.0,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            decoder_start_token_id=tokenizer.eos_token_id,
            forced_eos_token_id=tokenizer.eos_token_id,
        )
