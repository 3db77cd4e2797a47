"""Names next to points, kept apart as far as a simple pass can."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from tasks.report.plots.style import ACTUAL, QUIET

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.font_manager import FontProperties

AWAY = (3, 10, 22, 34, 48, 64)  # distances in points between a name and its dot, nearest first
DIRECTIONS = (0, 30, -30, 180, 150, -150, 60, -60, 90, -90, 120, -120)  # degrees, best first

Spot = tuple[float, float]
Box = tuple[float, float, float, float]  # left, bottom, right, top in points


class Point(NamedTuple):
    """A dot with a name, in the units of the data; `radius` in points."""

    x: float
    y: float
    text: str
    bold: bool
    radius: float


def name_points(ax: "Axes", points: Sequence[Point], lines: Sequence[tuple[Spot, Spot]], size: float = 8) -> None:
    """A name next to each point, bold ones first, each where it covers least; moved ones get a thin leader.

    `lines`: horizontal or vertical ones, from and to, that names avoid.  The layout must be final: call
    `draw_without_rendering` before.
    """
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    scale = 72 / float(ax.get_figure(root=True).dpi)  # type: ignore[union-attr]
    left, bottom, right, top = (scale * value for value in ax.bbox.extents)

    def spot(x: float, y: float) -> Spot:
        across, up = (float(scale * value) for value in ax.transData.transform((x, y)))
        return min(max(across, left), right), min(max(up, bottom), top)

    dots = [spot(point.x, point.y) for point in points]
    taken = [box(*dot, 2 * point.radius, 2 * point.radius) for dot, point in zip(dots, points, strict=True)]
    for (x0, y0), (x1, y1) in ((spot(*start), spot(*end)) for start, end in lines):
        taken.append((min(x0, x1) - 1, min(y0, y1) - 1, max(x0, x1) + 1, max(y0, y1) + 1))
    for point, dot in sorted(zip(points, dots, strict=True), key=lambda pair: not pair[0].bold):
        font = FontProperties(size=size, weight="bold" if point.bold else "normal")
        width, height, _ = text_to_path.get_text_width_height_descent(point.text, font, ismath=False)
        width, height = 1.06 * width, 1.25 * height  # letters snapped to pixels are wider than drawn
        here, away = beside(dot, point.radius, width, height, taken, (left, bottom, right, top))
        taken.append(box(*here, width, height))
        _annotate(ax, point, (here[0] - dot[0], here[1] - dot[1]), away > AWAY[0], font)


def _annotate(ax: "Axes", point: Point, offset: Spot, led: bool, font: "FontProperties") -> None:
    leader = {"arrowstyle": "-", "color": QUIET, "lw": 0.6, "shrinkA": 0, "shrinkB": point.radius} if led else None
    at = {"textcoords": "offset points", "ha": "center", "va": "center", "zorder": 5}
    name = ax.annotate(point.text, (point.x, point.y), offset, arrowprops=leader, color=ACTUAL, **at)  # type: ignore[arg-type]
    name.set_fontproperties(font)


def beside(dot: Spot, radius: float, width: float, height: float, taken: Sequence[Box], frame: Box) -> tuple[Spot, float]:
    """The centre of a dot's name, and its distance: the nearest position that covers least."""
    best, nearest = math.inf, (dot, 0.0)
    for rank, (away, degrees) in enumerate((away, degrees) for away in AWAY for degrees in DIRECTIONS):
        across = math.cos(math.radians(degrees)) * (radius + away + width / 2)
        up = math.sin(math.radians(degrees)) * (radius + away + height / 2)
        here = box(dot[0] + across, dot[1] + up, width, height)
        outside = width * height - overlap(here, frame)
        covered = 3 * outside + sum(overlap(here, other) for other in taken)
        if covered + 0.1 * rank < best:
            best, nearest = covered + 0.1 * rank, ((dot[0] + across, dot[1] + up), away)
        if not covered:
            break  # later ones are further away
    return nearest


def box(x: float, y: float, width: float, height: float) -> Box:
    """The box around a point, as (left, bottom, right, top)."""
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def overlap(box: Box, other: Box) -> float:
    """The area shared by two boxes."""
    across = min(box[2], other[2]) - max(box[0], other[0])
    return max(across, 0.0) * max(min(box[3], other[3]) - max(box[1], other[1]), 0.0)
