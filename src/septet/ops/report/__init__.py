"""The report of a run: one HTML file that holds everything and asks for nothing, not even the network.

A verdict in words, the lineage picture, loss curves, the evaluation with intervals, good and bad answers, what was dropped from the
corpus, what each step cost, and how to make it again. Every text that a corpus or a model wrote is escaped.

What it is not: a place where anything is computed. It shows what the artifacts' files and manifests hold.

    septet run recipes/ask-python.yaml        # writes .septet/runs/ask-python/report.html
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from septet.core.artifact import Artifact
from septet.core.events import Event
from septet.core.store import Store
from septet.ops.progress import duration
from septet.ops.report.audits import sections
from septet.ops.report.charts import Curve, Span, curves, number, size_text, spans
from septet.ops.report.corpora import corpus_parts, packed_parts
from septet.ops.report.html import Markup, document, join, table, tag
from septet.ops.report.ladder import ladder_parts
from septet.ops.report.lineage import Node, draw
from septet.ops.report.verdict import sentences, side

__all__ = ["write_report"]

Figure = Mapping[str, Any]
SHOWN = 4
"""Samples shown of each sort, good and bad."""
LONGEST = 600
"""Characters of a sample's text that are shown."""


def write_report(
    store: Store,
    recipe_name: str,
    artifacts: Mapping[str, Artifact],
    order: Sequence[str],
    events: Iterable[Event | Mapping[str, Any]],
    out: Path,
    serve: Mapping[str, Any] | None = None,
) -> Path:
    """Write the report of a run to `out` and return it; a reader never sees half of it.

    artifacts: step -> artifact; order: the steps in running order; events: of this run, as objects or as the lines of
    events.jsonl; serve: what the recipe serves, references replaced by ids.
    """
    page = _Page(
        store, recipe_name, {name: artifacts[name] for name in order}, list(map(_row, events)), dict(serve or {})
    )
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    temporary.write_text(page.html(), encoding="utf-8")
    os.replace(temporary, out)
    return out


