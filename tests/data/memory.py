"""The peak of resident memory of work in a process of its own.

What it is not: `resource.getrusage`, whose peak a child process inherits from its parent. This is the process's own (Linux).

    python -m pytest tests/data/test_files.py -k memory
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_SCRIPT = """
import json, sys
from septet.core.extras import need
from septet.data.source import Source

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024

need("pyarrow.parquet", "corpus")
source, bad, texts, count = Source.parse(json.loads(sys.argv[1])), [], [], 0
before = peak()
for part in source.parts():
    for doc in source.read(part.name, bad=lambda *told: bad.append(told)):
        count += 1
        if count <= 10:
            texts.append(doc.text)
print(json.dumps({"count": count, "texts": texts, "bad": bad, "grown": peak() - before}))
"""


def read_apart(**fields: Any) -> dict[str, Any]:
    """Read a source part by part: count, the first 10 texts, bad, and grown: bytes that the peak of memory grew by."""
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak of a process's memory is read from /proc")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", _SCRIPT, json.dumps(fields)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=True)
    return json.loads(done.stdout)
