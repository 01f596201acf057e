"""One rank of a step: what torchrun starts, once for each process.

It ends when the run that asked for it is gone: its standard input, which comes from there, is then at its end.

    python -m torch.distributed.run --nproc-per-node 2 -m septet.launch.rank FOLDER    # as septet.launch.torchrun does
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from septet.core.errors import SeptetError
from septet.launch.team import attend

__all__: list[str] = []


def main() -> None:
    """Run the assignment in the folder that the command line names."""
    launcher = os.getppid()

    def watch() -> None:
        while os.read(0, 1):
            pass
        # the launcher would start us again
        os.kill(launcher, signal.SIGTERM)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    try:
        attend(Path(sys.argv[1]))
    except (SeptetError, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    import torch.distributed as dist  # imported already by what has run

    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
