"""The shapes of a chart, as values: what `layout` makes and the template draws. Across in percent, down in pixels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """A bar of the class *name*, or, where there is *text*, as much of that as fits into one."""

    x: float
    width: float
    y: int
    height: int
    name: str = ""
    text: str = ""
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """A caption, the word above an overlap, or a mark of the axis for *at_ms*; *name* is its class."""

    name: str
    x: float
    y: int
    text: str
    at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Edge:
    """A line from a wait up to the run that kept it waiting, where that one let it go."""

    x: float
    top: int
    y: int


@dataclass(frozen=True, slots=True)
class Item:
    """A hold, a wait, a reservation, an overlap, a time when the board was closed. *link* leads to its run."""

    name: str
    title: str
    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...] = ()
    is_open: bool = False
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    """All of a chart, in the order of drawing. *depth* is the graph of how many waited: title, place, path.

    *legend* has the keys of what is drawn, of `app.web.charts.legend`.
    """

    title: str
    description: str
    height: int
    step_ms: int
    ticks: tuple[Text, ...]
    items: tuple[Item, ...]
    depth: tuple[str, int, str] | None
    texts: tuple[Text, ...]
    legend: tuple[str, ...] = ()
