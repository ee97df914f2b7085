"""Bursts: a proxy is started, warmed up, loaded for a while and stopped. Rounds: a burst of each
proxy after the other, so that all of them see the same machine.

What a burst is worth: it counts if every request was answered with a 2xx and no key met another
backend than before, if every message came back as it was sent and no connection of a stream broke;
it is told how much of the cores was taken by others, and tried again if that is too much.
"""

import collections
import dataclasses
import http.client
import json
import resource
import socket
import sys
import time

from compare import figures, processes, proxies, workloads
from compare.processes import Trouble
from compare.workloads import MIB

BACKENDS = 3
WARM_UP = 0.3           # seconds of load before a burst
AT_ONCE = 64            # idle connections are opened
START_TIMEOUT = 30.0
LOAD_TIMEOUT = 60.0     # beyond its duration
LATE = 0.01             # of the paced requests may be left over at the end
# by what the backends do: what is sent to them, and what they send then
TCP_CHECKS = {'echo': (b'start', b'start'), 'source': (b'g', bytes(range(256)))}
SPARE_DESCRIPTORS = 1000


@dataclasses.dataclass(frozen=True)
class Settings:
    ringbench: str
    secs: float
    rounds: int
    tries: int
    noise: float  # the share of a core that others may take
    rate: float   # of the paced workload; 0: found by trying
    idle_connections: int


def most_connections():
    """As many as descriptors allow: a proxy may need two for each."""
    return (processes.descriptor_limit() - SPARE_DESCRIPTORS) // 2


def say(text):
    print(text, file=sys.stderr, flush=True)


# --- a window of time -------------------------------------------------------------------------

class Window:
    """What proxy, load and backends used between its making and close()."""

    def __init__(self, cores, proxy, backends):
        self.cores, self.proxy, self.backends = cores, proxy, backends
        self.before = self._look()

    def _look(self):
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        times = processes.CoreTimes(self.cores)
        return {
            'wall': time.monotonic(),
            'proxy': processes.cpu_seconds(self.proxy),
            'waited': processes.waited_seconds(self.proxy),
            'backends': processes.cpu_seconds(self.backends),
            # ringbench was waited for within the window
            'load': children.ru_utime + children.ru_stime + time.process_time(),
            'busy': times.busy, 'steal': times.steal,
        }

    def close(self, seconds):
        """seconds: of the window, in which there was load."""
        after, before = self._look(), self.before
        wall = after['wall'] - before['wall']
        used = {k: after[k] - before[k] for k in ('proxy', 'waited', 'backends', 'load')}
        proxy_core, load_core, backend_core = self.cores
        own = collections.Counter({proxy_core: used['proxy']})
        own[load_core] += used['load']
        own[backend_core] += used['backends']
        foreign = {c: max(0.0, after['busy'][c] - before['busy'][c] - own[c]) +
                   after['steal'][c] - before['steal'][c] for c in own}
        return {
            'proxy_cpu_s': used['proxy'],
            'proxy_busy': used['proxy'] / seconds,
            # with the time in which it could have run: whether the proxy was the bottleneck
            'proxy_demand': (used['proxy'] + used['waited']) / seconds,
            'load_busy': max(own[load_core], own[backend_core]) / seconds,
            'foreign_proxy': foreign[proxy_core] / wall,
            'foreign_load': max(foreign[load_core], foreign[backend_core]) / wall,
            'foreign': max(foreign.values()) / wall,
        }


# --- one request, by hand ---------------------------------------------------------------------

def check_answer(port, key, answer):
    """A request through the proxy is answered as the backend does. OSError, HTTPException: not."""
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=10)
    try:
        connection.request('GET', '/', headers={'X-Key': key})
        got = connection.getresponse()
        body = got.read()
    finally:
        connection.close()
    if got.status != 200 or len(body) != answer or not got.headers['X-Backend']:
        raise Trouble(f'answered {got.status} with {len(body)} bytes instead of the backend')


def check_bytes(port, sent, expected):
    """What comes through the proxy is what the backend sends. OSError: nothing came yet."""
    got = b''
    with socket.create_connection(('127.0.0.1', port), timeout=10) as s:
        s.sendall(sent)
        while len(got) < len(expected):
            piece = s.recv(len(expected) - len(got))
            if not piece:
                raise ConnectionError('closed before the backend had said anything')
            got += piece
    if got != expected:
        raise Trouble('other bytes came than the backend sends')


