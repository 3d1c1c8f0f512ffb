"""Safe reading of untrusted YAML and JSON: no code is run, and memory and time are bounded."""

import json
import os
from pathlib import Path
from typing import Any

import yaml

from faal.errors import InputError

MAX_BYTES = 4 * 2**20
"""Bytes of a YAML file. The largest that this program writes lists about a thousand classes, in about 100 KB."""

MAX_NODES = 100_000
"""Values, keys and containers in a YAML file; an alias counts as all the nodes it expands to."""

MAX_DEPTH = 100
"""How deep containers may be nested in a YAML file."""

MERGED = "tag:yaml.org,2002:merge"
"""The tag of `<<`: a mapping's own keys may replace those that it merges."""


class _BoundedLoader(yaml.SafeLoader):
    """YAML's safe loader within the bounds above, which rejects duplicate keys of a mapping.

    The base class keeps the last value of such a key, and expands all aliases: ten aliases of ten aliases,
    twelve times, are 10^12 values in a few lines.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.nodes = self.depth = 0
        self.sizes: dict[str, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The next node; an alias counts as the nodes that it repeats."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        alias = isinstance(event, yaml.AliasEvent)
        if alias and event.anchor in self.anchors and event.anchor not in self.sizes:
            raise yaml.YAMLError(f"the alias *{event.anchor} is within its own anchor")
        before, self.depth = self.nodes, self.depth + 1
        if self.depth > MAX_DEPTH:
            raise yaml.YAMLError(f"its values are nested deeper than {MAX_DEPTH} levels")
        node = super().compose_node(parent, index)
        self.depth -= 1
        self.nodes += self.sizes.get(event.anchor, 1) if alias else 1
        if self.nodes > MAX_NODES:
            raise yaml.YAMLError(f"it has more than {MAX_NODES:,} values, those that its aliases repeat included")
        if not alias and event.anchor is not None:
            self.sizes[event.anchor] = self.nodes - before
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """The mapping's node, if its keys are distinct."""
        node = super().compose_mapping_node(anchor)
        lines: dict[object, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == MERGED:
                continue
            name, line = self.construct_object(key), key.start_mark.line + 1
            if name in lines:
                raise yaml.YAMLError(
                    f"{key.value!r} is given twice, in lines {lines[name]} and {line}; keep one of them"
                )
            lines[name] = line
        return node


def read_yaml(path: Path) -> Any:
    """The value in a YAML file; JSON is YAML too.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it cannot be read, is not valid YAML, or exceeds a bound; the message names the bound.
    """
    if os.path.exists(path) and not path.is_file():  # a pipe or a device may have no end
        raise InputError(f"{path} cannot be read as YAML: it is not a file")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read as YAML: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise InputError(f"{path} cannot be read as YAML: it is larger than {MAX_BYTES >> 20} MB")
    try:
        return _BoundedLoader(content.decode("utf-8")).get_single_data()
    except Exception as error:  # a value that does not fit its tag, such as `!!int a`, raises errors of many types
        kind = "" if isinstance(error, yaml.YAMLError) else "a value does not fit its type: "
        raise InputError(f"{path} cannot be read as YAML: {kind}{' '.join(str(error).split())}") from None


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is not valid JSON, nested too deeply, or has a number of too many digits.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None
