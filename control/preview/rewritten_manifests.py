"""Manifests as admission would rewrite their pods: the author's text with new images, or whole documents."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jsonpatch
import yaml

from control.preview.yaml_text import Field, YamlText
from registry_access.model.resources import PullGrant
from webhook.admission.json_patch import pointer
from webhook.admission.rewriting import Rewriting, rewrite_pod
from webhook.pod import Pod

Grants = Callable[[str], Sequence[PullGrant]]  # of a namespace
_LIST_DEPTH = 20
_Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class _ImageUse:
    field: Field
    written: str
    new: str


@dataclass(frozen=True, slots=True)
class FoundPod:
    """A pod or pod template in a document; `path` is where it is."""

    path: _Path
    node: yaml.Node
    namespace: str


class RewrittenManifests:
    """`text` is one or several documents; `namespace` applies to objects that do not name one. Raises InvalidInput.

    Pods are found in Pods, in lists, and in everything that contains a pod template: workloads, PodTemplates, and the
    custom resources of operators. A pod template is an object with ``spec.containers``.
    """

    def __init__(self, text: str, namespace: str) -> None:
        self._yaml = YamlText(text)
        self._found = [list(self._pods(document, namespace)) for document in self._yaml.documents]
        self.warnings: list[str] = []

    @property
    def namespaces(self) -> frozenset[str]:
        return frozenset(found.namespace for pods in self._found for found in pods)

    def text(self, grants: Grants) -> str:
        """The author's text with only the images replaced. Admission attaches the pull Secret when the pods are created."""
        self.warnings = []
        wanted: dict[int, list[_ImageUse]] = {}
        for found in (found for pods in self._found for found in pods):
            manifest = self._yaml.value(found.node)
            rewriting = self._admit(manifest, found.namespace, grants)
            changed = {operation["path"]: str(operation["value"]) for operation in rewriting.operations}
            for image in Pod(manifest).images:
                field = self._follow(found.node, image.steps)
                use = _ImageUse(field, image.image, changed.get(pointer(*image.steps), image.image))
                wanted.setdefault(id(field.node), []).append(use)
        uses = self._yaml.uses()
        changes = []
        for of_node in wanted.values():
            first = of_node[0]
            if {use.new for use in of_node} == {first.written}:
                continue
            alone = len({id(use.field.holder) for use in of_node}) == uses[id(first.field.node)]
            change = self._yaml.change(first.field.node, first.written, first.new)
            if change is None or not alone or len({use.new for use in of_node}) > 1:
                problem = "it uses a YAML alias or escapes, so its text cannot be replaced alone; write it out where it is used"
                self.warnings.append(f"{first.written} is left as it is: {problem}")
            else:
                changes.append(change)
        return self._yaml.changed(changes)

    def documents(self, grants: Grants) -> list[Any]:
        """The documents with their pods as admission leaves them: images, pull Secrets and annotations."""
        self.warnings = []
        whole = [[copy.deepcopy(self._yaml.value(node))] for node in self._yaml.documents]
        for document, pods in zip(whole, self._found, strict=True):
            for found in pods:
                *steps, last = (0, *found.path)
                holder: Any = document
                for step in steps:
                    holder = holder[step]
                manifest = copy.deepcopy(holder[last])  # copy, because an alias may share the object
                holder[last] = jsonpatch.apply_patch(manifest, self._admit(manifest, found.namespace, grants).operations)
        return [document for [document] in whole if document is not None]

    def _admit(self, manifest: Any, namespace: str, grants: Grants) -> Rewriting:
        rewriting = rewrite_pod(manifest, {}, "CREATE", "", grants(namespace))
        self.warnings += rewriting.warnings
        return rewriting

    def _follow(self, node: yaml.Node, steps: Sequence[str | int]) -> Field:
        field = Field(node, node)
        for step in steps:
            held = field.node
            field = self._yaml.fields(held)[step] if isinstance(step, str) else Field(held, held.value[step])
        return field

    def _pods(self, document: yaml.Node, namespace: str, path: _Path = (), depth: int = 0) -> Iterator[FoundPod]:
        fields = self._yaml.fields(document)
        kind = self._text(fields, "kind")
        if kind.endswith("List") and "items" in fields and depth < _LIST_DEPTH:
            for position, item in self._items(fields["items"].node):
                yield from self._pods(item, namespace, (*path, "items", position), depth + 1)
            return
        namespace = self._namespace(fields) or namespace
        if kind == "Pod":
            yield FoundPod(path, document, namespace)
        else:
            yield from self._templates(document, namespace, path)

    def _templates(self, document: yaml.Node, namespace: str, path: _Path) -> Iterator[FoundPod]:
        waiting: list[tuple[_Path, yaml.Node]] = [(path, document)]
        seen: set[int] = set()
        while waiting:
            here, node = waiting.pop()
            if id(node) in seen or isinstance(node, yaml.ScalarNode):
                continue
            seen.add(id(node))
            fields = self._yaml.fields(node)
            if node is not document and "spec" in fields and self._has_containers(fields["spec"].node):
                yield FoundPod(here, node, self._namespace(fields) or namespace)
                continue
            members = [((*here, name), field.node) for name, field in fields.items()]
            waiting += reversed(members or [((*here, position), item) for position, item in self._items(node)])

    def _has_containers(self, spec: yaml.Node) -> bool:
        containers = self._yaml.fields(spec).get("containers")
        return containers is not None and any(self._yaml.fields(item) for _, item in self._items(containers.node))

    def _namespace(self, fields: Mapping[str, Field]) -> str:
        return self._text(self._yaml.fields(fields["metadata"].node), "namespace") if "metadata" in fields else ""

    def _text(self, fields: Mapping[str, Field], name: str) -> str:
        value = self._yaml.value(fields[name].node) if name in fields else None
        return value if isinstance(value, str) else ""

    @staticmethod
    def _items(node: yaml.Node) -> Iterator[tuple[int, yaml.Node]]:
        return iter(enumerate(node.value)) if isinstance(node, yaml.SequenceNode) else iter(())
