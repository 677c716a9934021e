"""`python -m ironbind`, `torchrun -m ironbind`."""

from ironbind.cli import main

if __name__ == "__main__":
    main()
