"""The pull grants of one namespace, arranged so that a look-up does not depend on how many there are.

A namespace may have thousands of grants, each with up to a thousand patterns and a pod selector of its own, and a pod may bring
a thousand images. Grants are therefore found by the image's repository and its parents, and among those by the pod's labels.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeVar

from registry_access.model.label_selector import Anchor
from registry_access.model.resources import PullGrant

MAXIMUM_GRANTS = 16  # of one image: as many Secrets the kubelet tries in turn
_NAMESPACES = 512
_Place = tuple[str, str]
_Key = TypeVar("_Key", str, _Place)


class GrantIndex:
    """Updated in place, grant by grant."""

    def __init__(self, grants: Iterable[PullGrant] = ()) -> None:
        self._source: object = None
        self._grants: dict[int, PullGrant] = {}
        self._all = _Bucket()
        self._registries: dict[str, _Bucket] = {}
        self._exact: dict[_Place, _Bucket] = {}
        self._below: dict[_Place, _Bucket] = {}
        self._hosts: Counter[str] = Counter()
        self._secrets: Counter[str] = Counter()
        self.update(grants)

    def __bool__(self) -> bool:
        return bool(self._grants)

    def update(self, grants: Iterable[PullGrant]) -> None:
        """Makes `grants` all that there are. The same object as last time costs nothing."""
        if grants is self._source:
            return
        wanted = {id(grant): grant for grant in grants}
        for gone in self._grants.keys() - wanted.keys():
            self._remove(self._grants.pop(gone))
        for identity, grant in wanted.items():
            if identity not in self._grants:
                self._grants[identity] = grant
                self._add(grant)
        self._source = grants

    def select(self, labels: Mapping[str, str]) -> Selection:
        """The grants whose pod selector matches `labels`."""
        return Selection(self, labels)

    def is_host(self, host: str) -> bool:
        """Whether a grant rewrites to `host`."""
        return host in self._hosts

    def is_pull_secret(self, name: str) -> bool:
        """Whether a grant's pull Secret has this name."""
        return name in self._secrets

    def first_selected(self, labels: Mapping[str, str]) -> PullGrant | None:
        return next(self._all.selected(labels), None)

    def bucket_of(self, registry: str) -> _Bucket | None:
        """Every grant that names a repository of this registry."""
        return self._registries.get(registry)

    def buckets_covering(self, registry: str, repository: str) -> Iterator[_Bucket]:
        """The buckets of the patterns that cover a repository: its own name, and each of its parents."""
        if registry not in self._registries:
            return
        if found := self._exact.get((registry, repository)):
            yield found
        end = len(repository)
        while end > 0:
            end = max(repository.rfind("/", 0, end), 0)
            if found := self._below.get((registry, repository[:end])):
                yield found

    def _add(self, grant: PullGrant) -> None:
        self._all.add(grant)
        self._hosts[grant.host] += 1
        self._secrets[grant.pull_secret] += 1
        for registry in {pattern.registry for pattern in grant.images}:
            self._registries.setdefault(registry, _Bucket()).add(grant)
        for places, place in self._places(grant):
            places.setdefault(place, _Bucket()).add(grant)

    def _remove(self, grant: PullGrant) -> None:
        self._all.remove(grant)
        _forget(self._hosts, grant.host)
        _forget(self._secrets, grant.pull_secret)
        for registry in {pattern.registry for pattern in grant.images}:
            _drop(self._registries, registry, grant)
        for places, place in self._places(grant):
            _drop(places, place, grant)

    def _places(self, grant: PullGrant) -> Iterator[tuple[dict[_Place, _Bucket], _Place]]:
        for pattern in dict.fromkeys(grant.images):
            yield self._below if pattern.prefix.below else self._exact, (pattern.registry, pattern.prefix.path)


