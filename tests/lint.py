"""What `./dev lint` proves of the C sources beyond layout and warnings; run from the top folder.

    python3 tests/lint.py FOLDER...

- No cycle of includes between folders, between headers, or between the modules of proxy/. A module is
  a .c and a .h of one name, with its _internal.h or _parts.h if it has one.
- The modules of proxy/ lie in layers. One may include what is in its own row or below.
- No file has more than 800 lines, no function more than 60, from its first line to its brace.
"""

import pathlib
import re
import sys

MOST_LINES, MOST_FUNCTION = 800, 60

# From top to bottom, as docs/architecture.md draws them. `session` is also session_head and the like.
PROXY_LAYERS = [
    ['worker'],
    ['generation'],
    ['listener', 'session', 'stream'],
    ['exchange'],
    ['tunnel', 'body'],
    ['lease', 'client'],
    ['relay', 'upstream'],
    ['front', 'record'],
    ['ground'],
    ['key', 'sni', 'pipe', 'descriptors'],
]

INCLUDE = re.compile(r'\s*#\s*include\s*"([^"]+)"')


def module_of(path):
    """proxy/key.c and proxy/key.h are proxy/key."""
    return re.sub(r'(_internal|_parts)?\.[ch]$', '', str(path))


def sources(folders):
    return sorted(p for f in folders for p in pathlib.Path(f).rglob('*') if p.suffix in ('.c', '.h'))


def in_proxy(paths):
    return [p for p in paths if p.parts[0] == 'proxy']


def graph(paths, name_of):
    """{node: {what it includes: "file:line" of the first such include}}"""
    out = {}
    for path in paths:
        edges = out.setdefault(name_of(path), {})
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = INCLUDE.match(line)
            if found and name_of(found.group(1)) != name_of(path):
                edges.setdefault(name_of(found.group(1)), f'{path}:{number}')
    return out


def components(edges):
    """The sets of nodes that reach each other (Tarjan), each of more than one node."""
    index, low, stack, out = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for to in edges.get(node, {}):
            if to not in index:
                visit(to)
                low[node] = min(low[node], low[to])
            elif to in stack:
                low[node] = min(low[node], index[to])
        if low[node] == index[node]:
            part = set()
            while node not in part:
                part.add(stack.pop())
            if len(part) > 1:
                out.append(part)

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return out


def shortest_cycle(edges, part):
    """The nodes of one, the first of them again at the end."""
    best = None
    for start in sorted(part):
        paths, seen = [[start]], set()
        while paths and (best is None or len(paths[0]) < len(best)):
            path = paths.pop(0)
            for to in sorted(set(edges.get(path[-1], {})) & part):
                if to == start:
                    best = path + [to]
                    paths = []
                    break
                if to not in seen:
                    seen.add(to)
                    paths.append(path + [to])
    return best


def cycles(what, edges):
    for part in components(edges):
        path = shortest_cycle(edges, part)
        yield f'{what} include each other in a circle: {" -> ".join(path)}'
        for one, other in zip(path, path[1:]):
            yield f'    {edges[one][other]}: {one} includes {other}'
        if len(part) > len(path) - 1:
            yield f'    and in the same tangle: {" ".join(sorted(part - set(path)))}'


def row_of(name):
    """The row of a module, None if it has none."""
    while name:
        for row, names in enumerate(PROXY_LAYERS):
            if name in names:
                return row
        name = name.rpartition('_')[0]
    return None


def layers(edges):
    """Of the modules of proxy/."""
    for module, includes in sorted(edges.items()):
        row = row_of(module.partition('/')[2])
        if row is None:
            yield f'{module} has no layer: give it one in PROXY_LAYERS of tests/lint.py'
            continue
        for other, where in sorted(includes.items()):
            below = row_of(other.partition('/')[2]) if other.startswith('proxy/') else None
            if below is not None and below < row:
                yield f'{where}: {module} includes {other}, which is above it'


def first_line(lines, brace):
    """Of the function whose body begins there: where its return type stands."""
    at = brace
    while at > 0 and lines[at - 1] and not lines[at - 1].startswith(('#', '}', '/*', ' *')) \
            and not lines[at - 1].endswith((';', '*/')):
        at -= 1
    return at


def sizes(path):
    lines = path.read_text().splitlines()
    if len(lines) > MOST_LINES:
        yield f'{path} has {len(lines)} lines, the most is {MOST_LINES}'
    begin = None
    for at, line in enumerate(lines):
        if line == '{':
            begin = first_line(lines, at)
        elif line == '}' and begin is not None:
            if at - begin + 1 > MOST_FUNCTION:
                yield f'{path}:{begin + 1}: a function of {at - begin + 1} lines, the most is ' \
                      f'{MOST_FUNCTION}'
            begin = None


def main(folders):
    paths = sources(folders)
    modules = graph(in_proxy(paths), module_of)
    problems = [*cycles('folders', graph(paths, lambda p: str(pathlib.Path(p).parent))),
                *cycles('headers', graph(paths, str)),
                *cycles('modules', modules), *layers(modules)]
    for path in paths:
        problems += sizes(path)
    for problem in problems:
        print(f'lint: {problem}', file=sys.stderr)
    return bool(problems)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
