"""The SVG of a chart: its layout, drawn by a template."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from app.domain.wording import Names
from app.web.charts.layout import AXIS, DEPTH, LinkTo, lay_out
from app.web.charts.shapes import Chart
from app.web.charts.track import COLUMNS, Track

# Its own environment: a report and a test draw without a request.
_TEMPLATE = Environment(loader=PackageLoader("app.web"), autoescape=True).get_template("_svg.html")


def chart(track: Track, names: Names, link_to: LinkTo, *, key: str, by_blocker: bool = False) -> Markup:
    """The SVG of a track, as `draw` makes it."""
    return draw(lay_out(track, names, link_to, by_blocker=by_blocker), track, key=key)


def draw(chart: Chart, track: Track, *, key: str) -> Markup:
    """The SVG of a layout.

    Args:
        key: Makes the ids in it unique in the page.
    """
    return Markup(
        _TEMPLATE.render(chart=chart, window=track.window, key=key, axis=AXIS, columns=COLUMNS, depth_height=DEPTH)
    )
