"""``python -m xfelred``: the command `xfelred`."""

from xfelred.cli.main import main

if __name__ == "__main__":
    main()
