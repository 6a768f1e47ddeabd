"""YAML files of experiments and of parameter studies, and dotted overrides of their keys."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, ClassVar

import numpy as np
import yaml

from figures_lib.errors import ConfigError, shown

LARGEST_FILE = 2**20  # of the YAML files accepted [bytes]; ours have a few hundred


def read_overrides(overrides: Any) -> dict[str, Any]:
    """Read overrides: dotted keys and their values.

    Args:
        overrides: a mapping, its YAML text (as papermill passes ``-p``), or None.

    Raises:
        ConfigError: ``overrides`` is something else.
    """
    try:
        given = parse(overrides) if isinstance(overrides, str) else overrides or {}
    except yaml.YAMLError:
        given = overrides
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise ConfigError(
            "overrides: expected a mapping of dotted keys such as {simulation.noise: 0.5} "
            f"(found {shown(overrides, 80)})"
        )
    return dict(given)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping in a YAML file.

    Raises:
        ConfigError: the file cannot be read, is too large, or holds no mapping.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise ConfigError(
                f"{path}: more than {LARGEST_FILE} bytes; name a YAML file such as "
                "config/fig3.yaml"
            )
        tree = parse(content.decode("utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror or error}; name an existing YAML file such as "
            "config/fig3.yaml"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: not valid YAML ({reason}); correct the file") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected a mapping of sections (found {shown(tree, 60)})")
    return tree


class Loader(yaml.SafeLoader):
    """A YAML loader for the core schema of YAML 1.2 without aliases and duplicate keys.

    PyYAML follows YAML 1.1: it reads 010 as 8, 1:30 as 90, ``no`` as false, a day as a date and
    1e-3 as text, keeps only the last of several equal keys, and expands a few lines of aliases
    to gigabytes. Here numbers are decimal, and what is no number is text.
    """

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # none of YAML 1.1

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node; refuse an alias."""
        if self.check_event(yaml.AliasEvent):
            alias = self.peek_event()
            problem = f"*{alias.anchor}: aliases are not accepted, write the value out"
            raise yaml.composer.ComposerError(None, None, problem, alias.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping; refuse duplicate keys."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                problem = f"{key.value}: this key is given twice, keep one"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else key)
        return super().construct_mapping(node, deep)


NUMBER = r"[-+]?(\d[\d_]*(\.\d*)?|\.\d+)([eE][-+]?\d+)?"
RESOLVED = (  # plain text that is a value: its type, its form, its first characters
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", "true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("int", r"[-+]?\d[\d_]*", [*"-+0123456789"]),
    ("float", rf"{NUMBER}|[-+]?\.inf|\.nan", [*"-+.0123456789"]),
)
for _type, _form, _first in RESOLVED:
    _tag = f"tag:yaml.org,2002:{_type}"
    Loader.add_implicit_resolver(_tag, re.compile(f"({_form})$"), _first)
Loader.add_constructor(
    "tag:yaml.org,2002:int", lambda loader, node: int(loader.construct_scalar(node))
)


def parse(text: str) -> Any:
    """The value of a YAML text.

    Raises:
        yaml.YAMLError: the text is not valid YAML.
    """
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError:
        raise
    except Exception as error:  # e.g. month 13, 5000 digits, a thousand brackets
        raise yaml.YAMLError(f"{type(error).__name__}: {error}") from None


def value_of(text: str, name: str) -> Any:
    """The value that a text of the command line stands for.

    A text that begins with a bracket, a brace or a quote is YAML. Every other one is a number,
    true, false, null, or itself: the name of a file may contain a hash or a colon.

    Args:
        text: what was written.
        name: of the setting, for the message.

    Raises:
        ConfigError: the text begins like YAML, but is not.
    """
    text = text.strip()
    try:
        if text.startswith(tuple("[{'\"")):
            return parse(text)
        loader = Loader("")
        tag = loader.resolve(yaml.ScalarNode, text, (True, False))
        return loader.construct_object(yaml.ScalarNode(tag, text))
    except (yaml.YAMLError, ValueError):
        raise ConfigError(f"{name}: {shown(text, 80)} is not a YAML value; quote it") from None


def set_key(tree: dict[str, Any], dotted: str, value: Any) -> None:
    """Set one dotted key in a tree of mappings and lists.

    Args:
        tree: changed in place; missing mappings are created.
        dotted: e.g. ``neuron_types.0.width``; a list item is named by its index.
        value: taken as it is; see :func:`value_of` for a text of the command line. A mapping
            sets its own keys and leaves the others. Numbers of NumPy and paths become plain.

    Raises:
        ConfigError: the key does not fit the tree.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            set_key(tree, f"{dotted}.{key}", item)
        return
    if isinstance(value, np.generic | PurePath):
        value = value.item() if isinstance(value, np.generic) else str(value)
    *parents, last = dotted.split(".")
    node: Any = tree
    for part in parents:
        node = (
            node.setdefault(part, {}) if isinstance(node, dict) else _item(node, part, dotted)
        )
        if not isinstance(node, dict | list):
            raise ConfigError(f"{dotted}: {part!r} has no sub-keys; check the dotted name")
    if isinstance(node, list):
        _item(node, last, dotted)
        node[int(last)] = value
    else:
        node[last] = value


def _item(node: list[Any], part: str, dotted: str) -> Any:
    if not part.isdecimal() or int(part) >= len(node):
        raise ConfigError(f"{dotted}: index {part!r} is not in 0…{len(node) - 1}; correct it")
    return node[int(part)]
