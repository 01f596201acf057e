"""`python -m septet.cli` is the command `septet`."""

from septet.cli.main import main

main()
