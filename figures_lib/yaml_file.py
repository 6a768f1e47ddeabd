"""YAML files of experiments and of parameter studies, and dotted overrides of their keys."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from figures_lib.errors import ConfigError, shown

LARGEST_FILE = 2**20  # bytes of a YAML file; ours have a few hundred


def read_overrides(overrides: Any) -> dict[str, Any]:
    """Dotted keys and values, as a mapping or, as papermill hands over ``-p``, as YAML text.

    Raises:
        ConfigError: it is something else.
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
    """The mapping that a YAML file holds; a ConfigError says why it holds none."""
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
        raise ConfigError(f"{path}: not valid YAML ({reason}); mend the file") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected a mapping of sections, found {shown(tree, 60)}")
    return tree


class Loader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number, a key is given once, and nothing is repeated by name.

    YAML 1.1, as PyYAML reads it, demands 1.0e-3, takes the last of several equal keys, and
    lets a few lines of aliases stand for gigabytes.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        """A node; an alias is none."""
        if self.check_event(yaml.AliasEvent):
            alias = self.peek_event()
            problem = f"*{alias.anchor}: aliases are not accepted, write the value out"
            raise yaml.composer.ComposerError(None, None, problem, alias.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys differ."""
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                problem = f"{key.value}: this key is given twice, keep one"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else key)
        return super().construct_mapping(node, deep)


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"),
    list("-+0123456789"),
)


def parse(text: str) -> Any:
    """The value that YAML text stands for.

    Raises:
        yaml.YAMLError: it is not YAML.
    """
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError:
        raise
    except Exception as error:  # a month 13, a number of 5000 digits, a thousand brackets
        raise yaml.YAMLError(f"{type(error).__name__}: {error}") from None


def set_key(tree: dict[str, Any], dotted: str, value: Any) -> None:
    """Set one dotted key in the raw tree; list items are named by their index."""
    if isinstance(value, str):
        try:
            value = parse(value)
        except yaml.YAMLError:
            raise ConfigError(f"{dotted}: {value!r} is not a YAML value; quote it") from None
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
        raise ConfigError(f"{dotted}: index {part!r} is not in 0…{len(node) - 1}")
    return node[int(part)]
