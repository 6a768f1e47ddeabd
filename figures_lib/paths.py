"""Places in the repository, and the files that a user names."""

from pathlib import Path

from figures_lib.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "book" / "results"  # results of long computations, kept with the book


def user_path(path: str | Path) -> Path:
    """A path that a user names; ~ is the home folder, where the shell has left it."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # ~ and the name of nobody: that of a file
        return Path(path)


def find_input(path: str | Path) -> Path:
    """Find a file that a user names.

    Args:
        path: absolute, or relative to the working directory or else to the repository.

    Returns:
        The path that exists; if none does, ``path`` itself.

    Raises:
        ConfigError: the operating system rejects the name, for example as too long.
    """
    path = user_path(path)
    elsewhere = ROOT / path
    try:
        return elsewhere if elsewhere.exists() and not path.exists() else path
    except OSError as error:
        raise ConfigError(f"{str(path):.80}…: {error.strerror}; name another file") from None
