"""`ironbind`, `python -m ironbind`, `torchrun -m ironbind`."""

import sys

from ironbind.core.console_text import STOPPED


def main() -> None:
    """Runs the command line, which takes a moment to load: Ctrl-C is answered from the first moment on."""
    try:
        from ironbind.cli import main as command_line

        command_line()
    except KeyboardInterrupt:
        print(STOPPED, file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
