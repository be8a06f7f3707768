"""Cycles of a graph."""

from __future__ import annotations


def cycles(graph: dict[str, list[str]]) -> list[list[str]]:
    """One cycle of each knot of a graph, each from its first node in the order of ``graph``."""
    state: dict[str, int] = {}
    result: list[list[str]] = []
    for root in graph:
        if root in state:
            continue
        trail: list[str] = [root]
        stack = [iter(graph[root])]
        state[root] = 1
        while stack:
            for node in stack[-1]:
                if node not in state:
                    state[node] = 1
                    trail.append(node)
                    stack.append(iter(graph[node]))
                    break
                if state[node] == 1:
                    result.append(trail[trail.index(node) :])
            else:
                state[trail.pop()] = 2
                stack.pop()
    return result
