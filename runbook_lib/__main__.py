"""``python -m runbook_lib``: the ``runbook`` command of this interpreter."""

from .cli import main

if __name__ == "__main__":
    main()
