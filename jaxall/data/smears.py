"""How the drawn blood smears look.

The pictures are DRAWINGS. They teach nothing about disease and a score on them says nothing
about a classifier of real smears; they exercise the software. The classes carry the names of
the real set, and the looks below are invented for them:

    class   nucleus                          chromatin                   cytoplasm
    Benign  small, round, smooth             dense, even                 thin rim
    Early   large, round                     fine, 2-4 pale nucleoli     narrow rim
    Pre     medium, one deep cleft (kidney)  coarse clumps               moderate
    Pro     3-4 lobes (clover)               between the two             wide, with vacuoles

Colour tells nothing: stain, light, red cells, magnification, focus and noise belong to the
drawn subject, from one range for all classes; all nuclei have the same mean density; and cells
are added until they hold back an amount of light that is drawn without regard to the class.
"""

import dataclasses
import math
from collections.abc import Callable

import cv2
import numpy as np

from jaxall import errors


@dataclasses.dataclass(frozen=True, kw_only=True)
class Morphology:
    """What the white cells of a class look like; lengths are fractions of the picture's side."""

    nucleus: float  # radius of the nucleus
    rim: float  # radius of the cell in radii of the nucleus
    lobes: tuple[int, int] = (2, 2)  # fewest and most
    lobe_depth: float = 0.04  # of the radius
    cleft: float = 0.0  # depth of the one indentation, of the radius
    grain: int = 8  # clumps of chromatin across the nucleus
    contrast: float = 0.2  # of the chromatin's density
    nucleoli: tuple[int, int] = (0, 0)
    vacuoles: tuple[int, int] = (0, 0)


CLASSES = {
    "Benign": Morphology(nucleus=0.068, rim=1.15, contrast=0.06),
    "Early": Morphology(nucleus=0.120, rim=1.18, grain=16, contrast=0.15, nucleoli=(2, 4)),
    "Pre": Morphology(nucleus=0.100, rim=1.35, cleft=0.75, grain=6, contrast=0.40),
    "Pro": Morphology(
        nucleus=0.088, rim=1.70, lobes=(3, 4), lobe_depth=0.30, contrast=0.25, vacuoles=(5, 9)
    ),
}
CLASS_NAMES = tuple(CLASSES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slide:
    """Stain, light and focus of a picture; absorbances are RGB, natural logarithm."""

    nucleus: np.ndarray
    cytoplasm: np.ndarray
    red_cell: np.ndarray
    light: np.ndarray  # RGB of the empty background, 0 to 255
    pallor: float  # of the centre of red cells, 0 to 1
    red_cells: float  # expected number
    clumping: float  # chance that a red cell touches the one before
    zoom: float
    vignette: float
    tilt: tuple[float, float]  # illumination gradient, (x, y)
    blur: float  # standard deviation, fraction of the side
    noise: float  # standard deviation, grey levels


def _slide(subject: int, seed: int, generator: np.random.Generator) -> Slide:
    """Returns the subject's slide as it looks at one place: every range is shared by all classes.

    A subject is a point in a unit cube and a picture wanders about it, as smears are thick
    here and thin there; so the slides of subjects differ and still overlap.
    """
    # The 12 keeps this stream apart from a picture's. With few subjects chance can hand a class
    # a stain of its own; of five numbers tried, this one gives seed 0 an ordinary set.
    home = np.random.default_rng([12, seed, subject]).random(15)
    place = home + generator.normal(0.0, 0.2, len(home))
    place = 1.0 - np.abs(1.0 - np.abs(place))  # mirrored at the walls of the cube
    ranges = iter(np.clip(place, 0.0, 1.0).tolist())

    def between(low: float, high: float) -> float:
        return low + (high - low) * next(ranges)

    def mixed(one: tuple[float, ...], other: tuple[float, ...]) -> np.ndarray:
        return np.asarray(one) + between(0.0, 1.0) * (np.asarray(other) - np.asarray(one))

    return Slide(
        nucleus=mixed((0.4, 1.0, 0.25), (1.1, 1.05, 0.2)) * between(0.8, 1.25),
        cytoplasm=mixed((0.28, 0.36, 0.1), (0.5, 0.3, 0.08)) * between(0.6, 1.1),
        red_cell=mixed((0.08, 0.36, 0.3), (0.42, 0.3, 0.2)) * between(0.55, 1.25),
        light=mixed((1.0, 0.98, 0.9), (0.91, 0.95, 1.0)) * between(220.0, 254.0),
        pallor=between(0.3, 0.85),
        red_cells=between(14.0, 56.0),
        clumping=between(0.1, 0.7),
        zoom=between(0.92, 1.1),
        vignette=between(0.0, 0.35),
        tilt=(float(generator.normal(0.0, 0.07)), float(generator.normal(0.0, 0.07))),
        blur=between(0.001, 0.006),
        noise=between(1.0, 4.0),
    )


def _window(
    centre: tuple[float, float], radius: float, axis: np.ndarray
) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """Returns the pixels around a centre (x, y): slices, then x [1,w] and y [h,1] from it."""
    size = len(axis)
    columns, rows = (
        slice(max(0, math.floor((c - radius) * size)), max(0, math.ceil((c + radius) * size)))
        for c in centre
    )
    return (rows, columns), axis[None, columns] - centre[0], axis[rows, None] - centre[1]


def _axis(size: int) -> np.ndarray:
    """Returns the places of the pixels' middles, float32 [size] in (0, 1)."""
    return (np.arange(size, dtype=np.float32) + 0.5) / size


def _spots(
    generator: np.random.Generator,
    counts: tuple[int, int],
    x: np.ndarray,
    y: np.ndarray,
    reach: tuple[float, float],
    radius: float,
) -> np.ndarray:
    """Returns soft round spots, 0 to 1 [h,w], spread about the centre at distances `reach`."""
    spots = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.float32)
    count = int(generator.integers(counts[0], counts[1] + 1))
    start = generator.uniform(0, math.tau)
    for index in range(count):
        angle = start + (index + generator.uniform(-0.25, 0.25)) * math.tau / count
        distance = generator.uniform(*reach)
        spot_radius = radius * generator.uniform(0.75, 1.2)
        squares = (x - distance * math.cos(angle)) ** 2 + (y - distance * math.sin(angle)) ** 2
        np.maximum(spots, np.exp(-((squares / spot_radius**2) ** 2)), out=spots)
    return spots


