from __future__ import annotations
import json
from collections.abc import Sequence
from pathlib import Path
import numpy as np
class Encoder:
    def __init__(self, inner, separator, pad):
        self.inner=inner; self.separator=separator; self.pad=pad; self.vocabulary=inner.get_vocab_size()
    @classmethod
    def open(cls, folder: Path):
        from tokenizers import Tokenizer
        inner=Tokenizer.from_file(str(folder/"tokenizer.json")); inner.encode_special_tokens=True
        c=json.loads((folder/"tokenizer_config.json").read_text())
        return cls(inner, inner.token_to_id(c["eos_token"]), inner.token_to_id(c["pad_token"]))
    def encode_batch(self, texts: Sequence[str]):
        return [np.array(e.ids,np.uint32) for e in self.inner.encode_batch_fast(list(texts), add_special_tokens=False)]
