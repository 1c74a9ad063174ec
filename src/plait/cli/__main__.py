"""``python -m plait.cli``, the same as ``plait``."""

from plait.cli.main import main

if __name__ == "__main__":
    main()