def _row(event: Event | Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(event.to_json()) if isinstance(event, Event) else dict(event)


@dataclass(frozen=True)
class _Page:
    store: Store
    name: str
    artifacts: dict[str, Artifact]
    events: list[dict[str, Any]]
    serve: dict[str, Any]

    # -- what is known ----------------------------------------------------------------------------------------------

    @cached_property
    def steps(self) -> dict[str, str]:
        """Step name for each artifact id."""
        return {artifact.id: name for name, artifact in self.artifacts.items()}

    @cached_property
    def made(self) -> dict[str, str]:
        """What the last run did with each step: "made" or "kept"; empty where the events do not tell."""
        words = {"step_finished": "made", "step_kept": "kept"}
        return {event["step"]: words[event["event"]] for event in self.events if event.get("event") in words}

    @cached_property
    def ladders(self) -> list[tuple[str, dict[str, Any]]]:
        """Steps that compared ways to adapt, and what they found."""
        return [
            (name, json.loads((artifact.path / "ladder.json").read_text(encoding="utf-8")))
            for name, artifact in self.artifacts.items()
            if (artifact.path / "ladder.json").is_file()
        ]

    @cached_property
    def reports(self) -> list[tuple[str, Artifact, list[Figure]]]:
        found = []
        for name, artifact in self.artifacts.items():
            path = artifact.path / "report.json"
            if artifact.kind == "report" and path.is_file():
                found.append((name, artifact, json.loads(path.read_text(encoding="utf-8"))))
        return found

    def roles(self, report: Artifact) -> dict[str, str]:
        """Return the step behind each of an evaluation's models: model, before, base."""
        return {
            role: self.steps.get(id, id[:8])
            for role, id in report.inputs.items()
            if role in ("model", "before", "base")
        }

    # -- the page ---------------------------------------------------------------------------------------------------

    def html(self) -> str:
        sections = [
            ("lineage", "How it was made", self.lineage()),
            ("learning", "Learning", self.learning()),
            ("ladder", "Ways to adapt, compared", self.ladder()),
            ("evaluation", "Evaluation", self.evaluation()),
            ("samples", "Answers, good and bad", self.samples()),
            ("corpus", "What the corpus kept and dropped", self.corpus()),
            ("audits", "Of whom the corpus speaks", self.audits()),
            ("cost", "What each step cost", self.cost()),
            ("again", "How to make it again", self.again()),
        ]
        sections = [(id, title, body) for id, title, body in sections if body]
        links = [tag("li", tag("a", title, href=f"#{id}")) for id, title, _ in sections]
        verdict = [f"{name}: {ladder['why']}" for name, ladder in self.ladders]
        verdict += [text for _, report, figures in self.reports for text in sentences(figures, self.roles(report))]
        if not verdict:
            verdict = ["No evaluation was part of this run, so there is nothing to judge yet: add an `evaluate` step."]
        total = sum(float(artifact.facts.get("seconds", 0)) for artifact in self.artifacts.values())
        kept = sum(1 for word in self.made.values() if word == "kept")
        told = f"{len(self.artifacts)} steps, {duration(total)} of making in all"
        told += f"; the last run made {len(self.made) - kept} and kept {kept}" if self.made else ""
        return document(
            f"{self.name}: report",
            tag(
                "header",
                tag("h1", self.name),
                tag("p", told + ".", class_="quiet"),
                tag("div", *(tag("p", text) for text in verdict), class_="verdict", role="note", aria_label="Verdict"),
                tag("nav", tag("ul", *links), aria_label="Sections"),
            ),
            tag("main", *(tag("section", tag("h2", title), inner, id=id) for id, title, inner in sections)),
            tag(
                "footer",
                tag(
                    "p",
                    "Brackets hold 95% intervals. They cover the choice of samples, not another training run: each model was ",
                    "trained once. Written by Septet from the run's own files.",
                ),
            ),
        )

    # -- sections ---------------------------------------------------------------------------------------------------

    def lineage(self) -> Markup:
        served = {value for value in self.serve.values() if isinstance(value, str)}
        nodes = []
        for name, artifact in self.artifacts.items():
            seconds = artifact.facts.get("seconds")
            spent = duration(float(seconds)) if seconds is not None else ""
            lines = [f"{artifact.kind} {artifact.id[:8]}", " · ".join(p for p in (spent, self.made.get(name, "")) if p)]
            inputs = [self.steps[id] for id in artifact.inputs.values() if id in self.steps]
            style = " ".join(p for p in (self.made.get(name, ""), "served" if artifact.id in served else "") if p)
            nodes.append(Node(name, lines, inputs, style))
        picture = draw(nodes, title=f"Lineage of {self.name}: {'; '.join(_sentence(node) for node in nodes)}")
        told = "Each box is a step: its name, the kind and id of what it made, the time that took. "
        told += "Thin lines are inputs that arrive by another way too. A blue frame: made by the last run. "
        told += "A tinted box: served." if served else ""
        return tag("figure", picture, tag("figcaption", told))

    def learning(self) -> Markup | None:
        found = []
        for name, artifact in self.artifacts.items():
            rows = list(_lines(artifact.path / "curve.jsonl"))
            if not rows:
                continue
            across = "tokens" if all(row.get("tokens") is not None for row in rows) else "step"
            lines = []
            for key, words, style in (("loss", "training", "a"), ("held_out_loss", "held out", "b")):
                points = [(float(row[across]), float(row[key])) for row in rows if row.get(key) is not None]
                lines.append(Curve(words, points, style))
            kind = str(artifact.step.get("kind", artifact.kind))
            # the loss of an alignment is not a likelihood, so it has no unit
            unit = "loss" if kind == "align" else "loss, nats per token"
            chart = curves(
                lines, title=f"Loss of {name} by {across}", x=f"{across} seen" if across == "tokens" else "step", y=unit
            )
            last = next((row for row in reversed(rows) if row.get("held_out_loss") is not None), None)
            ends = f"{number(float(rows[0]['loss']))} to {number(float(rows[-1]['loss']))} while training"
            ends += f"; held out at the end {number(float(last['held_out_loss']))}" if last else ""
            found.append(tag("figure", tag("h3", f"{name} ({kind})"), chart, tag("figcaption", f"{ends}.")))
        return tag("div", *found, class_="pair") if found else None

    def ladder(self) -> Markup | None:
        found = [ladder_parts(name, ladder) for name, ladder in self.ladders]
        return join(*found) if found else None

    def evaluation(self) -> Markup | None:
        parts = []
        for name, report, figures in self.reports:
            if len(self.reports) > 1:
                parts.append(tag("h3", name))
            roles = self.roles(report)
            for task in dict.fromkeys(figure["task"] for figure in figures):
                parts.append(_task(task, [figure for figure in figures if figure["task"] == task], roles))
        return join(*parts) if parts else None

    def samples(self) -> Markup | None:
        parts = []
        for _, report, _ in self.reports:
            rows = list(_lines(report.path / "samples.jsonl"))
            answers = [row for row in rows if row.get("task") == "answers" and _score(row) is not None]
            answers.sort(key=lambda row: -(_score(row) or 0.0))
            half = min(SHOWN, len(answers) // 2) or len(answers)
            if answers:
                name = next(iter(answers[0]["scores"]))
                told = f"The best and the worst of {len(answers)} answers by {name}: read both before you believe the mean."
                parts.append(tag("p", told, class_="quiet"))
                parts += [_answer(row, "good-one") for row in answers[:half]]
                parts += [_answer(row, "bad-one") for row in answers[half:][-half:]]
            asked = [row for row in rows if row.get("task") == "retrieval"]
            right = [row for row in asked if row.get("correct") or (row.get("refused") and not row.get("gold"))]
            wrong = [row for row in asked if row not in right]
            if asked:
                parts.append(tag("h3", "Questions asked of the index"))
                told = f"{len(right)} of {len(asked)} were answered or refused rightly; some of either."
                parts.append(tag("p", told, class_="quiet"))
                parts += [_citation(row, "good-one") for row in _spread(right)]
                parts += [_citation(row, "bad-one") for row in _spread(wrong)]
        return join(*parts) if parts else None

    def corpus(self) -> Markup | None:
        parts = []
        for name, artifact in self.artifacts.items():
            path = artifact.path / "report.json"
            if artifact.kind != "corpus" or not path.is_file():
                continue
            parts += corpus_parts(name, artifact)
        parts += [part for name, artifact in self.artifacts.items() if artifact.kind == "packed"
                  for part in packed_parts(name, artifact)]  # fmt: skip
        return join(*parts) if parts else None

    def audits(self) -> Markup | None:
        parts = []
        for name, artifact in self.artifacts.items():
            path = artifact.path / "audits.json"
            if path.is_file():
                parts += [tag("h3", name), *sections(json.loads(path.read_text(encoding="utf-8")))]
        return join(*parts) if parts else None

    def cost(self) -> Markup:
        rows, seconds, size = [], 0.0, 0
        for name, artifact in self.artifacts.items():
            own = sum(path.stat().st_size for path in artifact.path.rglob("*") if path.is_file())
            spent = float(artifact.facts.get("seconds", 0.0))
            seconds, size = seconds + spent, size + own
            tokens = artifact.facts.get("tokens", artifact.facts.get("train_tokens"))
            rows.append(
                [
                    name,
                    artifact.step.get("kind", artifact.kind),
                    self.made.get(name, "–"),
                    duration(spent),
                    number(float(tokens)) if isinstance(tokens, int | float) else "–",
                    number(float(tokens) / spent) if isinstance(tokens, int | float) and spent else "–",
                    size_text(own),
                ]
            )
        rows.append(["all", "", "", duration(seconds), "", "", size_text(size)])
        head = ["step", "kind", "last run", "time to make", "tokens", "tokens/s", "on disk"]
        caption = "Time is what making took, over interrupted runs too; a kept step cost nothing this time."
        return tag("div", table(head, rows, caption, numbers={3, 4, 5, 6}), class_="card scroll")

    def again(self) -> Markup:
        lines = [f"septet run {self.name}.yaml        # keeps what is there, makes what is missing"]
        if self.serve:
            lines.append("septet serve                     # the application, on this machine only")
        machine = next((a.facts for a in reversed(self.artifacts.values()) if a.facts.get("versions")), {})
        versions = ", ".join(f"{key} {value}" for key, value in machine.get("versions", {}).items())
        facts = [("versions", versions), ("platform", machine.get("platform")), ("commit", machine.get("git"))]
        rows = [[name, artifact.id, _inputs(artifact, self.steps)] for name, artifact in self.artifacts.items()]
        dumps = {name: artifact.step for name, artifact in self.artifacts.items()}
        text = "An id is the hash of everything that determines a step's result: its fields, its inputs' ids, its sources' bytes. "
        text += "The same id on the same kind of machine, with the same versions and threads, means the same bytes."
        return join(
            tag("pre", tag("code", "\n".join(lines))),
            tag("p", text),
            tag("div", table(["step", "id", "made from"], rows, "Ids of this run."), class_="card scroll"),
            tag("p", " · ".join(f"{key}: {value}" for key, value in facts if value), class_="quiet"),
            tag(
                "details",
                tag("summary", "Every field of every step"),
                tag("pre", tag("code", json.dumps(dumps, indent=2, ensure_ascii=False))),
            ),
        )


# -- evaluation -----------------------------------------------------------------------------------------------------------

TITLES = {
    "held-out-text": ("Held-out text", "bits_per_byte", "bits per byte, less is better"),
    "answers": ("Answers to held-out questions", "chrf", "chrF, of 100, more is better"),
    "preferences": ("Preferences", "preference_accuracy", "share of pairs, more is better"),
    "classification": ("Classification", "accuracy", "accuracy, more is better"),
    "multi-label": ("Several labels", "f1_micro", "F1 over all labels, more is better"),
    "regression": ("Numbers", "spearman", "rank correlation, more is better"),
    "tagging": ("Entities", "entity_f1", "F1 of whole entities, more is better"),
    "question-answering": ("Answers in a passage", "f1", "F1 of words, more is better"),
    "text-to-text": ("Text to text", "chrf", "chrF, of 100, more is better"),
    "completion": ("Completions", "chrf", "chrF, of 100, more is better"),
    "retrieval": ("Retrieval and refusing", "mean_reciprocal_rank", "mean reciprocal rank, more is better"),
}


def _task(task: str, figures: list[Figure], roles: Mapping[str, str]) -> Markup:
    title, main, unit = TITLES.get(
        task, (task.replace("-", " ").capitalize(), figures[0]["metric"], figures[0]["unit"])
    )
    plain = [figure for figure in figures if " minus " not in figure["metric"]]
    changes = [figure for figure in figures if " minus " in figure["metric"]]
    rows = [figure for figure in plain if figure["metric"] == main or figure["metric"].startswith(f"{main}, ")]
    parts: list[Markup] = [tag("h3", title)]
    if rows:
        shown = [
            Span(
                _who(row["of"], roles) + row["metric"].removeprefix(main).replace(", ", " · "),
                row["value"],
                row["low"],
                row["high"],
                _style(row["of"], roles),
            )
            for row in sorted(rows, key=lambda row: row["metric"])
        ]
        picture = spans(shown, title=f"{title}: {unit}", unit=unit.partition(",")[0])
        parts.append(tag("figure", picture, tag("figcaption", f"{unit[:1].upper()}{unit[1:]}. Bars: 95% intervals.")))
    parts.append(tag("div", _matrix(plain, roles), class_="card scroll"))
    if changes:
        parts.append(tag("div", _changes(changes, roles), class_="card scroll"))
    notes = [
        tag("li", tag("b", f"{figure['metric']} of {_who(figure['of'], roles)}"), f": {_told(figure)}")
        for figure in figures
    ]
    parts.append(tag("details", tag("summary", "How each of these figures was computed"), tag("ul", *notes)))
    return join(*parts)


def _style(of: str, roles: Mapping[str, str]) -> str:
    """Return the colour: the first for what is evaluated, the second for its kin, grey for baselines."""
    if of in ("model", "hybrid", "answers"):
        return "a"
    return "b" if of in roles or of == "dense" else "c"


def _matrix(figures: list[Figure], roles: Mapping[str, str]) -> Markup:
    systems = list(dict.fromkeys(figure["of"] for figure in figures))
    rows = []
    for metric in dict.fromkeys(figure["metric"] for figure in figures):
        cells = {figure["of"]: figure for figure in figures if figure["metric"] == metric}
        counts = sorted({figure["n"] for figure in cells.values()})
        some = next(iter(cells.values()))
        words = _words(metric) + (f" ({some['unit']})" if some["unit"] else "")
        rows.append([words, *(_cell(cells.get(system)) for system in systems), "–".join(map(number, counts))])
    head = ["figure", *(_who(system, roles) for system in systems), "n"]
    return table(head, rows, "Value and 95% interval; n is the number of samples.", numbers=set(range(1, len(head))))


def _changes(figures: list[Figure], roles: Mapping[str, str]) -> Markup:
    rows = []
    for figure in figures:
        metric, _, other = figure["metric"].partition(" minus ")
        word, style = {1: ("better", "good"), -1: ("worse", "bad"), 0: ("cannot be told apart", None)}[side(figure)]
        pair = f"{_who(figure['of'], roles)} against {_who(other, roles)}"
        rows.append([pair, _words(metric), _cell(figure), number(figure["n"]), tag("span", word, class_=style)])
    head = ["comparison", "figure", "difference", "n", "verdict"]
    return table(
        head, rows, "Paired on the same samples; the difference is the first minus the second.", numbers={2, 3}
    )


def _cell(figure: Figure | None) -> Any:
    if figure is None:
        return "–"
    if figure["low"] is None or figure["high"] is None:
        return number(figure["value"])
    return join(number(figure["value"]), " ", tag("small", f"[{number(figure['low'])}, {number(figure['high'])}]"))


def _told(figure: Figure) -> str:
    return "; ".join(str(part) for part in (figure.get("method"), figure.get("note")) if part)


def _words(metric: str) -> str:
    return metric.replace("_", " ")


def _who(of: str, roles: Mapping[str, str]) -> str:
    words = {"model": "evaluated", "before": "before alignment", "base": "pre-trained", "hybrid": "both (hybrid)"}
    return f"{roles[of]} ({words[of]})" if of in roles else words.get(of, of)


# -- samples and corpus ---------------------------------------------------------------------------------------------------


def _score(row: Mapping[str, Any]) -> float | None:
    scores = row.get("scores") or {}
    values = next(iter(scores.values()), {})
    return next(iter(values.values()), None)


def _answer(row: Mapping[str, Any], style: str) -> Markup:
    values = [
        (f"{key} {number(value)}") for part in row["scores"].values() for key, value in part.items() if key == "chrf"
    ] or [f"{_score(row):.3g}"]
    said = [("model", _part(row.get("model", "")))]
    if "before" in row:
        said.append(("before", _part(row["before"])))
    listed = [
        item
        for key, text in [*said, ("reference", _part(row["reference"]))]
        for item in (tag("dt", key), tag("dd", text))
    ]
    score = tag("span", ", ".join(values), class_="quiet")
    return tag("article", tag("h4", row["question"], " ", score), tag("dl", *listed), class_=f"sample {style}")


def _citation(row: Mapping[str, Any], style: str) -> Markup:
    cited = ", ".join(row.get("cited", [])[:3]) or "nothing"
    said = "refused: not in the documents" if row.get("refused") else f"cited {cited}"
    wanted = ", ".join(row.get("gold", [])) or "not in the documents"
    listed = [item for key, text in (("did", said), ("right", wanted)) for item in (tag("dt", key), tag("dd", text))]
    return tag("article", tag("h4", row["question"]), tag("dl", *listed), class_=f"sample {style}")


def _spread(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return some rows from all over the list: a question file is often sorted by subject."""
    return [rows[len(rows) * place // SHOWN] for place in range(SHOWN)] if len(rows) > SHOWN else list(rows)


def _part(text: str) -> str:
    text = text.strip() or "(nothing)"
    return text if len(text) <= LONGEST else text[:LONGEST].rstrip() + " …"


# -- pieces ---------------------------------------------------------------------------------------------------------------


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if path.is_file():
        with path.open(encoding="utf-8") as file:
            for line in file:
                if line.strip():
                    yield json.loads(line)


def _inputs(artifact: Artifact, steps: Mapping[str, str]) -> str:
    return ", ".join(dict.fromkeys(steps.get(id, id[:12]) for id in artifact.inputs.values())) or "–"


def _sentence(node: Node) -> str:
    return f"{node.name} from {', '.join(dict.fromkeys(node.inputs))}" if node.inputs else node.name
