"""Trainings on paper: by hand, and beside published runs, with how far off we are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from septet.core.errors import ComponentError
from septet.train.scale import GPUS, SHAPES, Answer, Layout, Paper, Shape, fastest, shape_named, show, work_out

HOUR = 3600.0


def paper_of(shape: Shape, gpu: str, gpus: int, layout: Layout, *, batch: float, micro: int = 1) -> Paper:
    found = work_out(shape, GPUS[gpu], gpus, layout, batch=batch, context=shape.context, micro=micro)
    assert found is not None
    return found


def gpu_hours(shape: Shape, gpu: str, tokens: float, mfu: float) -> float:
    return tokens * shape.flops(shape.context) / (mfu * GPUS[gpu].flops) / HOUR


META = Layout(tensor=8, pipeline=16, interleave=8, shard="zero2")
"""How Llama 3.1 405B was trained: weights are not gathered again for the backward pass (Grattafiori et al. 2024, section 3.3.2)."""

# -- by hand ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "published"),
    [
        # the models' cards and papers, in parameters
        ("tinyllama-1.1b", 1.1e9),
        ("llama-2-7b", 6.738e9),
        ("llama-2-70b", 68.98e9),
        ("llama-3.1-8b", 8.03e9),
        ("llama-3.1-70b", 70.55e9),
        ("llama-3.1-405b", 405.85e9),
        ("gpt2-124m", 124.4e6),
        ("gpt-3-175b", 174.6e9),
    ],
)
def test_published_models_have_their_parameters(name: str, published: float):
    assert SHAPES[name].parameters == pytest.approx(published, rel=0.01)


def test_activations_of_gpts_layer_are_korthikantis():
    # Korthikanti et al. 2022, equation 4: s b h (34 + 5 a s / h) / t with sequence parallelism; GPT-3: s 2048, h 12288, a 96, t 8
    gpt3 = SHAPES["gpt-3-175b"]
    sbh = 2048 * 12288
    assert gpt3.kept("none", 2048, 8) == sbh * (34 + 5 * 96 * 2048 / 12288) / 8
    # table 2: selective 34 s b h / t, full 2 s b h / t
    assert gpt3.kept("selective", 2048, 8) == 34 * sbh / 8
    assert gpt3.kept("full", 2048, 8) == 2 * sbh / 8


def test_a_layout_by_hand():
    # 4 layers of width 256, 2 stages of 2, nothing else split; 4 rows of 64 are 4 micro-batches
    shape = Shape(
        name="toy", layers=4, width=256, heads=4, kv_heads=4, feed_forward=512, vocabulary=1024, context=64, gated=False
    )
    layer = 4 * 256 * 256 + 2 * 256 * 512
    assert (shape.layer, shape.multiplied) == (layer, 4 * layer + 1024 * 256)
    gpu = replace(GPUS["a100"], efficiency=0.5)
    found = work_out(shape, gpu, 2, Layout(tensor=1, pipeline=2, shard="zero1"), batch=256, context=64, micro=1)
    assert found is not None
    assert (found.data, found.micro_batches) == (1, 4)
    needed = 64 * (6 * shape.multiplied + 12 * 4 * 256 * 64)
    assert found.compute == pytest.approx(4 * needed / 2 / (312e12 * 0.5))
    # the bubble: p - 1 = 1 micro-batch's time on top of 4; (p - 1) / (m + p - 1) = 1/5 of the whole
    assert found.bubble / found.seconds == pytest.approx(1 / 5)
    assert found.tensor_links == found.data_links == 0
    # a message of 64 x 256 bfloat16 forward, and one back, for each micro-batch
    assert found.pipeline_links == pytest.approx(4 * 2 * (2 * 64 * 256) / (25e9 * 0.8))
    # 2 + 4 bytes a parameter, and 12 for the states of one replica, on half of the parameters
    assert found.memory["weights, gradients, states"] == pytest.approx(18 * shape.parameters / 2)
    # two rows are under way on the first stage, in 2 of 4 layers
    assert found.memory["activations"] == 2 * 2 * shape.kept("selective", 64, 1)


def test_interleaving_divides_the_bubble():
    shape = SHAPES["llama-3.1-405b"]
    layout = Layout(tensor=8, pipeline=16, shard="zero2")
    plain = paper_of(shape, "h100", 16384, layout, batch=16 * 2**20)
    folded = paper_of(shape, "h100", 16384, replace(layout, interleave=8), batch=16 * 2**20)
    assert plain.bubble / plain.seconds == pytest.approx(15 / (16 + 15), rel=0.02)
    assert folded.bubble / folded.seconds == pytest.approx(15 / (8 * 16 + 15), rel=0.02)


def test_zero3_spreads_everything_and_gathers_two_layers():
    shape = SHAPES["llama-3.1-8b"]
    found = paper_of(shape, "h100", 64, Layout(tensor=1, pipeline=1), batch=64 * 8192)
    assert found.memory["weights, gradients, states"] == pytest.approx(16 * shape.parameters / 64)
    assert found.memory["gathered layers"] == 6 * shape.layer + 2 * 128256 * 4096


# -- beside published runs ----------------------------------------------------------------------------------------------


def test_gpt3s_days_follow_from_the_speed_that_was_measured():
    # Narayanan et al. 2021, section 5.9: 175 B, 300 B tokens, 1,024 A100 at 140 TFLOP/s, recomputed: 34 days, by 8 T P / n X;
    # ours counts attention too
    shape = SHAPES["gpt-3-175b"]
    days = 300e9 * shape.flops(2048) * 4 / 3 / (1024 * 140e12) / 86400
    assert days == pytest.approx(34, rel=0.05)


@pytest.mark.parametrize(
    ("layers", "width", "heads", "pipeline", "gpus", "rows", "tflops"),
    [
        # Narayanan et al. 2021, table 1 (A100, tensor 8, recomputed): 145.6 B, 310.1 B, 529.6 B
        (80, 12288, 96, 8, 1536, 2304, 148),
        (96, 16384, 128, 16, 1920, 2160, 155),
        (105, 20480, 128, 35, 2520, 2520, 163),
    ],
)
def test_gpts_on_a100_as_measured_by_narayanan(
    layers: int, width: int, heads: int, pipeline: int, gpus: int, rows: int, tflops: float
):
    shape = replace(
        SHAPES["gpt-3-175b"], layers=layers, width=width, heads=heads, kv_heads=heads, feed_forward=4 * width
    )
    layout = Layout(tensor=8, pipeline=pipeline, shard="zero1", recompute="full", interleave=3 if pipeline == 35 else 1)
    found = paper_of(shape, "a100", gpus, layout, batch=rows * 2048)
    assert found.fits
    # their figure counts the recomputation: four thirds of the model's own operations
    assert found.mfu * 4 / 3 * 312 == pytest.approx(tflops, rel=0.10)


def test_llama_2_70b_in_gpu_hours():
    # Touvron et al. 2023 (arXiv:2307.09288), table 2: 1,720,320 hours of A100-80GB for 2 T tokens, batch 4 M; no layout is told.
    # Ours is 19 % below: nothing ever fails or waits in it
    answer = fastest(SHAPES["llama-2-70b"], gpu="a100", gpus=2048, layout=Layout(), tokens=2e12, batch=4 * 2**20)
    ours = answer.gpu_hours(answer.papers[0])
    assert ours == pytest.approx(1_720_320, rel=0.20)


@pytest.mark.parametrize(("gpus", "published"), [(8192, 0.43), (16384, 0.41)])
def test_llama_3_405b_in_mfu(gpus: int, published: float):
    # Grattafiori et al. 2024 (arXiv:2407.21783), table 4: TP 8, PP 16, 16 M tokens, 430 and 400 TFLOP/s. Ours is lower by 9 %:
    # they hide tensor parallel messages behind computing, we hide none
    found = paper_of(SHAPES["llama-3.1-405b"], "h100", gpus, META, batch=16 * 2**20)
    # they did without recomputation; we find it full to the brim, since their first stage has a layer less
    assert found.total == pytest.approx(GPUS["h100"].memory, rel=0.03)
    assert found.mfu == pytest.approx(published, rel=0.12)
    assert found.mfu < published


def test_llama_3_405b_in_gpu_hours():
    # the model card: 30.84 M hours of H100-80GB for 15.6 T tokens, with every interruption
    shape = SHAPES["llama-3.1-405b"]
    found = paper_of(shape, "h100", 16384, META, batch=16 * 2**20)
    assert gpu_hours(shape, "h100", 15.6e12, found.mfu) == pytest.approx(30.84e6, rel=0.05)


def test_tinyllama_in_days():
    # github.com/jzhang38/TinyLlama: 3 T tokens in about 90 days on 16 A100-40G, 24,000 tokens/s a GPU, 56 % of the peak
    answer = fastest(
        SHAPES["tinyllama-1.1b"],
        gpu="a100",
        gpus=16,
        layout=Layout(tensor=1, pipeline=1),
        tokens=3e12,
        batch=2**21,
        micro=8,
    )
    assert answer.days(answer.papers[0]) == pytest.approx(90, rel=0.05)
    assert answer.papers[0].mfu == pytest.approx(0.56, rel=0.05)


def test_torchtitans_8b_lies_between_no_recomputation_and_full():
    # torchtitan's benchmarks: Llama 3.1 8B, 8 H100, FSDP, 2 rows of 8,192 a GPU, half of the products made again, compiled: 6,667
    # tokens/s a GPU (39 %); without compilation 5,762
    shape = SHAPES["llama-3.1-8b"]
    speeds = []
    for recompute in ("full", "selective"):
        layout = Layout(tensor=1, pipeline=1, recompute=recompute)  # type: ignore[arg-type]
        found = paper_of(shape, "h100", 8, layout, batch=8 * 2 * 8192, micro=2)
        speeds.append(2 * 8192 / found.seconds)
    assert speeds[0] < 6667 < speeds[1]
    assert sum(speeds) / 2 == pytest.approx(6667, rel=0.10)


# -- what is asked for --------------------------------------------------------------------------------------------------


def test_a_size_becomes_a_published_model_or_one_between():
    assert shape_named("70B").name == "llama-3.1-70b"
    assert shape_named("Llama-2-7b") is SHAPES["llama-2-7b"]
    for text, wanted in (("30B", 30e9), ("1.5T", 1.5e12), ("350M", 350e6)):
        found = shape_named(text)
        assert found.parameters == pytest.approx(wanted, rel=0.03)
        assert 60 < found.width / found.layers < 200
        assert found.heads % found.kv_heads == 0


def test_the_fastest_that_fits_comes_first():
    answer = fastest(shape_named("70B"), gpu="h100", gpus=512, layout=Layout(), tokens=2e12, price=2.0)
    fitting = [paper for paper in answer.papers if paper.fits]
    assert answer.papers[0].seconds == min(paper.seconds for paper in fitting)
    assert all(paper.tensor * paper.pipeline * paper.data == 512 for paper in answer.papers)
    layout = answer.facts()["layouts"][0]
    assert layout["cost"] == pytest.approx(2.0 * layout["days"] * 24 * 512)
    assert layout["memory_total"] <= 81559 * 2**20
    assert all(len(line) <= 110 for line in show(answer).splitlines())


def _ask(**given: object) -> Answer:
    asked = {"gpu": "h100", "gpus": 512, "layout": Layout(), **given}
    return fastest(shape_named("70B"), **asked)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"gpu": "h10"}, r"there is no 'h10' in the table.*h100"),
        ({"layout": Layout(tensor=3)}, r"--tp 3 times --pp 1 is 3, which does not divide 512 GPUs.*Take 510 or 513"),
        ({"layout": Layout(tensor=128)}, r"has 64 heads"),
        ({"layout": Layout(pipeline=128)}, r"has 80 layers"),
        ({"batch": 8192.0, "layout": Layout(tensor=1, pipeline=1)}, r"1 rows of 8,192, too few for 512 GPUs"),
        ({"gpus": 2}, r"does not fit on 2 h100: the least is .* of 85.5 GB for each GPU"),
    ],
)
def test_what_cannot_be_is_said(given: dict[str, object], message: str):
    with pytest.raises(ComponentError, match=message):
        _ask(**given)


@pytest.mark.parametrize(
    ("text", "message"),
    [("lama-3.1-8b", r"no model 'lama-3.1-8b'.*llama-3.1-8b"), ("7X", "a number above 0"), ("10", "sizes from 1M")],
)
def test_an_unknown_size_is_said(text: str, message: str):
    with pytest.raises(ComponentError, match=message):
        shape_named(text)