class Selection:
    """What one pod's labels select of an index. Each bucket is looked through once, however many images lead to it."""

    def __init__(self, index: GrantIndex, labels: Mapping[str, str]) -> None:
        self.index = index
        self._labels = labels
        self._known: dict[int, tuple[PullGrant, ...]] = {}
        self.first = index.first_selected(labels)

    def covering(self, registry: str, repository: str) -> tuple[PullGrant, ...]:
        """The grants that cover a repository, by name; the first `MAXIMUM_GRANTS` of them."""
        buckets = list(self.index.buckets_covering(registry, repository))
        if len(buckets) == 1:
            return self._of(buckets[0])
        found = {id(grant): grant for bucket in buckets for grant in self._of(bucket)}
        return tuple(sorted(found.values(), key=_name)[:MAXIMUM_GRANTS])

    def has_registry(self, registry: str) -> bool:
        """Whether a grant covers anything of this registry."""
        bucket = self.index.bucket_of(registry)
        return bucket is not None and bool(self._of(bucket))

    def _of(self, bucket: _Bucket) -> tuple[PullGrant, ...]:
        known = self._known.get(id(bucket))
        if known is None:
            known = self._known[id(bucket)] = tuple(sorted(bucket.selected(self._labels), key=_name)[:MAXIMUM_GRANTS])
        return known


class GrantIndexes:
    """The indexes of the namespaces whose pods came last."""

    def __init__(self, maximum: int = _NAMESPACES) -> None:
        self._maximum = maximum
        self._indexes: OrderedDict[str, GrantIndex] = OrderedDict()

    def of(self, namespace: str, grants: Sequence[PullGrant]) -> GrantIndex:
        """The index of a namespace, brought up to date with its `grants`."""
        if not grants:
            self._indexes.pop(namespace, None)
            return _EMPTY
        index = self._indexes.get(namespace)
        if index is None:
            index = self._indexes[namespace] = GrantIndex()
            if len(self._indexes) > self._maximum:
                self._indexes.popitem(last=False)
        self._indexes.move_to_end(namespace)
        index.update(grants)
        return index


class _Bucket:
    """Grants by name, apart by a label that their pods must have; `open` are those that ask for none."""

    __slots__ = ("anchored", "open")

    def __init__(self) -> None:
        self.open: list[PullGrant] = []
        self.anchored: dict[Anchor, list[PullGrant]] = {}

    def add(self, grant: PullGrant) -> None:
        anchors = grant.pod_selector.anchors
        for grants in [self.anchored.setdefault(anchor, []) for anchor in anchors] if anchors else [self.open]:
            insort(grants, grant, key=_name)

    def remove(self, grant: PullGrant) -> None:
        for anchor in grant.pod_selector.anchors:
            grants = self.anchored[anchor]
            _take(grants, grant)
            if not grants:
                del self.anchored[anchor]
        if not grant.pod_selector.anchors:
            _take(self.open, grant)

    def selected(self, labels: Mapping[str, str]) -> Iterator[PullGrant]:
        """At most `MAXIMUM_GRANTS` of each of its lists."""
        yield from islice((grant for grant in self.open if grant.pod_selector.matches(labels)), MAXIMUM_GRANTS)
        for anchor in self._anchors_among(labels):
            matching = (grant for grant in self.anchored[anchor] if grant.pod_selector.matches(labels))
            yield from islice(matching, MAXIMUM_GRANTS)

    def _anchors_among(self, labels: Mapping[str, str]) -> Iterator[Anchor]:
        if len(self.anchored) < len(labels):
            return (anchor for anchor in self.anchored if labels.get(anchor[0]) == anchor[1] or _exists(anchor, labels))
        present = (anchor for key, value in labels.items() for anchor in ((key, value), (key, None)))
        return (anchor for anchor in present if anchor in self.anchored)

    def __bool__(self) -> bool:
        return bool(self.open or self.anchored)


def _exists(anchor: Anchor, labels: Mapping[str, str]) -> bool:
    return anchor[1] is None and anchor[0] in labels


def _forget(counter: Counter[str], name: str) -> None:
    counter[name] -= 1
    if not counter[name]:
        del counter[name]


def _drop(buckets: dict[_Key, _Bucket], place: _Key, grant: PullGrant) -> None:
    bucket = buckets[place]
    bucket.remove(grant)
    if not bucket:
        del buckets[place]


def _take(grants: list[PullGrant], grant: PullGrant) -> None:
    position = bisect_left(grants, _name(grant), key=_name)
    while grants[position] is not grant:
        position += 1
    del grants[position]


def _name(grant: PullGrant) -> str:
    return grant.metadata.name


_EMPTY = GrantIndex()
