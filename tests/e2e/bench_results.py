"""Results as `ringbench http` and `ringbench tcp` write them, made up but consistent: all sums
agree, so that a test can tell a figure that was drawn wrong."""

import json
import pathlib
import random
import shutil
import subprocess
import xml.etree.ElementTree

import pytest

ERRORS = ('connect', 'reset', 'closed', 'timeout', 'malformed', 'unfinished')
QUANTILES = ('p50', 'p90', 'p99', 'p99.9', 'p99.99')


OPENING = '<script type="application/json" id="results">'


def embedded(page):
    """The results in a page, and the page around them."""
    assert page.count(OPENING) == 1
    head, rest = page.split(OPENING)
    inner, tail = rest.split('</script>', 1)
    return json.loads(inner), head + tail


NODE = shutil.which('node')
PLOT_WIDTH = 540


def drawn(path):
    """The document that the script of a page makes, without a browser; its `title` is the page's."""
    if NODE is None:
        pytest.skip('no node')
    script = pathlib.Path(__file__).with_name('draw_page.js')
    done = subprocess.run([NODE, str(script), str(path), str(PLOT_WIDTH)], capture_output=True, text=True,
                          check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, ''), done.stderr
    assert 'could not be drawn' not in done.stdout
    return xml.etree.ElementTree.fromstring(done.stdout)


def bucket(us):
    """The upper bound, in us, of the bucket of a log-linear histogram with three digits."""
    ns = max(1, int(us * 1000))
    shift = max(0, ns.bit_length() - 11)
    return (((ns >> shift) + 1 << shift) - 1) / 1000


def latency(samples):
    """latency_us and histogram."""
    if not samples:
        return None, []
    samples = sorted(samples)
    out = {'min': round(samples[0], 3), 'mean': round(sum(samples) / len(samples), 3)}
    for name in QUANTILES:
        rank = int(float(name[1:]) / 100 * len(samples))
        out[name] = bucket(samples[min(rank, len(samples) - 1)])
    out['max'] = round(samples[-1], 3)
    counts = {}
    for s in samples:
        counts[bucket(s)] = counts.get(bucket(s), 0) + 1
    return out, [[bound, counts[bound]] for bound in sorted(counts)]


def refused(result):
    return sum(n for status, n in result['statuses'].items() if int(status) >= 400)


class Run:
    """Counts what happens, cell by cell, and gives it as a result."""

    def __init__(self, cells, interval=0.1, seed=1):
        self.random = random.Random(seed)
        self.cells, self.interval = cells, interval
        zeros = lambda: [0] * cells  # noqa: E731
        self.answered, self.failed, self.refused, self.moved = zeros(), zeros(), zeros(), zeros()
        self.max_us = [0.0] * cells
        self.backends, self.statuses, self.samples, self.rows = {}, {}, [], []
        self.errors = dict.fromkeys(ERRORS, 0)
        self.unnamed = 0

    def answer(self, cell, us, backend=None, status=200):
        self.answered[cell] += 1
        self.refused[cell] += status >= 400
        self.max_us[cell] = max(self.max_us[cell], round(us, 3))
        self.statuses[str(status)] = self.statuses.get(str(status), 0) + 1
        self.samples.append(us)
        if backend is None:
            self.unnamed += 1
        else:
            self.backends.setdefault(backend, [0] * self.cells)[cell] += 1

    def fail(self, cell, kind='reset'):
        self.failed[cell] += 1
        self.errors[kind] += 1

    def move(self, at_s, key, old, new):
        self.moved[min(self.cells - 1, int(at_s / self.interval))] += 1
        self.rows.append({'at_s': round(at_s, 4), 'key': key, 'from': old, 'to': new})

    def result(self, kind='http', keys=1000, seconds=None, **options):
        answered, failed = sum(self.answered), sum(self.failed)
        seconds = seconds or round(self.cells * self.interval, 4)
        cpu = round(0.3 * seconds, 3)
        latency_us, histogram = latency(self.samples)
        named = {name: sum(counts) for name, counts in self.backends.items()}
        mean = sum(named.values()) / len(named) if named else 0
        http = kind == 'http'
        given = {'threads': 1, 'connections': 64, 'pipeline': 1, 'rate': 0, 'keys': keys,
                 'key_dist': 'uniform', 'key_in': 'header:X-Key',
                 'backend_from': 'header:X-Backend', 'method': 'GET', 'close': False, 'seed': 1}
        if not http:
            given = {'mode': 'ping-pong', 'size': 128, 'connections': 64, 'threads': 1}
        rows = sorted(self.rows, key=lambda row: row['at_s'])
        return {
            'ringbench': '0.1.0', 'kind': kind,
            'target': 'http://127.0.0.1:8080/' if http else '127.0.0.1:7000',
            'started': '2026-11-24T20:40:00Z', 'options': {**given, **options},
            'seconds': seconds, 'send_seconds': round(seconds - 0.003, 3), 'cpu_seconds': cpu,
            'sent': answered + failed, 'answered': answered, 'failed': failed, 'connects': 64,
            'bytes_in': answered * 180, 'bytes_out': (answered + failed) * 90,
            'requests_per_second': round(answered / seconds, 3),
            'requests_per_cpu_second': round(answered / cpu, 3),
            'errors': self.errors if http else
            {k: n for k, n in self.errors.items() if k != 'malformed'},
            'statuses': self.statuses if http else {},
            'latency_us': latency_us, 'histogram': histogram,
            'backends': [{'name': name, 'answers': n, 'share': round(n / answered, 6)}
                         for name, n in sorted(named.items(), key=lambda i: (-i[1], i[0]))],
            'unnamed': self.unnamed if http else 0,
            'balance': round(max(named.values()) / mean, 6) if named else None,
            'keys': {'asked': keys, 'moved': len({row['key'] for row in rows}),
                     'moves': len(rows)} if http and keys else {},
            'moves': rows[:1000],
            'timeline': {'interval_s': self.interval, 'answered': self.answered,
                         'failed': self.failed, 'refused': self.refused, 'moves': self.moved,
                         'max_us': self.max_us, 'backends': self.backends},
        }


