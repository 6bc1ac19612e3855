"""The SVG of a chart: its layout, drawn by a template."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from app.domain.wording import Names
from app.web.charts.layout import AXIS, DEPTH, LinkTo, lay_out
from app.web.charts.track import COLUMNS, Track

# Its own environment: a report and a test draw without a request.
_TEMPLATE = Environment(loader=PackageLoader("app.web"), autoescape=True).get_template("_svg.html")


def chart(track: Track, names: Names, link_to: LinkTo, *, key: str, by_blocker: bool = False) -> Markup:
    """The SVG of a track.

    Args:
        key: Makes the ids in it unique in the page.
        by_blocker: Waits are labelled with whom they were for; for a chart of one run.
    """
    drawn = lay_out(track, names, link_to, by_blocker=by_blocker)
    return Markup(
        _TEMPLATE.render(chart=drawn, window=track.window, key=key, axis=AXIS, columns=COLUMNS, depth_height=DEPTH)
    )
