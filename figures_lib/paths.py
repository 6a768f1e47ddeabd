"""Where the repository is, and where the files are that a user names."""

from pathlib import Path

from figures_lib.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent


def find_input(path: str | Path) -> Path:
    """A file as the user names it: from the working directory, or else from the repository.

    Raises:
        ConfigError: no file can have this name.
    """
    path, elsewhere = Path(path), ROOT / path
    try:
        return elsewhere if elsewhere.exists() and not path.exists() else path
    except OSError as error:
        raise ConfigError(f"{str(path):.80}…: {error.strerror}; name another file") from None
