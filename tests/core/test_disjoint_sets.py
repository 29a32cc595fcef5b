"""Sets that pairs join, compared with the connected components of a graph by SciPy."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from crackdet.core.disjoint_sets import join

NUMBER = 10
ITEMS = st.integers(0, NUMBER - 1)


@given(st.lists(st.tuples(ITEMS, ITEMS)))
def test_items_have_one_representative_if_pairs_connect_them(pairs: list[tuple[int, int]]) -> None:
    representatives = list(map(join(pairs), range(NUMBER)))
    graph = np.zeros((NUMBER, NUMBER))
    for first, second in pairs:
        graph[first, second] = 1
    _, components = connected_components(graph, directed=False)
    same = np.array(representatives)[:, None] == representatives
    assert np.array_equal(same, components[:, None] == components)