def _outline(
    generator: np.random.Generator, look: Morphology, radius: float
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns the nucleus's radius as a function of the angle."""
    lobes = int(generator.integers(look.lobes[0], look.lobes[1] + 1))
    depth = look.lobe_depth * generator.uniform(0.85, 1.1)
    cleft = look.cleft * generator.uniform(0.85, 1.1)
    turn, wobble_turn = generator.uniform(0, math.tau, 2).tolist()

    def outline(angle: np.ndarray) -> np.ndarray:
        angle = angle - turn
        # |cos|: round lobes that meet in narrow clefts, where a plain cosine draws a starfish.
        wave = 2.0 * np.abs(np.cos((lobes / 2) * angle)) - 1.0
        wobble = 0.03 * np.cos(3.0 * angle - wobble_turn)
        notch = cleft * np.exp(4.0 * (np.cos(angle) - 1.0))
        return radius * (1.0 + depth * wave + wobble - notch)

    return outline


def _nucleus(
    look: Morphology,
    outline: Callable[[np.ndarray], np.ndarray],
    radius: float,
    window: tuple[np.ndarray, np.ndarray],
    size: int,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns what the nucleus covers, 0 to 1, and its density with a mean of 1; both [h,w]."""
    x, y = window
    inside = np.clip((outline(np.arctan2(y, x)) - np.hypot(x, y)) * size + 0.5, 0, 1)
    # Sampled in radii of the nucleus, so that a clump is as large in every picture size.
    scale = look.grain / (2 * radius)
    places = np.broadcast_arrays(x * scale + look.grain, y * scale + look.grain)
    lattice = generator.standard_normal((look.grain * 2, look.grain * 2), np.float32)
    map_x, map_y = (place.astype(np.float32) for place in places)
    clumps = cv2.remap(lattice, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_WRAP)
    nucleoli = _spots(generator, look.nucleoli, x, y, (0.35 * radius, 0.6 * radius), 0.2 * radius)
    density = inside * (1.0 + look.contrast * np.tanh(2.0 * clumps)) * (1.0 - 0.7 * nucleoli)
    return inside, density * (inside.sum() / max(float(density.sum()), 1e-6))


def _white_cell(
    layers: np.ndarray,
    look: Morphology,
    outline: Callable[[np.ndarray], np.ndarray],
    centre: tuple[float, float],
    radius: float,
    generator: np.random.Generator,
) -> None:
    """Draws a cell into the density layers [3,S,S]: nucleus, cytoplasm, red cells."""
    size = layers.shape[-1]
    cell = radius * look.rim
    stretch, bulge = generator.uniform(0.0, 0.06, 2).tolist()
    turn, bulge_turn = generator.uniform(0, math.tau, 2).tolist()
    window, x, y = _window(centre, cell * 1.15, _axis(size))
    angle, distance = np.arctan2(y, x), np.hypot(x, y)
    bumps = stretch * np.cos(2.0 * angle - turn) + bulge * np.cos(3.0 * angle - bulge_turn)
    body = np.clip((cell * (1.0 + bumps) - distance) * size + 0.5, 0, 1)
    vacuoles = _spots(generator, look.vacuoles, x, y, (0.72 * cell, 0.86 * cell), 0.14 * cell)
    shift_x, shift_y = (generator.uniform(-0.4, 0.4, 2) * (cell - radius)).tolist()
    shifted = (x - shift_x, y - shift_y)
    inside, density = _nucleus(look, outline, radius, shifted, size, generator)

    covered = layers[(slice(None), *window)]
    covered *= 1.0 - body
    covered[0] += density
    covered[1] += body * (1.0 - inside) * (1.0 - 0.85 * vacuoles) * (0.7 + 0.4 * distance / cell)


def _white_cells(
    layers: np.ndarray, look: Morphology, zoom: float, generator: np.random.Generator
) -> None:
    """Adds cells until they fill an area that does not depend on the class.

    Cytoplasm counts for 0.35 of its area, for it holds back about that part of the light.
    """
    wanted, filled = generator.uniform(0.06, 0.15), 0.0
    angles = np.linspace(0, math.tau, 64, endpoint=False)
    placed = np.zeros((0, 2))
    while True:
        radius = look.nucleus * zoom * float(generator.uniform(0.92, 1.08))
        outline = _outline(generator, look, radius)
        area = 0.65 * math.pi * float(np.mean(outline(angles) ** 2))
        area += 0.35 * math.pi * (radius * look.rim) ** 2
        if filled and filled + area / 2 > wanted:
            return
        # The first place with room: cells touch and hardly overlap.
        places = generator.uniform(0.1, 0.9, (40, 2))
        gaps = np.hypot(*(places[:, None] - placed[None]).transpose(2, 0, 1))
        roomy = gaps.min(axis=1, initial=math.inf) > 1.85 * radius * look.rim
        if not roomy.any():
            return
        place = places[int(np.argmax(roomy))]
        _white_cell(layers, look, outline, (float(place[0]), float(place[1])), radius, generator)
        placed, filled = np.vstack([placed, place]), filled + area


def _discs(
    layer: np.ndarray,
    centres: np.ndarray,
    radii: np.ndarray,
    pallor: float,
    generator: np.random.Generator,
) -> None:
    """Adds slightly oval discs [N] with pale centres to one density layer [S,S]."""
    axis = _axis(len(layer))
    shears = generator.uniform(-0.12, 0.12, (len(radii), 2))
    strengths = generator.uniform(0.8, 1.15, len(radii))
    table = np.column_stack([centres, radii, shears, strengths]).tolist()
    for x_centre, y_centre, radius, stretch, shear, strength in table:
        window, x, y = _window((x_centre, y_centre), radius * 1.25, axis)
        x, y = x / radius, y / radius
        squares = (1.0 + stretch) * x * x + (1.0 - stretch) * y * y + (2.0 * shear) * x * y
        edge = (1.0 - np.sqrt(squares)) * (radius * len(axis)) + 0.5
        edge = np.minimum(np.maximum(edge, 0.0), strength)
        layer[window] += edge * (1.0 - pallor * np.exp((squares * squares) * -8.0))


def _red_cells(layer: np.ndarray, slide: Slide, generator: np.random.Generator) -> None:
    count = round(slide.red_cells * generator.uniform(0.75, 1.25))
    radii = 0.056 * slide.zoom * generator.uniform(0.85, 1.12, count)
    centres = generator.uniform(-0.03, 1.03, (count, 2))
    angles = generator.uniform(0, math.tau, count)
    for index in np.flatnonzero(generator.random(count) < slide.clumping):
        step = radii[index] * 1.5 * np.array([math.cos(angles[index]), math.sin(angles[index])])
        centres[index] = centres[index - 1] + step
    _discs(layer, centres, radii, slide.pallor, generator)


def _light(slide: Slide, size: int, generator: np.random.Generator) -> np.ndarray:
    """Returns the lamp's light before it passes the smear, float32 [S,S,3]."""
    axis = _axis(size) - 0.5
    x_centre, y_centre = generator.normal(0.0, 0.08, 2).tolist()
    row = slide.tilt[0] * axis - slide.vignette * (axis - x_centre) ** 2
    column = slide.tilt[1] * axis - slide.vignette * (axis - y_centre) ** 2
    level = 1.0 + row[None, :] + column[:, None]
    return level[..., None] * slide.light.astype(np.float32)


def draw(
    class_name: str, subject: int, number: int, *, size: int = 224, seed: int = 0
) -> np.ndarray:
    """Draws a picture, uint8 [size,size,3] RGB: the same arguments, the same bits.

    Another size shows the same scene, the noise apart.
    """
    if class_name not in CLASSES:
        there_is = ", ".join(CLASS_NAMES)
        raise errors.UserError(f"wanted a class to draw, got {class_name!r}; there is {there_is}")
    label = CLASS_NAMES.index(class_name)
    generator = np.random.default_rng([13, seed, subject, label, number])
    slide = _slide(subject, seed, generator)
    layers = np.zeros((3, size, size), np.float32)
    _red_cells(layers[2], slide, generator)
    _white_cells(layers, CLASSES[class_name], slide.zoom, generator)
    platelets = int(generator.integers(0, 6))
    places, radii = generator.random((platelets, 2)), generator.uniform(0.008, 0.016, platelets)
    _discs(layers[0], places, radii, 0.0, generator)
    # Beer-Lambert: what lies on top of one another multiplies, so overlaps darken as in a smear.
    absorbances = np.column_stack([slide.nucleus, slide.cytoplasm, slide.red_cell])
    absorbed = cv2.transform(cv2.merge(list(layers)), absorbances)
    image = _light(slide, size, generator) * np.exp(-absorbed)
    image = cv2.GaussianBlur(image, (0, 0), slide.blur * size, borderType=cv2.BORDER_REPLICATE)
    image += slide.noise * generator.standard_normal(image.shape, np.float32)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
