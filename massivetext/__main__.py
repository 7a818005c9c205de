"""`python -m massivetext` is the command `massivetext`."""

from .cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
