# SPDX-License-Identifier: MIT-0
"""What a picture of attn heatmap shows, for tests/heatmap.sh.

picture.py spike ROWS COLUMNS ROW COLUMN FILE     writes an .npy file: 1e-6, but 1 at one place
picture.py noise ROWS COLUMNS FILE                ... random weights, so that nothing repeats
picture.py xml SVG                                is it well-formed? prints what elements there are
picture.py cells SVG                              x, y, colour and tip of each cell
picture.py map SVG                                checks cells against the colour map
picture.py darkest SVG                            how many cells are darkest; the row and column of the first
picture.py size SVG|PNG                           in pixels
picture.py pixel PNG X Y                          its colour
picture.py terminal COMMAND...                    what it prints to a terminal
"""
import random
import re
import struct
import sys
import xml.dom.minidom
import zlib


def npy(path, rows, columns, values):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }" % (rows, columns)
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00\x76\x00" + header.ljust(117).encode() + b"\n")
        f.write(struct.pack("<%df" % (rows * columns), *values))


def spike(rows, columns, row, column, path):
    values = [1e-6] * (rows * columns)
    values[row * columns + column] = 1
    npy(path, rows, columns, values)


def noise(rows, columns, path):
    source = random.Random(1)
    npy(path, rows, columns, [source.random() for _ in range(rows * columns)])


def png(data):
    """(width, height, rows of colours): checks signature, checksums and sizes."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n", "no PNG"
    at, chunks = 8, {}
    while at < len(data):
        length, name = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length:at + 12 + length])[0] == zlib.crc32(name + body), name
        chunks[name] = chunks.get(name, b"") + body
        at += 12 + length
    assert at == len(data) and list(chunks)[0] == b"IHDR" and list(chunks)[-1] == b"IEND"
    width, height, *kind = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert kind == [8, 2, 0, 0, 0]
    raw = zlib.decompress(chunks[b"IDAT"])
    stride = 3 * width + 1
    assert len(raw) == height * stride and not any(raw[::stride]), "a filter"
    return width, height, [[raw[i:i + 3].hex() for i in range(y * stride + 1, (y + 1) * stride, 3)]
                           for y in range(height)]


def matrix(path):
    """Colours by (row, column) of the cells of an SVG that are drawn as runs: each is drawn once."""
    group, = (g for g in xml.dom.minidom.parse(path).getElementsByTagName("g") if g.getAttribute("class") == "cells")
    found = {}
    for run in group.getElementsByTagName("path"):
        x = y = 0
        for move, dx, dy, length in re.findall(r"([Mm])(-?\d+) ([\d.]+)h(\d+)", run.getAttribute("d")):
            x, y = (int(dx), float(dy) - 0.5) if move == "M" else (x + int(dx), y + int(dy))
            for column in range(x, x + int(length)):
                assert (y, column) not in found, (y, column)
                found[y, column] = run.getAttribute("stroke")[1:]
            x += int(length)
    return found


def lightness(rgb):
    """L of OKLab (Ottosson 2020); rises with each of red, green and blue."""
    r, g, b = (x / 255 / 12.92 if x / 255 <= 0.04045 else ((x / 255 + 0.055) / 1.055) ** 2.4 for x in rgb)
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    medium = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return 0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short


def channels(colour):
    return tuple(bytes.fromhex(colour))


def cells(path):
    """(x, y, colour, tip) of rectangles that have a tip."""
    found = []
    for rect in xml.dom.minidom.parse(path).getElementsByTagName("rect"):
        tips = rect.getElementsByTagName("title")
        if tips:
            found.append((int(rect.getAttribute("x")), int(rect.getAttribute("y")), rect.getAttribute("fill")[1:],
                          tips[0].firstChild.data))
    return found


def check_map(path):
    """The largest weight is darkest, more is never lighter, and where a weight is a multiple of an eighth of the
    largest, the lightness has gone that part of the way from 0.98 to 0.24."""
    shades = sorted((float(tip.rsplit(": ", 1)[1]), channels(colour)) for _, _, colour, tip in cells(path))
    values = [lightness(colour) for _, colour in shades]
    assert values == sorted(values, reverse=True), values
    top = shades[-1][0]
    checked = set()
    for weight, colour in shades:
        eighths = 8 * weight / top
        if eighths != int(eighths):
            continue
        wanted = 0.98 - 0.74 * eighths / 8
        # a colour is rounded to whole channels, by up to a half each
        low, high = ([max(0, x + half) for x in colour] for half in (-0.5, 0.5))
        assert lightness(low) <= wanted <= lightness(high), (weight, colour)
        checked.add(eighths)
    assert len(checked) == 9, checked


def darkest(path):
    """(row, column) of the cells of an SVG that are drawn as runs."""
    colours = matrix(path)
    rows, columns = (1 + max(place[axis] for place in colours) for axis in (0, 1))
    assert len(colours) == rows * columns, "a gap"
    values = {colour: lightness(channels(colour)) for colour in set(colours.values())}
    least = min(values, key=values.get)
    return [place for place, colour in colours.items() if colour == least]


def size(path):
    data = open(path, "rb").read()
    if data[:1] == b"<":
        svg = xml.dom.minidom.parseString(data).documentElement
        return svg.getAttribute("width"), svg.getAttribute("height")
    return png(data)[:2]


def terminal(command):
    import pty  # only here, as not all systems have it
    return pty.spawn(command)


def main(command, *rest):
    if command == "spike":
        spike(*map(int, rest[:4]), rest[4])
    elif command == "noise":
        noise(*map(int, rest[:2]), rest[2])
    elif command == "xml":
        names = [e.tagName for e in xml.dom.minidom.parse(rest[0]).getElementsByTagName("*")]
        print(" ".join("%s:%d" % (name, names.count(name)) for name in sorted(set(names))))
    elif command == "cells":
        for cell in cells(rest[0]):
            print(*cell)
    elif command == "map":
        check_map(rest[0])
    elif command == "darkest":
        places = darkest(rest[0])
        print(len(places), *map(int, places[0]))
    elif command == "size":
        print(*size(rest[0]))
    elif command == "pixel":
        print(png(open(rest[0], "rb").read())[2][int(rest[2])][int(rest[1])])
    elif command == "terminal":
        return terminal(list(rest))
    return 0


sys.exit(main(*sys.argv[1:]))