def steady(cells=100, a_cell=200, names=('b1', 'b2', 'b3', 'b4'), interval=0.1, seed=1,
           middle=80.0, kind='http', **more):
    """Nothing goes wrong; latencies are log-normal with a long tail."""
    run = Run(cells, interval, seed)
    for cell in range(cells):
        for _ in range(int(a_cell * run.random.uniform(0.93, 1.07))):
            us = run.random.lognormvariate(0, 0.25) * middle
            if run.random.random() < 0.002:
                us *= run.random.uniform(3, 20)
            run.answer(cell, us, run.random.choice(names) if names else None)
    return run.result(kind, **more)


def failover(cells=100, a_cell=200, names=('b1', 'b2', 'b3', 'b4'), standby='s1', seed=1,
             interval=0.1, keys=1000, down=0.3, back=0.7, **more):
    """The first backend dies; its keys go to the standby, and home again later."""
    run = Run(cells, interval, seed)
    cut, home = int(cells * down), int(cells * back)
    mine = [f'key{i}' for i in range(keys) if i % len(names) == 0]
    for at, old, new in ((cut, names[0], standby), (home, standby, names[0])):
        for key in mine:
            run.move((at + run.random.random() * 2) * interval, key, old, new)
    for cell in range(cells):
        count = int(a_cell * run.random.uniform(0.93, 1.07) * (0.4 if cell == cut else 1))
        for _ in range(count):
            name = run.random.choice(names)
            if name == names[0] and cut <= cell < home:
                name = standby
            us = run.random.lognormvariate(0, 0.3) * (900 if cell == cut else 120)
            run.answer(cell, us, name, 503 if cell == cut and run.random.random() < .1 else 200)
        if cell == cut:
            for kind in ('reset', 'reset', 'reset', 'timeout', 'connect'):
                run.fail(cell, kind)
    return run.result(keys=keys, **more)


def nothing(cells=20):
    """Nobody is there."""
    run = Run(cells)
    for cell in range(cells):
        run.fail(cell, 'connect')
    return run.result()


def bulk(cells=50, direction='both', seed=1, **options):
    rand = random.Random(seed)
    lanes = {'bytes_in': direction in ('down', 'both'), 'bytes_out': direction in ('up', 'both')}
    lanes = {name: [int(rand.uniform(2.2e8, 2.6e8)) if on else 0 for _ in range(cells)]
             for name, on in lanes.items()}
    seconds = round(cells * 0.1, 3)
    mib = sum(map(sum, lanes.values())) / 2**20
    return {
        'ringbench': '0.1.0', 'kind': 'tcp', 'target': '127.0.0.1:7000',
        'started': '2026-11-24T20:40:00Z',
        'options': {'mode': 'bulk', 'direction': direction, 'connections': 8, **options},
        'seconds': seconds, 'cpu_seconds': round(seconds * 0.8, 3),
        'bytes_in': sum(lanes['bytes_in']), 'bytes_out': sum(lanes['bytes_out']),
        'mib_per_second': round(mib / seconds, 3),
        'mib_per_cpu_second': round(mib / seconds / 0.8, 3),
        'failed': 0, 'errors': {'connect': 0, 'reset': 0, 'closed': 0},
        'timeline': {'interval_s': 0.1, **lanes},
    }
