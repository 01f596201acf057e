"""A training on hardware that is not here, on paper: memory, step time, days and cost for N GPUs.

Memory: optimizer and weights under ZeRO (Rajbhandari et al. 2020, arXiv:1910.02054, section 5); activations by Korthikanti et al.
2022 (arXiv:2205.05198, equations 1 to 6) for a layer's own tensors, so that a gated feed-forward part and grouped keys are counted
as they are. Time: matrix products at a share of the peak, the collectives of tensor parallelism (Shoeybi et al. 2019,
arXiv:1909.08053: four all-reduces a layer), gathering and scattering of FSDP (Zhao et al. 2023, arXiv:2304.11277) where computing
does not hide it, and the pipeline's bubble (p - 1) / (v m + p - 1) (Narayanan et al. 2021, arXiv:2104.04473, section 2.2).

What it is not: a simulator. Failures, restarts, slow nodes, data loading and evaluation are not in it; docs/guides/plan.md says how
far it is from published runs.

    septet plan --scale 70B --gpus 512 --gpu h100 --tokens 2T
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import log
from types import MappingProxyType
from typing import Any, Literal

from septet.core.errors import ComponentError, nearest
from septet.core.quantities import amount, flops, number, size

__all__ = [
    "GPUS",
    "SHAPES",
    "Answer",
    "Gpu",
    "Layout",
    "Shape",
    "fastest",
    "gpu_named",
    "shape_named",
    "show",
    "work_out",
]

PER_NODE = 8
MIB = 2.0**20
LINK_SHARE = 0.8
"""Of a link's nominal bandwidth, what collectives reach on large messages."""
RESERVED = 3e9
"""Bytes of a GPU that the driver, the libraries and the buffers of collectives take; an assumption."""

Shard = Literal["zero3", "zero2", "zero1"]
Recompute = Literal["none", "selective", "full"]


@dataclass(frozen=True, slots=True)
class Gpu:
    """memory: bytes, as the driver tells them. flops: dense bfloat16 a second. hbm, nvlink, network: bytes a second, links one way,
    the network for each GPU.

    efficiency: of the peak, what a training step reaches where nothing waits for another GPU.
    """

    name: str
    memory: float
    flops: float
    hbm: float
    nvlink: float
    network: float
    efficiency: float