def wait_ready(child, port, workload):
    end = time.monotonic() + START_TIMEOUT
    while True:
        try:
            if workload.tcp:
                check_bytes(port, *TCP_CHECKS[workload.tcp])
            else:
                check_answer(port, 'start', workload.answer)
            return
        except (OSError, http.client.HTTPException) as e:
            if not child.running() or time.monotonic() > end:
                raise Trouble(f'{child.name} did not start ({e}): {child.said()}') from e
        time.sleep(0.02)


def ask_and_stay(port, keys, held):
    """A keep-alive connection for each key, at once, that had its answer; appended to held."""
    new = []
    for key in keys:
        s = socket.create_connection(('127.0.0.1', port), timeout=20)
        held.append(s)
        new.append(s)
        s.sendall(f'GET / HTTP/1.1\r\nHost: bench\r\nX-Key: {key}\r\n\r\n'.encode())
    for s in new:
        answer = http.client.HTTPResponse(s)
        answer.begin()
        answer.read()
        if answer.status != 200 or answer.will_close:
            raise Trouble(f'an idle connection was answered {answer.status}, '
                          f'{"to be closed" if answer.will_close else "kept"}')


def close_all(sockets):
    while sockets:
        sockets.pop().close()


# --- bursts -----------------------------------------------------------------------------------

def told_errors(errors):
    return ', '.join(f'{kind} {n}' for kind, n in errors.items() if n) or 'none'


def figures_of(units, errors, why, result, window):
    """A burst of what ringbench and the window tell."""
    latency = result.get('latency_us')
    return {
        'ok': errors == 0 and units > 0,
        'why': why if errors else '' if units else 'nothing was moved',
        'errors': errors,
        'seconds': result['seconds'],
        'per_s': units / result['seconds'],
        'cpu_us': window['proxy_cpu_s'] * 1e6 / units if units else None,
        'p50_us': latency['p50'] if latency else None,
        'p99_us': latency['p99'] if latency else None,
        'max_us': latency['max'] if latency else None,
        **window,
    }


def load_figures(result, window, workload, hashes):
    """Of requests or messages."""
    refused = sum(n for status, n in result['statuses'].items() if not 200 <= int(status) < 300)
    moves = result['keys']['moves'] if hashes else 0
    # a few are left over when the time is up; more: the rate was too much
    late = result['unsent'] if result['unsent'] > LATE * result['sent'] else 0
    errors = result['failed'] + refused + moves + late
    units = result['answered'] * (workload.answer / MIB if workload.unit == 'MiB' else 1)
    why = (f'{result["failed"]} failed ({told_errors(result["errors"])}), {refused} refused, '
           f'{moves} keys moved, {late} not sent in time')
    return {'answered': result['answered'], **figures_of(units, errors, why, result, window)}


def stream_figures(result, window):
    why = f'{result["failed"]} connections failed ({told_errors(result["errors"])})'
    return {'bytes': result['bytes_in'],
            **figures_of(result['bytes_in'] / MIB, result['failed'], why, result, window)}


