"""Sets that pairs of items join (union-find; Galler and Fischer, "An improved equivalence algorithm", CACM 1964)."""

from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")


def join(pairs: Iterable[tuple[Item, Item]]) -> Callable[[Item], Item]:
    """Return a function that gives the representative of an item: that of all items that pairs connect with it."""
    parents: dict[Item, Item] = {}

    def representative(item: Item) -> Item:
        while (parent := parents.setdefault(item, item)) != item:
            parents[item] = parents[parent]
            item = parents[item]
        return item

    for first, second in pairs:
        parents[representative(first)] = representative(second)
    return representative