GPUS: Mapping[str, Gpu] = MappingProxyType(
    {
        # NVIDIA A100 datasheet (SXM, 80 GB): 312 TFLOPS, 2,039 GB/s, NVLink 600 GB/s both ways; DGX A100: 200 Gb/s for each GPU.
        # 0.58: TinyLlama's 24,000 tokens/s a GPU are 56 %, and its links hide nothing
        "a100": Gpu("a100", 81920 * MIB, 312e12, 2.039e12, 300e9, 25e9, 0.58),
        # NVIDIA H100 datasheet (SXM): 1,979 TFLOPS with sparsity, 3.35 TB/s, NVLink 900 GB/s both ways; DGX H100: 400 Gb/s each.
        # 0.48: above nanochat's log (41 to 46 %) and torchtitan's 8B (39 %, which makes part of its activations again)
        "h100": Gpu("h100", 81559 * MIB, 989e12, 3.35e12, 450e9, 50e9, 0.48),
        # NVIDIA H200 datasheet (SXM): the H100's chip with 141 GB at 4.8 TB/s
        "h200": Gpu("h200", 143771 * MIB, 989e12, 4.8e12, 450e9, 50e9, 0.48),
        # NVIDIA DGX B200 datasheet: 8 GPUs have 1,440 GB, 64 TB/s, 36 PFLOPS bfloat16 with sparsity halved to 2.25 each, NVLink
        # 1.8 TB/s both ways, 400 Gb/s. The efficiency is the H100's: an assumption
        "b200": Gpu("b200", 183359 * MIB, 2250e12, 8e12, 900e9, 50e9, 0.48),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A decoder's sizes. heads share `kv_heads` keys and values; gated: three matrices in the feed-forward part, else two."""

    name: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    feed_forward: int
    vocabulary: int
    context: int
    gated: bool = True
    tied: bool = False
    dropout: bool = False

    @property
    def layer(self) -> int:
        """Parameters of a layer's matrices."""
        keys = 2 * self.width * self.width * self.kv_heads // self.heads
        return 2 * self.width**2 + keys + (3 if self.gated else 2) * self.width * self.feed_forward

    @property
    def multiplied(self) -> int:
        """Parameters that multiply: the layers' matrices and the head."""
        return self.layers * self.layer + self.vocabulary * self.width

    @property
    def parameters(self) -> int:
        """All but norms, biases and a table of positions, which are less than a thousandth."""
        return self.multiplied + (0 if self.tied else self.vocabulary * self.width)

    def flops(self, context: int) -> float:
        """Operations a token: 6 N + 12 L d T."""
        return 6.0 * self.multiplied + 12.0 * self.layers * self.width * context

    def kept(self, recompute: Recompute, context: int, tensor: int) -> float:
        """Bytes that a layer keeps of one row of `context` tokens on each of `tensor` GPUs, with sequence parallelism.

        Korthikanti et al.'s s b h (34 + 5 a s / h) / t for GPT's layer: 16-bit tensors, masks of a byte. selective: without the
        attention's own squares and the gate's activation, which fused kernels never keep. full: the layer's input.
        """
        h, f, keys = self.width, self.feed_forward, self.width * self.kv_heads / self.heads
        if recompute == "full":
            return 2.0 * context * h / tensor
        # two norms' inputs, the input of queries, keys and values, those three, and the input of the output's product
        own = 4 * h + 2 * h + 2 * h + 4 * keys + 2 * h
        # the feed-forward part's input, and its inner tensors; a fused kernel makes the gate's activation again
        gate = 8 * f if recompute == "none" else 6 * f
        own += 2 * h + (gate if self.gated else 4 * f)
        own += 2 * h if self.dropout else 0
        squares = (5.0 if self.dropout else 4.0) * self.heads * context if recompute == "none" else 0.0
        return context * (own + squares) / tensor

    @classmethod
    def of(cls, name: str, settings: Mapping[str, Any]) -> Shape:
        """Return the shape of a step's model, of the settings of its forecast. Errors: ComponentError where it is no decoder."""
        if settings["architecture"] != "decoder":
            raise ComponentError(
                f"--scale: the model of '{name}' is of the architecture '{settings['architecture']}'; what is worked out on paper "
                "is for decoders."
            )
        width, inner, depth = settings["width"], settings["feed_forward"], settings["depth"]
        each = (settings["multiplied"] - settings["vocabulary"] * width) / depth
        gated = each > 2 * width**2 + 2.5 * width * inner
        keys = each - 2 * width**2 - (3 if gated else 2) * width * inner
        kv_heads = max(1, round(settings["heads"] * keys / (2 * width**2)))
        return cls(
            name=name,
            layers=depth,
            width=width,
            heads=settings["heads"],
            kv_heads=kv_heads,
            feed_forward=inner,
            vocabulary=settings["vocabulary"],
            context=settings["context"],
            gated=gated,
            tied=settings["tied"],
        )


def _llama(name: str, sizes: tuple[int, int, int, int, int, int, int]) -> Shape:
    names = ("layers", "width", "heads", "kv_heads", "feed_forward", "vocabulary", "context")
    return Shape(name=name, **dict(zip(names, sizes, strict=True)))


SHAPES: Mapping[str, Shape] = MappingProxyType(
    {
        # the models' config.json; GPT: Radford et al. 2019, and Brown et al. 2020 (arXiv:2005.14165), table 2.1
        "tinyllama-1.1b": _llama("tinyllama-1.1b", (22, 2048, 32, 4, 5632, 32000, 2048)),
        "llama-2-7b": _llama("llama-2-7b", (32, 4096, 32, 32, 11008, 32000, 4096)),
        "llama-2-70b": _llama("llama-2-70b", (80, 8192, 64, 8, 28672, 32000, 4096)),
        "llama-3.1-8b": _llama("llama-3.1-8b", (32, 4096, 32, 8, 14336, 128256, 8192)),
        "llama-3.1-70b": _llama("llama-3.1-70b", (80, 8192, 64, 8, 28672, 128256, 8192)),
        "llama-3.1-405b": _llama("llama-3.1-405b", (126, 16384, 128, 8, 53248, 128256, 8192)),
        "gpt2-124m": replace(
            _llama("gpt2-124m", (12, 768, 12, 12, 3072, 50257, 1024)), gated=False, tied=True, dropout=True
        ),
        "gpt-3-175b": replace(
            _llama("gpt-3-175b", (96, 12288, 96, 96, 49152, 51200, 2048)), gated=False, tied=True, dropout=True
        ),
    }
)


def gpu_named(name: str) -> Gpu:
    """Return a GPU of the table. Errors: ComponentError for one that is not in it."""
    if name.lower() not in GPUS:
        raise ComponentError(f"--gpu: there is no '{name}' in the table.{nearest(name.lower(), GPUS)}")
    return GPUS[name.lower()]


def shape_named(text: str) -> Shape:
    """Return a published shape by name, or for a size such as 70B the published Llama within 3 %, else one between them.

    Errors: ComponentError for what is neither.
    """
    if text.lower() in SHAPES:
        return SHAPES[text.lower()]
    if not text[:1].isdigit():
        raise ComponentError(
            f"--scale: there is no model '{text}' here, and it is no size such as 70B.{nearest(text.lower(), SHAPES)}"
        )
    wanted = number(text, "--scale")
    if not 1e6 <= wanted <= 1e14:
        raise ComponentError(f"--scale: {text} parameters; sizes from 1M to 100T are worked out.")
    for name in ("llama-3.1-405b", "llama-3.1-70b", "llama-3.1-8b", "llama-2-7b", "tinyllama-1.1b"):
        if abs(log(SHAPES[name].parameters / wanted)) < 0.03:
            return SHAPES[name]
    vocabulary = 128256 if wanted > 3e9 else 32000

    def made(width: int) -> Shape:
        heads = max(1, width // 128)
        part = Shape(
            name=text,
            layers=1,
            width=width,
            heads=heads,
            kv_heads=next(k for k in (8, 4, 2, 1) if heads % k == 0),
            feed_forward=256 * round(3.5 * width / 256),
            vocabulary=vocabulary,
            context=8192,
            tied=wanted < 1e9,
        )
        rest = wanted - (part.parameters - part.layer)
        return replace(part, layers=max(1, round(rest / part.layer)))

    # width is about a hundred times the layers in what is published (Llama 8B 128, 70B 102, 405B 130)
    return min(
        (made(width) for width in range(128, 65537, 128)),
        key=lambda s: 20 * abs(log(s.parameters / wanted)) + abs(log(s.width / s.layers / 115)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a model lies on the GPUs; None is tried out. interleave: stages of the pipeline on each GPU, v."""

    tensor: int | None = None
    pipeline: int | None = None
    shard: Shard = "zero3"
    recompute: Recompute = "selective"
    interleave: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """One layout, worked out. Bytes for each GPU; seconds of one optimizer step by part; micro_batches: m of each pipeline."""

    tensor: int
    pipeline: int
    data: int
    micro_batches: int
    memory: Mapping[str, float]
    compute: float
    tensor_links: float
    pipeline_links: float
    bubble: float
    data_links: float
    fits: bool
    step_flops: float
    peak_flops: float

    @property
    def seconds(self) -> float:
        """Of one optimizer step."""
        return self.compute + self.tensor_links + self.pipeline_links + self.bubble + self.data_links

    @property
    def mfu(self) -> float:
        """Operations that the model needs, as a share of the GPUs' peak over the step."""
        return self.step_flops / (self.seconds * self.peak_flops)

    @property
    def total(self) -> float:
        return sum(self.memory.values())


def work_out(
    shape: Shape, gpu: Gpu, gpus: int, layout: Layout, *, batch: float, context: int, micro: int
) -> Paper | None:
    """Work one layout out; None where the batch has too few rows for it. layout.tensor and .pipeline are given."""
    t, p = layout.tensor or 1, layout.pipeline or 1
    data = gpus // (t * p)
    assert data * t * p == gpus, "the degrees multiply to the number of GPUs"
    rows = batch / context
    micro_batches = round(rows / (data * micro))
    if micro_batches < 1:
        return None
    stage = shape.layers / p
    local = shape.parameters / (t * p)

    # memory of each GPU
    if layout.shard == "zero3":
        model = {"weights, gradients, states": 16.0 * local / data}
        if data > 1:
            # two layers are gathered in bfloat16 while one layer's gradient waits; the embeddings are one more group
            model["gathered layers"] = (2 * 2.0 + 2.0) * shape.layer / t + 2.0 * shape.vocabulary * shape.width / t
    elif layout.shard == "zero2":
        model = {
            "weights, gradients, states": 2.0 * local + 16.0 * local / data,
            "gradients under way": 4.0 * shape.layer / t,
        }
    else:
        model = {"weights, gradients, states": (2.0 + 4.0) * local + 12.0 * local / data}
    in_flight = min(p, micro_batches) * (1 + (p - 1) / (p * layout.interleave) if layout.interleave > 1 else 1)
    each = shape.kept(layout.recompute, context, t) * micro
    activations = each * stage * in_flight
    if layout.recompute == "full":
        activations += shape.kept("selective", context, t) * micro
    logits = 6.0 * micro * context * shape.vocabulary / t
    memory = {**model, "activations": activations, "logits": logits, "driver and buffers": RESERVED}

    # seconds of a micro-batch on its stage
    needed = shape.flops(context) * micro * context
    again = {"none": 0.0, "selective": 0.0, "full": 1 / 3}[layout.recompute]
    compute = needed * (1 + again) / (t * p) / (gpu.flops * gpu.efficiency)
    message = 2.0 * micro * context * shape.width
    link = (gpu.nvlink if t <= PER_NODE else gpu.network) * LINK_SHARE
    reduces = 6 if layout.recompute == "full" else 4
    tensor_links = reduces * stage * message * 2 * (t - 1) / t / link
    pipeline_links = 2 * layout.interleave * message / t / (gpu.network * LINK_SHARE) if p > 1 else 0.0
    one = compute + tensor_links + pipeline_links
    bubble = one * (p - 1) / layout.interleave

    # what data parallelism moves, and computing does not hide. zero3: weights are gathered forward and backward and gradients
    # scattered, for each micro-batch; zero2: gradients for each, weights once; zero1: both once, after the last backward pass
    together = max(1, PER_NODE // t)  # GPUs of one group in a node; each brings its own link to the network
    across = gpu.nvlink if data <= together else min(gpu.nvlink, together * gpu.network)
    moved = 2.0 * local * (data - 1) / data / (across * LINK_SHARE)
    if layout.shard == "zero3":
        data_links = micro_batches * max(0.0, 3 * moved - one)
    elif layout.shard == "zero2":
        data_links = micro_batches * max(0.0, moved - one * 2 / 3) + max(0.0, moved - one / 3)
    else:
        data_links = max(0.0, 2 * moved - one * 2 / 3)
    return Paper(
        tensor=t,
        pipeline=p,
        data=data,
        micro_batches=micro_batches,
        memory=memory,
        compute=compute * micro_batches,
        tensor_links=tensor_links * micro_batches,
        pipeline_links=pipeline_links * micro_batches,
        bubble=bubble,
        data_links=data_links,
        fits=sum(memory.values()) <= gpu.memory,
        step_flops=needed * micro_batches * data,
        peak_flops=gpu.flops * gpus,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The layouts that were worked out, the fastest that fit first."""

    shape: Shape
    gpu: Gpu
    gpus: int
    layout: Layout
    tokens: float
    batch: float
    context: int
    micro: int
    price: float | None
    papers: tuple[Paper, ...]

    def days(self, paper: Paper) -> float:
        """Days for all tokens."""
        return self.tokens * self.shape.flops(self.context) / (paper.mfu * paper.peak_flops) / 86400

    def gpu_hours(self, paper: Paper) -> float:
        return self.days(paper) * 24 * self.gpus

    def facts(self) -> dict[str, Any]:
        """Return all figures as JSON values."""
        layouts = [
            {
                **asdict(paper),
                "memory_total": paper.total,
                "step_seconds": paper.seconds,
                "mfu": paper.mfu,
                "days": self.days(paper),
                "gpu_hours": self.gpu_hours(paper),
                "cost": None if self.price is None else self.gpu_hours(paper) * self.price,
            }
            for paper in self.papers
        ]
        return {
            "shape": {**asdict(self.shape), "parameters": self.shape.parameters, "multiplied": self.shape.multiplied},
            "gpu": asdict(self.gpu),
            "gpus": self.gpus,
            "tokens": self.tokens,
            "batch": self.batch,
            "context": self.context,
            "micro": self.micro,
            "shard": self.layout.shard,
            "recompute": self.layout.recompute,
            "interleave": self.layout.interleave,
            "layouts": layouts,
        }


def fastest(
    shape: Shape,
    *,
    gpu: str,
    gpus: int,
    layout: Layout,
    tokens: float | None = None,
    batch: float | None = None,
    context: int | None = None,
    micro: int | None = None,
    efficiency: float | None = None,
    price: float | None = None,
) -> Answer:
    """Work out the layouts that are asked for, or that can be tried; the fastest that fit come first.

    Errors: ComponentError for an unknown GPU, degrees that do not multiply to the number of GPUs, or where nothing fits.
    """
    card = gpu_named(gpu)
    if efficiency is not None:
        card = replace(card, efficiency=efficiency)
    context, micro = context or shape.context, micro or 1
    batch = batch or (4e6 if shape.parameters > 5e9 else 5e5)
    tokens = tokens or 20.0 * shape.parameters
    _check_degrees(shape, gpus, layout)
    tensors = [layout.tensor] if layout.tensor else [t for t in (1, 2, 4, 8) if gpus % t == 0 and shape.heads % t == 0]
    found: list[Paper] = []
    for t in tensors:
        stages = [layout.pipeline] if layout.pipeline else [p for p in (1, 2, 4, 8, 16, 32) if p <= shape.layers]
        for p in stages:
            if gpus % (t * p):
                continue
            one = replace(layout, tensor=t, pipeline=p)
            paper = work_out(shape, card, gpus, one, batch=batch, context=context, micro=micro)
            if paper is not None:
                found.append(paper)
    if not found:
        raise ComponentError(
            f"--batch: {amount(batch)} tokens are {batch / context:,.0f} rows of {context:,}, too few for {gpus:,} GPUs with "
            f"{micro} each. Give a larger --batch, or a larger --tp or --pp, or fewer GPUs."
        )
    found.sort(key=lambda paper: (not paper.fits, paper.seconds if paper.fits else paper.total))
    if not found[0].fits:
        least = found[0]
        others = [] if layout.recompute == "full" else ["--recompute full"]
        others += [] if layout.shard == "zero3" else ["--shard zero3"]
        others += ["--micro 1"] if micro > 1 else []
        raise ComponentError(
            f"{shape.name} does not fit on {gpus:,} {card.name}: the least is {size(least.total)} of {size(card.memory)} for each "
            f"GPU (tp {least.tensor}, pp {least.pipeline}, dp {least.data}). "
            f"Try {', '.join([*others, 'more GPUs', 'a smaller --context'])}."
        )
    return Answer(
        shape=shape,
        gpu=card,
        gpus=gpus,
        layout=layout,
        tokens=tokens,
        batch=batch,
        context=context,
        micro=micro,
        price=price,
        papers=tuple(found),
    )


def _check_degrees(shape: Shape, gpus: int, layout: Layout) -> None:
    t, p = layout.tensor or 1, layout.pipeline or 1
    if gpus % (t * p):
        near = [n for n in (t * p * (gpus // (t * p)), t * p * (gpus // (t * p) + 1)) if n]
        raise ComponentError(
            f"--tp {t} times --pp {p} is {t * p}, which does not divide {gpus:,} GPUs; tp x pp x dp must be the number of GPUs. "
            f"Take {' or '.join(f'{n:,}' for n in near)} GPUs, or other degrees."
        )
    if shape.heads % t:
        raise ComponentError(
            f"--tp {t}: {shape.name} has {shape.heads} heads, and each GPU needs a whole number of them."
        )
    if p > shape.layers:
        raise ComponentError(f"--pp {p}: {shape.name} has {shape.layers} layers, and each stage needs one.")


def _time(days: float) -> str:
    return f"{days:,.3g} d" if days >= 1 else f"{days * 24:.3g} h" if days * 24 >= 1 else f"{days * 1440:.3g} min"


def show(answer: Answer, most: int = 6) -> str:
    """Return the answer for people, at most 100 columns wide."""
    shape, gpu, best = answer.shape, answer.gpu, answer.papers[0]
    lines = [
        f"{shape.name}: {amount(shape.parameters)} parameters, {shape.layers} layers, width {shape.width:,}, "
        f"{shape.heads} heads ({shape.kv_heads} of keys)",
        f"{answer.gpus:,} {gpu.name} ({size(gpu.memory)}, {gpu.flops / 1e12:,.0f} TFLOP/s), {amount(answer.tokens)} tokens, "
        f"batch {amount(answer.batch)}, rows of {answer.context:,}",
        f"{answer.layout.shard}, recompute {answer.layout.recompute}, {answer.micro} rows at once; "
        f"products reach {gpu.efficiency:.0%} of the peak",
        "",
        f"  {'tp':>3} {'pp':>3} {'dp':>5} {'memory':>8}  {'step':>8} {'bubble':>7} {'links':>6} {'MFU':>6} {'time':>9}"
        + (f" {'cost':>13}" if answer.price is not None else ""),
    ]
    for paper in answer.papers[:most]:
        links = paper.tensor_links + paper.pipeline_links + paper.data_links
        cost = "" if answer.price is None else f" {answer.gpu_hours(paper) * answer.price:>13,.0f}"
        note = "" if paper.fits else "  does not fit"
        lines.append(
            f"  {paper.tensor:>3} {paper.pipeline:>3} {paper.data:>5} {size(paper.total):>8}  {paper.seconds:>6.3g} s "
            f"{paper.bubble / paper.seconds:>7.1%} {links / paper.seconds:>6.1%} {paper.mfu:>6.1%} {_time(answer.days(paper)):>9}"
            f"{cost}{note}"
        )
    lines += [
        "",
        f"The first, for each GPU ({answer.gpu_hours(best):,.0f} GPU hours, "
        f"{flops(answer.tokens * shape.flops(answer.context))} in all):",
    ]
    lines += [f"  {size(part):>9}  {what}" for what, part in best.memory.items()]
    lines.append(
        "On paper: without failures, restarts, data and evaluation; formulas and known errors in docs/guides/plan.md."
    )
    return "\n".join(lines)
