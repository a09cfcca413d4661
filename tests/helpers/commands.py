"""The command line in this process."""

import sys

from assay.cli.main import main


def run_command(monkeypatch, capsys, *arguments):
    """Return the exit code of ``assay …``, and what it printed."""
    monkeypatch.setattr(sys, "argv", ["assay", *arguments])
    code = 0
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    printed = capsys.readouterr()
    return code, printed.out + printed.err
