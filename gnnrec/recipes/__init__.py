"""The shipped recipes, and reading any as text. Checking what it says is in recipe.py, which needs torch for that."""

from importlib import resources
from pathlib import Path

from gnnrec.errors import UserError
from gnnrec.vault import read_text


def read_recipe(name: str) -> tuple[str, str]:
    """A shipped recipe by name or a TOML file by path: what messages call it, and its text. Raises UserError."""
    path = Path(name)
    if path.suffix == ".toml":
        try:
            return str(path), read_text(path)
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: cannot be read (not UTF-8)") from error
    shipped = resources.files(__name__) / f"{name}.toml"
    if shipped.is_file():
        return f"recipe {name}", shipped.read_text(encoding="utf-8")
    raise UserError(f"recipe {name!r}: no such recipe; allowed: {', '.join(shipped_recipes())}, or a .toml file")


def shipped_recipes() -> list[str]:
    return sorted(entry.name[:-5] for entry in resources.files(__name__).iterdir() if entry.name.endswith(".toml"))
