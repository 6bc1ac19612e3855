"""``python -m app`` is ``octowait``."""

from app.cli import main

if __name__ == "__main__":
    main()
