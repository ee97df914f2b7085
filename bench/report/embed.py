#!/usr/bin/env python3
"""Makes a file part of the program: embed.py FILE HEADER NAME writes a header with the bytes of
FILE as the array NAME. Numbers, since a string literal of that length is not portable C.

A line {{PIECE}} of FILE stands for the file PIECE beside it."""

import pathlib
import re
import sys

PER_LINE = 24
PIECE = re.compile(rb'^\{\{(.*)\}\}\n', re.M)


def joined(path):
    def piece(found):
        return path.with_name(found.group(1).decode()).read_bytes()
    return PIECE.sub(piece, path.read_bytes())


def main(source, header, name):
    data = joined(pathlib.Path(source))
    if not data:
        sys.exit(f'embed.py: {source} is empty')
    with open(header, 'w', encoding='ascii') as f:
        f.write('#pragma once\n\n')
        f.write(f'static const unsigned char {name}[{len(data)}] = {{\n')
        for at in range(0, len(data), PER_LINE):
            f.write(','.join(str(b) for b in data[at:at + PER_LINE]) + ',\n')
        f.write('};\n')


if __name__ == '__main__':
    main(*sys.argv[1:])
