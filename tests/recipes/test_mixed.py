"""The mixed corpus on real texts: what is planted is found; one process, two, Ray and a run that is killed give the same bytes.

python -m pytest -m slow tests/recipes/test_mixed.py
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from tests.conftest import child_environment

from septet.core.store import Store

pytestmark = pytest.mark.slow

RECIPE = Path(__file__).parents[2] / "recipes" / "mixed-corpus.yaml"
FEW = ["--set", "text.source.of.novels.pattern='[A-C]*'", "--only", "rows"]


def command(*more: str) -> list[str]:
    return [sys.executable, "-m", "septet.cli", "--json", "run", str(RECIPE), *FEW, *more]


def run(folder: Path, real_data: Path, *more: str) -> Store:
    folder.mkdir(exist_ok=True)
    done = subprocess.run(
        command(*more),
        capture_output=True,
        text=True,
        cwd=folder,
        env=child_environment(folder, SEPTET_DATA=str(real_data)),
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-500:]
    return Store(folder / "home")


def digests(store: Store) -> dict[str, dict[str, str]]:
    return {step: store.resolve(f"mixed-corpus/{step}").facts["digest"] for step in ("text", "rows")}


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> Store:
    """A run in one process."""
    return run(tmp_path_factory.mktemp("one"), real_data, "--processes", "1")


def test_the_report_has_what_was_done(one: Store):
    text = one.resolve("text")
    report = json.loads((text.path / "report.json").read_text(encoding="utf-8"))
    sources = report["tables"]["source"]
    assert set(sources) == {"novels", "wikitext", "wikipedia", "c4", "crawl", "warc", "speeches", "shakespeare"}
    dropped = {(row["filter"], row["reason"]): row["count"] for row in report["dropped"]}
    # tinyshakespeare is there twice, byte for byte
    assert dropped["exact-dedup", "same text as another"] >= 1
    assert report["skipped"] == 0
    assert report["tables"]["licence"]["public-domain"]["documents"] > 100
    audits = json.loads((text.path / "audits.json").read_text(encoding="utf-8"))
    assert set(audits["identity"]) == {"before", "after"}
    rows = one.resolve("rows")
    assert rows.facts["waste"] < 0.01
    assert rows.facts["epochs"]["novels"] < 1 < rows.facts["epochs"]["c4"]


def test_two_processes(one: Store, tmp_path: Path, real_data: Path):
    assert digests(run(tmp_path / "two", real_data, "--processes", "2")) == digests(one)


def test_ray(one: Store, tmp_path: Path, real_data: Path):
    assert digests(run(tmp_path / "ray", real_data, "--on", "ray", "--processes", "2")) == digests(one)


def test_killed_twice_it_goes_on(one: Store, tmp_path: Path, real_data: Path):
    folder = tmp_path / "killed"
    folder.mkdir()
    environment = child_environment(folder, SEPTET_DATA=str(real_data))
    drawn = random.Random(3)
    for kill in range(2):
        process = subprocess.Popen(
            command("--processes", "2"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder, env=environment
        )
        assert process.stdout is not None
        progress = 0
        while progress < 2 + 3 * kill:  # in the first phase, and further on
            line = process.stdout.readline()
            assert line, "it ended before it was killed"
            progress += b'"progress"' in line and b'"text"' in line
        time.sleep(drawn.random())
        process.send_signal(signal.SIGKILL)
        process.wait()
    store = Store(folder / "home")
    finished = list((folder / "home" / "work").rglob("phase-0/*[0-9].json"))
    assert finished, "nothing was kept of the first run"
    assert digests(run(folder, real_data, "--processes", "2")) == digests(one)
    assert store.resolve("rows").facts["tokens"] == one.resolve("rows").facts["tokens"]


def test_planted_copies_and_contamination_are_found(tmp_path: Path, real_data: Path):
    drawn = random.Random(0)
    novels = [
        real_data / "pretraining" / "english_novels" / f"Doyle_{name}.txt.gz" for name in ("Hound_1902", "Micah_1889")
    ]
    words, other = (gzip.decompress(path.read_bytes()).decode("utf-8-sig").split() for path in novels)
    lambada = gzip.decompress((real_data / "lm_eval/language_understanding/lambada_openai.jsonl.gz").read_bytes())
    items = [json.loads(line) for line in lambada.splitlines()[:400]]
    rows = []
    for number in range(80):
        text = words[number * 700 : number * 700 + 500]
        rows.append({"id": f"a{number:03d}", "text": " ".join(text)})
        copy = list(text)
        for place in drawn.sample(range(0, 500, 20), 4):  # Jaccard similarity of 5-grams: (496 - 20) / (496 + 20) = .92
            copy[place] = "xyzzy"
        rows.append({"id": f"b{number:03d}", "text": " ".join(copy)})
    for number, item in enumerate(items[::10]):
        around = " ".join(other[number * 1000 : number * 1000 + 200])
        rows.append({"id": f"c{number:03d}", "text": f"{around} {item['context'].upper()} {item['continuation']}"})
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = {
        "name": "planted",
        "steps": {
            "text": {
                "kind": "corpus",
                "source": {"kind": "jsonl", "path": "rows.jsonl", "id_field": "id"},
                "filters": [
                    "minhash-dedup",
                    {"kind": "decontaminate", "against": ["${SEPTET_DATA}/lm_eval/language_understanding/lambada_openai.jsonl.gz"]},
                ],
                "held_out": {"share": 0},
            }
        },
    }  # fmt: skip
    (tmp_path / "planted.yaml").write_text(json.dumps(recipe))
    done = subprocess.run(
        [sys.executable, "-m", "septet.cli", "run", "planted.yaml"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=child_environment(tmp_path, SEPTET_DATA=str(real_data)),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    path = Store(tmp_path / "home").resolve("text").path / "dropped.jsonl"
    dropped = [json.loads(line) for line in path.read_text().splitlines()]
    near = {row["id"] for row in dropped if row["filter"] == "minhash-dedup"}
    found = {row["id"] for row in dropped if row["filter"] == "decontaminate"}
    assert len(near & {f"b{n:03d}" for n in range(80)}) >= 79  # the closed form: .9998
    assert not near & {f"a{n:03d}" for n in range(80)}
    assert len(found & {f"c{n:03d}" for n in range(40)}) == 40


@pytest.mark.skipif(shutil.which("ray") is None and not (Path(sys.executable).parent / "ray").exists(), reason="no Ray")
def test_a_cluster_through_its_client_port(tmp_path: Path):
    """`ray start --head`, then `--on ray://127.0.0.1:PORT`, on made-up texts."""
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    environment = child_environment(
        tmp_path,
        RAY_USAGE_STATS_ENABLED="0",
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN=secrets.token_hex(32),
        RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S="120",  # on a busy machine its server needs more than Ray's 30 seconds
    )
    short = tempfile.mkdtemp(prefix="ray")  # the names of its sockets must have fewer than 108 characters
    ray = str(Path(sys.executable).parent / "ray")
    words = [f"word{n}" for n in range(50)]
    drawn = random.Random(1)
    for number in range(3):
        rows = [{"text": " ".join(drawn.choices(words, k=30))} for _ in range(20)]
        (tmp_path / f"{number}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = json.dumps({"kind": "jsonl", "path": str(tmp_path), "pattern": "*.jsonl"})
    step = [sys.executable, "-m", "septet.cli", "corpus", "--source", source, "--filters", "minhash-dedup"]
    start = [ray, "start", "--head", "--node-ip-address=127.0.0.2", f"--port={ports[0]}", "--num-cpus=2"]
    start += [
        f"--ray-client-server-port={ports[1]}",
        "--include-dashboard=false",
        f"--temp-dir={short}",
        "--block",
    ]
    head = subprocess.Popen(
        start, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        until = time.monotonic() + 90
        while True:
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.2", ports[1])) == 0:
                    break
            assert time.monotonic() < until, "the cluster did not start"
            assert head.poll() is None
            time.sleep(0.3)
        here = subprocess.run([*step, "--name", "here"], env=environment, cwd=tmp_path, check=True, capture_output=True)
        assert here.returncode == 0
        digest = Store(tmp_path / "home").resolve("here").facts["digest"]
        away = {**environment, "SEPTET_HOME": str(tmp_path / "away")}
        done = subprocess.run(
            [*step, "--name", "there", "--on", f"ray://127.0.0.2:{ports[1]}"],
            env=away, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        assert Store(tmp_path / "away").resolve("there").facts["digest"] == digest
        wrong = subprocess.run(
            [*step, "--on", "ray://127.0.0.1:1"],
            env={**away, "SEPTET_HOME": str(tmp_path / "nowhere")},
            cwd=tmp_path, check=False, capture_output=True, text=True, timeout=240,
        )  # fmt: skip
        assert wrong.returncode == 2
        assert "No Ray cluster answers at ray://127.0.0.1:1" in wrong.stderr
    finally:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(head.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                head.wait(20)
        shutil.rmtree(short, ignore_errors=True)
