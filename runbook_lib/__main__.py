"""``python -m runbook_lib``: the ``runbook`` command of this interpreter."""

import gc

from .batch.interruption import interrupted_once


def main() -> None:
    """Run the ``runbook`` command; Ctrl-C ends it with one sentence, even while it is being loaded."""
    interruption = interrupted_once()
    gc.disable()
    try:
        from .cli import main as command
    except KeyboardInterrupt:
        interruption.ignore()
        raise SystemExit("Interrupted before anything was done.") from None
    # What is loaded stays; looking through it for garbage again and again would cost every command a tenth.
    gc.freeze()
    gc.enable()
    command()


if __name__ == "__main__":
    main()