class Bench:
    def __init__(self, stage, cores, settings):
        self.stage, self.cores, self.settings = stage, cores, settings
        self.backends, self.ports, self.serving = None, (), None

    def serve(self, workload):
        """The backends of a workload; those that run are kept if they do what it wants."""
        wanted = workload.backends
        if self.backends and self.serving == wanted and self.backends.running():
            return
        self.stop_backends()
        self.ports, self.serving = tuple(self.stage.free_port() for _ in range(BACKENDS)), wanted
        command = [self.settings.ringbench, 'serve', *wanted]
        for i, port in enumerate(self.ports, 1):
            command += ['--listen', f'127.0.0.1:{port}', '--name', f'b{i}']
        self.backends = self.stage.start(command, self.cores[2], self.stage.new_folder(),
                                         exit_code=0)
        for port in self.ports:
            wait_ready(self.backends, port, workload)

    def stop_backends(self):
        child, self.backends = self.backends, None
        if child:
            self.stage.stop(child)

    def load(self, workload, port, secs, rate):
        """A run of ringbench to its end; its JSON."""
        folder = self.stage.new_folder()
        path = folder / 'result.json'
        if workload.tcp:
            command = [self.settings.ringbench, 'tcp', f'127.0.0.1:{port}']
        else:
            command = [self.settings.ringbench, 'http', f'http://127.0.0.1:{port}/',
                       '--keys', str(workloads.KEYS), '--key-dist', 'uniform',
                       '--key-in', 'header:X-Key', '--backend-from', 'header:X-Backend']
        command += ['--threads', '1', '--connections', str(workload.connections),
                    '--duration', f'{secs * 1000:.0f}ms', '--quiet', '--json', str(path),
                    *workload.arguments]
        if rate:
            command += ['--rate', f'{rate:.0f}']
        with self.stage.running(command, self.cores[1], folder, exit_code=0) as child:
            child.wait(secs + LOAD_TIMEOUT)
        return json.loads(path.read_text())

    def measure_load(self, proxy, workload, running, port, rate):
        self.load(workload, port, WARM_UP, rate)
        window = Window(self.cores, running.pids(), self.backends.pids())
        result = self.load(workload, port, self.settings.secs, rate)
        used = window.close(result['seconds'])
        if workload.kind == 'stream':
            return stream_figures(result, used)
        return load_figures(result, used, workload, proxy.hashes)

    def measure_idle(self, running, port):
        n, held = self.settings.idle_connections, []
        try:
            ask_and_stay(port, range(AT_ONCE), held)  # what is had once is had before
            close_all(held)
            before = processes.resident_bytes(running.pids())
            for first in range(0, n, AT_ONCE):
                ask_and_stay(port, range(first, min(n, first + AT_ONCE)), held)
            after = processes.resident_bytes(running.pids())
        finally:
            close_all(held)
        return {'ok': True, 'errors': 0, 'connections': n, 'resident_before': before,
                'resident_after': after, 'bytes_per_connection': (after - before) / n}

    def burst(self, proxy, workload, rate):
        """Start, load, stop. Trouble, OSError, HTTPException: it came to nothing."""
        self.serve(workload)
        folder, port = self.stage.new_folder(), self.stage.free_port()
        job = proxies.Job(folder, port, self.ports, most_connections() + 100,
                          bool(workload.tcp), workload.bulk)
        with self.stage.running(proxy.command(job), self.cores[0], folder,
                                proxy.exit_code) as running:
            wait_ready(running, port, workload)
            if workload.kind == 'idle':
                return self.measure_idle(running, port)
            return self.measure_load(proxy, workload, running, port, rate)

    def attempt(self, proxy, workload, rate):
        """The best of some tries."""
        kept = None
        for _ in range(self.settings.tries):
            try:
                got = self.burst(proxy, workload, rate)
            except (Trouble, OSError, http.client.HTTPException) as e:
                got = {'ok': False, 'why': str(e) or repr(e), 'errors': 1}
            got['disturbed'] = got.get('foreign', 0) > self.settings.noise
            kept = figures.better(kept, got)
            if kept['ok'] and not kept['disturbed']:
                break
        return kept

    # rounds

    def find_rate(self, tried):
        """Half of what the slowest of them manages, so that none of them is at its limit."""
        probe, speeds = workloads.WORKLOADS['keepalive'], []
        for proxy in tried:
            burst = self.attempt(proxy, probe, 0)
            if not burst['ok']:
                raise Trouble(f'no rate found, as {proxy.name} failed: {burst["why"]}')
            speeds.append(burst['per_s'])
        return float(f'{min(speeds) / 2:.2g}')

    def rounds(self, workload, taking_part):
        """{proxy: bursts}, and the rate."""
        rate = 0
        if workload.paced:
            rate = self.settings.rate or self.find_rate(taking_part)
        out = {proxy.name: [] for proxy in taking_part}
        for k in range(min(self.settings.rounds, workload.max_rounds)):
            for proxy in taking_part:
                burst = self.attempt(proxy, workload, rate)
                out[proxy.name].append(burst)
                say(f'  {workload.name} {k + 1} {proxy.name:18} {told(burst)}')
        return out, rate


def told(burst):
    """A burst in a line."""
    if not burst['ok']:
        return f'does not count: {burst["why"]}'
    if 'bytes_per_connection' in burst:
        return f'{burst["bytes_per_connection"]:.0f} bytes a connection'
    p99 = '' if burst['p99_us'] is None else f'p99 {burst["p99_us"] / 1000:.2f} ms  '
    return (f'{burst["cpu_us"]:8.2f} µs CPU  {burst["per_s"]:8.0f}/s  {p99}'
            f'proxy core {burst["proxy_busy"]:.0%}  load core {burst["load_busy"]:.0%}  others '
            f'{burst["foreign_proxy"]:.0%} {burst["foreign_load"]:.0%}'
            f'{"  DISTURBED" if burst["disturbed"] else ""}')
