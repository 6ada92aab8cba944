"""Drawn book covers: what is on one depends on the kind of the book, the rest on chance.

Nothing of a real cover is in them. Titles in Latin letters stand on theirs; Chinese ones are squares, so that no font
is needed but the one inside Pillow.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 96, 144  # pixels of a finished cover
FINER = 4  # times as many pixels while it is drawn
W, H = WIDTH * FINER, HEIGHT * FINER
Draw = ImageDraw.ImageDraw
Colour = str | tuple[int, int, int]


def cover(kind: str, topic: str, title: str, random: Random) -> Image.Image:
    """RGB, WIDTH x HEIGHT."""
    background, ink, drawing = KINDS[kind]
    drawing = TOPICS.get(topic, drawing)
    image = Image.new("RGB", (W, H), random.choice(background))
    draw = ImageDraw.Draw(image)
    drawing(draw, random)
    _title(draw, title, ink)
    return image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def _title(draw: Draw, title: str, ink: Colour) -> None:
    """Two lines at most at the top."""
    size, left, top = 46, 26, 24
    if not title.isascii():
        for place in range(min(len(title), 12)):
            x, y = left + place % 6 * 58, top + place // 6 * 58
            draw.rectangle((x, y, x + size, y + size), outline=ink, width=6)
            draw.line((x + 8, y + size / 2, x + size - 8, y + size / 2), fill=ink, width=6)
        return
    lines = [""]
    for word in title.split():
        if len(lines[-1]) + len(word) > 15 and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    for place, line in enumerate(lines[:2]):
        draw.text((left, top + place * 52), line, fill=ink, font=ImageFont.load_default(size))


def _circuit(draw: Draw, random: Random) -> None:
    """A chip and its wires."""
    light = random.choice(("#2ee6a6", "#4fc3f7", "#ffd54f"))
    for _ in range(26):
        x, y = random.randrange(1, 12) * 32, random.randrange(6, 17) * 32
        for _ in range(3):
            step = random.choice(((32, 0), (-32, 0), (0, 32), (0, -32), (64, 0), (0, 64)))
            draw.line((x, y, x + step[0], y + step[1]), fill=light, width=7)
            x, y = x + step[0], y + step[1]
        draw.ellipse((x - 11, y - 11, x + 11, y + 11), fill=light)
    draw.rectangle((W / 2 - 75, 290, W / 2 + 75, 440), fill="#101820", outline=light, width=9)


def _network(draw: Draw, random: Random) -> None:
    """Layers of a neural network."""
    light = random.choice(("#4fc3f7", "#ff8a65", "#aed581"))
    sizes = random.sample((3, 4, 5, 6), 3)
    layers = [
        [(70 + 122 * layer, 190 + 340 * (node + 0.5) / size) for node in range(size)]
        for layer, size in enumerate(sizes)
    ]
    for left, right in pairwise(layers):
        for start in left:
            for end in right:
                draw.line((*start, *end), fill="#8899aa", width=4)
    for x, y in (node for layer in layers for node in layer):
        draw.ellipse((x - 22, y - 22, x + 22, y + 22), fill=light, outline="white", width=5)


def _code(draw: Draw, random: Random) -> None:
    """Indented lines."""
    depth = 0
    for line in range(13):
        x = 34 + 34 * depth
        for _ in range(random.randint(1, 3)):
            length = random.randint(30, 110)
            draw.rectangle((x, 180 + 29 * line, x + length, 194 + 29 * line),
                           fill=random.choice(("#7fdbca", "#c792ea", "#ffcb6b", "#82aaff")))  # fmt: skip
            x += length + 16
        depth = max(0, min(4, depth + random.choice((-1, 0, 1, 1))))


def _science(draw: Draw, random: Random) -> None:
    """Stars, and planets around a sun."""
    for _ in range(120):
        x, y, size = random.randrange(W), random.randrange(150, H), random.randint(1, 4)
        draw.ellipse((x - size, y - size, x + size, y + size), fill="white")
    x, y = W / 2 + random.randint(-60, 60), 360 + random.randint(-40, 40)
    for radius in (70, 120, 170):
        draw.ellipse((x - radius, y - radius * 0.6, x + radius, y + radius * 0.6), outline="#c5cae9", width=4)
        angle = random.uniform(0, 2 * math.pi)
        _disc(draw, x + radius * math.cos(angle), y + 0.6 * radius * math.sin(angle), 17, random.choice(WARM))
    _disc(draw, x, y, 40, "#ffd54f")


def _history(draw: Draw, random: Random) -> None:
    """A temple."""
    columns, brown = random.randint(4, 6), "#6d4c41"
    draw.polygon(((40, 290), (W / 2, 190), (W - 40, 290)), fill=brown)
    for column in range(columns):
        x = 60 + (W - 160) * column / (columns - 1)
        draw.rectangle((x, 305, x + 40, 470), fill=brown)
    draw.rectangle((40, 480, W - 40, 520), fill=brown)


def _novel(draw: Draw, random: Random) -> None:
    """A moon over hills."""
    _disc(draw, random.randint(90, W - 90), random.randint(210, 280), random.randint(45, 80), "#fff3d6")
    for place, shade in enumerate(("#5b5f7a", "#40435c", "#262840")):
        start = random.uniform(0, 6)
        points = [(x, 390 + 55 * place + 35 * math.sin(start + x / (60 + 25 * place))) for x in range(0, W + 8, 8)]
        draw.polygon([*points, (W, H), (0, H)], fill=shade)


def _children(draw: Draw, random: Random) -> None:
    """The face of an animal among dots."""
    for _ in range(22):
        _disc(draw, random.randrange(W), random.randrange(150, H), random.randint(10, 24), random.choice(BRIGHT))
    x, y, fur = W / 2, 390, random.choice(("#8d6e63", "#ffb74d", "#bdbdbd", "#f48fb1"))
    for side in (-1, 1):
        _disc(draw, x + side * 90, y - 100, 50, fur)
    _disc(draw, x, y, 125, fur)
    for side in (-1, 1):
        _disc(draw, x + side * 48, y - 30, 17, "black")
    draw.arc((x - 55, y - 10, x + 55, y + 70), 20, 160, fill="black", width=10)


def _cooking(draw: Draw, random: Random) -> None:
    """A bowl that steams, or a plate with fork and knife."""
    if random.random() < 0.5:
        for x in (130, 190, 250):
            points = [(x + 16 * math.sin(step / 14), 200 + step) for step in range(0, 120, 4)]
            draw.line(points, fill="white", width=9)
        draw.pieslice((50, 230, W - 50, 520), 0, 180, fill=random.choice(WARM))
        draw.ellipse((50, 340, W - 50, 410), fill="#fff8e1")
    else:
        for radius, shade in ((140, "white"), (100, "#eceff1"), (62, random.choice(WARM))):
            _disc(draw, W / 2, 370, radius, shade)
        for x in (26, W - 26):
            draw.line((x, 250, x, 500), fill="#455a64", width=14)


def _philosophy(draw: Draw, random: Random) -> None:
    """A spiral."""
    turns = random.uniform(3, 5)
    points = []
    for step in range(300):
        angle, radius = 2 * math.pi * turns * step / 300, 150 * step / 300
        points.append((W / 2 + radius * math.cos(angle), 360 + radius * math.sin(angle)))
    draw.line(points, fill="#424242", width=8)


def _economics(draw: Draw, random: Random) -> None:
    """Bars, and a line above them."""
    level, tops = 80.0, []
    for bar in range(7):
        level = max(40, level + random.randint(-25, 70))
        x, y = 36 + 47 * bar, 520 - min(level, 290)
        draw.rectangle((x, y, x + 34, 520), fill=random.choice(("#1565c0", "#2e7d32")))
        tops.append((x + 17, y - 24))
    draw.line(tops, fill="#c62828", width=9)


def _psychology(draw: Draw, random: Random) -> None:
    """An ink blot, the same on both sides."""
    for _ in range(34):
        x, y, size = random.randint(0, 130), random.randint(200, 510), random.randint(12, 42)
        for side in (-1, 1):
            _disc(draw, W / 2 + side * x, y, size, "#1a1a2e")


def _art(draw: Draw, random: Random) -> None:
    """Broad strokes of a brush."""
    for _ in range(16):
        x, y, angle = random.randrange(W), random.randrange(190, H), random.uniform(0, math.pi)
        dx, dy = 110 * math.cos(angle), 110 * math.sin(angle)
        draw.line((x - dx, y - dy, x + dx, y + dy), fill=random.choice(BRIGHT), width=random.randint(24, 56))


def _travel(draw: Draw, random: Random) -> None:
    """Mountains, a sun and a road."""
    _disc(draw, random.randint(70, W - 70), 215, 44, "#fff176")
    for _ in range(4):
        x, top = random.randint(40, W - 40), random.randint(230, 310)
        draw.polygon(((x - 150, 430), (x, top), (x + 150, 430)), fill="#546e7a")
        draw.polygon(((x - 38, top + 50), (x, top), (x + 38, top + 50)), fill="white")
    draw.rectangle((0, 425, W, H), fill="#7cb342")
    draw.polygon(((W / 2 - 14, 425), (W / 2 + 14, 425), (W / 2 + 110, H), (W / 2 - 110, H)), fill="#616161")


def _medicine(draw: Draw, random: Random) -> None:
    """A red cross over the curve of a heart."""
    x, y = W / 2, 290
    draw.rectangle((x - 32, y - 90, x + 32, y + 90), fill="#d32f2f")
    draw.rectangle((x - 90, y - 32, x + 90, y + 32), fill="#d32f2f")
    points, at = [(0.0, 470.0)], 0.0
    while at < W:
        at += random.randint(60, 110)
        points += [(at - 24, 470), (at - 10, 420), (at, 530), (at + 12, 470)]
    draw.line(points, fill="#00838f", width=9)


def _sports(draw: Draw, random: Random) -> None:
    """A ball on a field."""
    for y in range(190, H, 70):
        draw.line((0, y, W, y), fill="#c8e6c9", width=6)
    x, y = random.randint(130, W - 130), random.randint(310, 430)
    _disc(draw, x, y, 100, random.choice(("#ff7043", "#cddc39", "white")))
    draw.arc((x - 190, y - 100, x - 20, y + 100), 300, 60, fill="black", width=8)
    draw.arc((x + 20, y - 100, x + 190, y + 100), 120, 240, fill="black", width=8)
    draw.line((x, y - 100, x, y + 100), fill="black", width=8)


def _poetry(draw: Draw, random: Random) -> None:
    """A branch with leaves."""
    draw.arc((-200, 180, W - 40, 900), 270, 360, fill="#33691e", width=9)
    for _ in range(18):
        angle = math.radians(random.uniform(275, 350))
        x, y = (W - 240) / 2 + 180 * math.cos(angle) + 90, 540 + 340 * math.sin(angle)
        length = random.randint(36, 64)
        draw.ellipse((x, y, x + length, y + length / 2), fill=random.choice(("#558b2f", "#9ccc65", "#ef9a9a")))


def _disc(draw: Draw, x: float, y: float, radius: float, fill: Colour) -> None:
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


WARM = ("#e65100", "#bf360c", "#fbc02d", "#8bc34a")
BRIGHT = ("#e53935", "#fdd835", "#43a047", "#1e88e5", "#8e24aa", "#fb8c00")
KINDS: dict[str, tuple[Sequence[str], str, Callable[[Draw, Random], None]]] = {  # backgrounds, ink, drawing
    "technology": (("#0d1b2a", "#1b263b", "#102027"), "white", _circuit),
    "science": (("#000018", "#1a0033", "#00101f"), "#fff9c4", _science),
    "history": (("#efe0b9", "#e6d3a3", "#f3e9d2"), "#4e342e", _history),
    "novel": (("#9fa8da", "#b39ddb", "#ce93d8"), "#1a1a2e", _novel),
    "children": (("#fff59d", "#b3e5fc", "#ffccbc"), "#ad1457", _children),
    "cooking": (("#ffcc80", "#ffab91", "#e6ee9c"), "#3e2723", _cooking),
    "philosophy": (("#f5f5f5", "#e0e0e0", "#eceff1"), "#212121", _philosophy),
    "economics": (("#ffffff", "#f1f8e9", "#e3f2fd"), "#0d47a1", _economics),
    "psychology": (("#fafafa", "#fce4ec", "#ede7f6"), "#1a1a2e", _psychology),
    "art": (("#fffde7", "#eeeeee", "#d7ccc8"), "#212121", _art),
    "travel": (("#81d4fa", "#4dd0e1", "#ffe0b2"), "#01579b", _travel),
    "medicine": (("#ffffff", "#e0f7fa", "#e0f2f1"), "#006064", _medicine),
    "sports": (("#388e3c", "#2e7d32", "#1b5e20"), "white", _sports),
    "poetry": (("#fdf6e3", "#f1f8e9", "#fbe9e7"), "#33691e", _poetry),
}
LEARNING = (
    "人工智能",
    "机器学习",
    "推荐系统",
    "artificial intelligence",
    "machine learning",
    "computer vision",
    "robotics",
)
PROGRAMS = ("编程", "软件工程", "数据库", "计算机", "programming", "software engineering", "databases", "algorithms")
TOPICS: dict[str, Callable[[Draw, Random], None]] = dict.fromkeys(LEARNING, _network) | dict.fromkeys(PROGRAMS, _code)
