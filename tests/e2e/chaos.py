"""Chaos: servers that misbehave in every way, clients that do too, and among them clients that
must not notice.

Four backends and two standbys run as processes of their own, so that they can be killed and
stopped. A director gives some of them moods; three of the six are well at any time, and two of
these stay well as long as a request can last. So each idempotent request has somebody to answer it,
whoever failed it before. What a server does to a request it writes down first (the ledger); in the
end everything that a client saw is held against it.

    python3 tests/e2e/chaos.py --seconds 600 [--few-descriptors]
"""

import argparse
import collections
import os
import pathlib
import random
import re
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib

import harness
import pace
from client import Broken, Client, Reader, head_bytes
from harness import wait_until

WORKERS = 2
WELL = 3
PIECE = 97  # bytes of a drip

# --- a server, in its own process ---------------------------------------------------------------

# What a server in a mood does to a request, if it does not just answer it.
DEEDS = {
    'well': (),
    'sick': (),  # it fails its checks alone
    'refuses': (),  # connections, each with a reset
    'delays': ('delay', 'drip'),
    'resets': ('reset', 'reset_head', 'close', 'half_head'),
    'cuts': ('cut', 'cut', 'cut_chunk', 'cut_reset', 'cut_to_end', 'stall'),
    'garbage': ('garbage', 'two_lengths', 'bad_chunk', 'many_interim', 'switch', 'empty_line'),
    'behind': ('forged', 'late_byte'),
    'closes': ('close_after', 'close_before'),
    'mute': ('mute',),
}
# After these the client has an answer's head, or may have it, and never the whole.
CUTS = {'cut', 'cut_chunk', 'cut_reset', 'cut_to_end', 'stall'}
FORGED = b'HTTP/1.1 200 OK\r\nX-Id: forged\r\nContent-Length: 6\r\n\r\nforged'


def body_of(uid, size):
    return (uid.encode() * (size // len(uid) + 1))[:size]


class Server:
    """Told its mood on stdin, a word a line."""

    def __init__(self, name, port, ledger):
        self.name, self.mood, self.random = name, 'well', random.Random(time.time_ns())
        self.ledger = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(('127.0.0.1', port))
        self.listener.listen(256)

    def run(self):
        threading.Thread(target=self.accept, daemon=True).start()
        for line in sys.stdin:
            self.mood = line.strip()
        os._exit(0)  # who started it is gone, or wants it to end

    def accept(self):
        while True:
            sock, _ = self.listener.accept()
            if self.mood == 'refuses':
                self.reset(sock)
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def reset(self, sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        sock.close()

    def serve(self, sock):
        try:
            reader, number = Reader(sock), 0
            while self.one(sock, reader, number):
                number += 1
        except (OSError, Broken):
            pass  # the proxy has closed it
        finally:
            sock.close()

    def one(self, sock, reader, number):
        method, target, _ = reader.line().decode('latin-1').split(' ')
        fields = {n.lower(): v for n, v in reader.fields()}
        if target == '/healthz':
            status = b'503 Sick' if self.mood == 'sick' else b'200 Well'
            sock.sendall(b'HTTP/1.1 ' + status +
                         b'\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
            return False
        _, uid, size = target.split('/')
        deed = self.choose()
        note = f'{time.monotonic():.6f} {method} {uid} {deed} {self.name}\n'
        os.write(self.ledger, note.encode())
        if deed == 'reset_head':
            self.reset(sock)
            return False
        if deed == 'close_before' and number:
            return False
        body = self.read_body(reader, fields)
        answer = Reply(uid, int(size), body, self.random.random() < 0.3)
        return getattr(self, 'do_' + deed, self.do_ok)(sock, answer)

    def choose(self):
        deeds = DEEDS[self.mood]
        if not deeds or self.random.random() < 0.4:
            return 'ok'
        deed = self.random.choice(deeds)
        # It costs a client the whole timeout.
        return 'cut' if deed == 'stall' and self.random.random() < 0.9 else deed

    def read_body(self, reader, fields):
        if 'transfer-encoding' in fields:
            return reader.chunked()[0]
        return reader.exactly(int(fields.get('content-length', 0)))

    # deeds; True: the connection is kept

    def do_ok(self, sock, answer):
        sock.sendall(answer.whole())
        return True

    def do_delay(self, sock, answer):
        time.sleep(self.random.uniform(0, 0.5))
        return self.do_ok(sock, answer)

    def do_drip(self, sock, answer):
        data = answer.whole()
        for at in range(0, min(len(data), 10 * PIECE), PIECE):
            sock.sendall(data[at:at + PIECE])
            time.sleep(0.01)
        sock.sendall(data[10 * PIECE:])
        return True

    def do_reset(self, sock, answer):
        self.reset(sock)
        return False

    def do_close(self, sock, answer):
        return False

    def do_half_head(self, sock, answer):
        sock.sendall(answer.head()[:25])
        return False

    def do_cut(self, sock, answer):
        sock.sendall(answer.whole()[:-1])
        return False

    def do_cut_chunk(self, sock, answer):
        answer.chunked = True
        sock.sendall(answer.head() + b'ffff\r\n' + answer.uid.encode())
        return False

    def do_cut_reset(self, sock, answer):
        sock.sendall(answer.whole()[:-1])
        self.reset(sock)
        return False

    def do_cut_to_end(self, sock, answer):
        sock.sendall(answer.head(b'') + answer.body[:-1])
        self.reset(sock)
        return False

    def do_stall(self, sock, answer):
        sock.sendall(answer.whole()[:-1])
        return self.do_mute(sock, answer)

    def do_mute(self, sock, answer):
        while sock.recv(65536):
            pass
        return False

    def do_garbage(self, sock, answer):
        sock.sendall(self.random.randbytes(self.random.randrange(1, 500)) + b'\r\n\r\n')
        return False

    def do_empty_line(self, sock, answer):
        sock.sendall(b'\0\r\n' + answer.whole())
        return True

    def do_two_lengths(self, sock, answer):
        sock.sendall(answer.head(b'Content-Length: 1\r\nContent-Length: 2\r\n') + b'xy')
        return True

    def do_bad_chunk(self, sock, answer):
        sock.sendall(answer.head(b'Transfer-Encoding: chunked\r\n') + b'2\r\nxyz\r\n')
        return True

    def do_many_interim(self, sock, answer):
        sock.sendall(b'HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n' * 1001)
        return self.do_ok(sock, answer)

    def do_switch(self, sock, answer):
        sock.sendall(b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n'
                     b'Connection: upgrade\r\n\r\n')
        return False

    def do_forged(self, sock, answer):
        sock.sendall(answer.whole() + FORGED)
        return True

    def do_late_byte(self, sock, answer):  # whose answer is it? nobody's: it can't begin one
        sock.sendall(answer.whole())
        time.sleep(self.random.uniform(0, 0.01))
        sock.sendall(b'\0')
        return True

    def do_close_after(self, sock, answer):  # and says nothing of it
        sock.sendall(answer.whole())
        return False


class Reply:
    def __init__(self, uid, size, body, chunked):
        self.uid, self.chunked = uid, chunked
        self.sum, self.body = zlib.crc32(body), body_of(uid, size)

    def head(self, framing=None):
        if framing is None:
            framing = b'Transfer-Encoding: chunked\r\n' if self.chunked else \
                b'Content-Length: %d\r\n' % len(self.body)
        return b'HTTP/1.1 200 OK\r\nX-Id: %s\r\nX-Sum: %d\r\n%s\r\n' % (
            self.uid.encode(), self.sum, framing)

    def whole(self):
        if not self.chunked:
            return self.head() + self.body
        half = max(len(self.body) // 2, 1)
        parts = [self.body[:half], self.body[half:]]
        return self.head() + b''.join(b'%x\r\n%s\r\n' % (len(p), p) for p in parts if p) + \
            b'0\r\n\r\n'


# --- the same seen from outside -------------------------------------------------------------------

class Process:
    """A server, and what is wrong with it now."""

    def __init__(self, folder, name):
        self.name, self.port, self.folder = name, harness.free_port(), folder
        self.ledger = folder / f'{name}.ledger'
        self.process, self.fault, self.until = None, 'well', 0.0
        self.since = 0.0  # when the fault of now began, or the last one ended
        self.detected = self.returned = True  # by the proxy, the last fault and its end
        self.killed = []  # when at the earliest, and at the latest
        self.start()

    def start(self):
        assert self.process is None
        err = open(self.folder / f'{self.name}.err', 'ab')
        self.process = subprocess.Popen(
            [sys.executable, '-B', __file__, '--serve', self.name, str(self.port), self.ledger],
            stdin=subprocess.PIPE, stderr=err, text=True, bufsize=1)
        err.close()

    def say(self, mood):
        self.process.stdin.write(mood + '\n')
        self.process.stdin.flush()

    def end(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process = None

    def begin_fault(self, fault):
        before = time.monotonic()
        if fault == 'kill':
            self.end()
        elif fault == 'stop':
            self.process.send_signal(signal.SIGSTOP)
        else:
            self.say(fault)
        self.since = time.monotonic()
        self.fault = fault
        if fault == 'kill':
            self.killed.append((before, self.since))
        # of these every check tells; from the others live traffic may
        self.detected = self.returned = fault not in ('kill', 'stop', 'sick', 'refuses')

    def end_fault(self):
        if self.fault == 'kill':
            self.start()
            wait_until(lambda: harness.accepts(self.port), f'{self.name} to be back')
        elif self.fault == 'stop':
            self.process.send_signal(signal.SIGCONT)
        else:
            self.say('well')
        self.since, self.last_fault, self.fault = time.monotonic(), self.fault, 'well'


FAULTS = ['kill', 'kill', 'stop', 'sick', 'refuses', 'delays', 'resets', 'resets', 'cuts',
          'garbage', 'garbage', 'behind', 'closes', 'mute']
IN_SERVICE = ('up', 'returning', 'standby', 'promoted')


class Director(threading.Thread):
    """Gives the servers their moods, and measures how soon the proxy saw it."""

    def __init__(self, chaos):
        super().__init__(daemon=True)
        self.chaos, self.stopping = chaos, threading.Event()
        self.servers = chaos.servers
        self.well = list(self.servers[:WELL])  # the one that was chosen first leaves first
        self.rotated, self.bag = time.monotonic(), []
        self.faults = collections.Counter()
        self.seen, self.back = collections.defaultdict(list), collections.defaultdict(list)

    def run(self):
        try:
            while not self.stopping.wait(0.05):
                self.look()
                if time.monotonic() - self.rotated > self.chaos.rotation_s:
                    self.rotate()
                for server in self.servers:
                    if server not in self.well and time.monotonic() > server.until:
                        self.change(server)
        except BaseException as e:  # a fault of the test itself must not pass unseen
            self.chaos.problem(f'director: {e!r}')
            raise

    def finish(self):
        """All servers are well and known to be."""
        self.stopping.set()
        self.join()
        for server in self.servers:
            if server.fault != 'well':
                server.end_fault()
        for server in self.servers:
            self.chaos.proxy.wait_state(server.name, *IN_SERVICE)

    def change(self, server):
        rng, now = self.chaos.random, time.monotonic()
        if server.fault != 'well':
            server.end_fault()
            server.until = time.monotonic() + rng.uniform(0.3, 2.0)
            return
        if not self.bag:  # all kinds come, in ever new order
            self.bag = rng.sample(FAULTS, len(FAULTS))
        fault = self.bag.pop()
        server.begin_fault(fault)
        server.until = now + rng.uniform(0.3, 4.0)
        self.faults[fault] += 1

    def rotate(self):
        """One more gets well; the one that was for longest need not be any longer. The others have
        been in service for as long as a request that is under way can be."""
        for server in self.well[1:]:
            state = self.chaos.proxy.server(server.name)['state']
            if state not in IN_SERVICE:
                self.chaos.problem(f'{server.name} is well since long, but {state}')
        self.well.pop(0)
        new = self.chaos.random.choice(
            [s for s in self.servers if s not in self.well])
        if new.fault != 'well':
            new.end_fault()
        self.well.append(new)
        self.rotated = time.monotonic()

    def look(self):
        status = self.chaos.proxy.admin.json('/status')['pools'][0]
        now = time.monotonic()
        for one in status['backends'] + status['standbys']:
            server = self.chaos.by_name[one['name']]
            if server.fault != 'well' and not server.detected and one['state'] == 'down':
                server.detected, server.returned = True, False
                self.seen[server.fault].append(now - server.since)
            elif server.fault == 'well' and not server.returned and one['state'] in IN_SERVICE:
                server.returned = True
                if server.detected:
                    self.back[server.last_fault].append(now - server.since)


# --- clients that must not notice -----------------------------------------------------------------

class Good(threading.Thread):
    """Keeps its connection, sends one request after the other, never tries again."""

    def __init__(self, chaos, number):
        super().__init__(daemon=True)
        self.chaos, self.number, self.count = chaos, number, 0
        self.random = random.Random(chaos.seed * 1000 + number)
        self.stopping, self.client, self.fresh = threading.Event(), None, True
        self.counts = collections.Counter()
        self.slowest = 0.0

    def run(self):
        try:
            while not self.stopping.wait(self.random.uniform(0, 2 * self.chaos.pace)):
                self.one()
        except BaseException as e:  # a fault of the test itself must not pass unseen
            self.chaos.problem(f'client {self.number}: {e!r}')
            raise
        finally:
            self.leave()

    def leave(self):
        if self.client:
            self.client.close()
        self.client = None

    def one(self):
        self.count += 1
        uid = f'g{self.number}x{self.count}'
        method = self.random.choices(['GET', 'PUT', 'POST'], [80, 12, 8])[0]
        size = self.random.choices([60, 1500, 150_000], [70, 28, 2])[0]
        self.counts[method] += 1
        since = time.monotonic()
        outcome = self.ask(uid, method, size)
        until = time.monotonic()
        self.slowest = max(self.slowest, until - since)
        self.counts[outcome] += 1
        if outcome != '200' or method == 'POST':
            self.chaos.outcomes[uid] = (method, outcome, since, until)
        if outcome != '200' or self.random.random() < 0.01:
            self.leave()
        if outcome.startswith('refused'):
            self.stopping.wait(self.random.uniform(0.02, 0.1))

    def ask(self, uid, method, size):
        fields, body = [('Host', 'chaos.example')], b''
        if self.random.random() < 0.9:
            fields.append(('X-Key', f'key{self.random.randrange(500)}'))
        if method != 'GET':
            body = self.random.randbytes(self.random.choice([1, 2000, 50_000]))
            fields.append(('Content-Length', len(body)))
        fresh = self.client is None
        answer = None
        try:
            if fresh:
                self.client = Client(self.chaos.proxy.port)
            try:
                self.client.send(head_bytes(method, f'/{uid}/{size}', fields) + body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before all was sent; the answer is there all the same
            answer = self.head()
            if answer.status == 503 and fresh and self.chaos.few:
                self.client.read_body(answer)
                if (answer.get('Connection') or '').lower() != 'close':
                    self.chaos.problem(f'{uid}: refused, but not closed')
                return 'refused'
            self.client.read_body(answer)
        except socket.timeout:
            return 'timeout'
        except (OSError, Broken) as e:
            if answer is None and fresh and self.chaos.few:
                return 'refused without a word'
            return f'no answer, {type(e).__name__}' if answer is None else 'cut'
        return self.check(uid, size, body, answer)

    def head(self):
        answer = self.client.head()
        while 100 <= answer.status < 200:
            answer = self.client.head()
        return answer

    def check(self, uid, size, body, answer):
        if answer.status == 200 and answer.all('X-Id') != [uid]:
            return f"somebody else's answer: {answer}"
        if answer.status == 200 and answer.all('X-Sum') != [str(zlib.crc32(body))]:
            return f'a wrong body was received: {answer}'
        if answer.status == 200 and answer.body != body_of(uid, size):
            return f'looks whole, but is not: {len(answer.body)} of {size} bytes'
        if (answer.get('Connection') or '').lower() == 'close':
            self.leave()
        return str(answer.status)


# --- clients that misbehave -----------------------------------------------------------------------

class Bad(threading.Thread):
    """One kind of nuisance, over and over. It counts what it did; that nobody else suffers from it
    is the others' business."""

    def __init__(self, chaos, name, kind):
        super().__init__(daemon=True)
        self.chaos, self.kind, self.name, self.count = chaos, kind, name, 0
        self.random = random.Random(f'{chaos.seed} {name}')
        self.stopping = threading.Event()
        self.done = 0

    def run(self):
        act = getattr(self, self.kind)
        try:
            while not self.stopping.wait(self.random.uniform(0.02, 0.2)):
                try:
                    act()
                except (OSError, Broken):
                    pass  # it is refused and thrown out, as it has to be
                self.done += 1
        except BaseException as e:  # a fault of the test itself must not pass unseen
            self.chaos.problem(f'{self.kind}: {e!r}')
            raise

    def uid(self):
        self.count += 1
        return f'{self.name}x{self.count}'

    def client(self, **more):
        return Client(self.chaos.proxy.port, timeout=5, **more)

    def request(self, method='GET', size=60, *fields):
        uid = self.uid()
        return uid, head_bytes(method, f'/{uid}/{size}', [('Host', 't'), *fields])

    def drip(self, clients, data):
        """Sends to all a byte at a time until they have had enough of it."""
        for i in range(len(data)):
            for c in list(clients):
                try:
                    c.send(data[i:i + 1])
                except OSError:
                    clients.remove(c)
                    c.close()
            if not clients or self.stopping.wait(0.1):
                break
        for c in clients:
            c.close()

    def slow_heads(self):
        _, data = self.request('GET', 60, ('X-Slow', 'y' * 200))
        self.drip([self.client() for _ in range(5)], data)

    def slow_bodies(self):
        clients = []
        for method in ('POST', 'PUT', 'POST'):
            _, data = self.request(method, 60, ('Content-Length', '1000'))
            clients.append(self.client())
            clients[-1].send(data)
        self.drip(clients[:2], b'z' * 50)
        clients[2].reader.rest()  # it sends no more, and is told so
        clients[2].close()

    def never_reads(self):
        with self.client(receive_buffer=4096) as c:
            for _ in range(2):
                c.send(self.request('GET', 8_000_000)[1])
            self.stopping.wait(self.random.uniform(0.1, 5))

    def half_closes(self):
        uid, data = self.request('GET', 1500)
        with self.client() as c:
            c.send(data)
            c.sock.shutdown(socket.SHUT_WR)
            answer = c.answer()
            if answer.status == 200 and answer.all('X-Id') != [uid]:
                self.chaos.problem(f"{uid}: somebody else's answer: {answer}")

    def resets(self):
        for _ in range(20):
            c = self.client()
            _, data = self.request(self.random.choice(['GET', 'POST', 'PUT']), 1500,
                                   ('Content-Length', '5'))
            data += b'12345'
            c.send(data[:self.random.randrange(len(data) + 1)])
            if self.random.random() < 0.5:
                self.stopping.wait(self.random.uniform(0, 0.01))
            c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
            c.close()

    def garbage(self):
        for _ in range(5):
            with self.client() as c:
                c.send(self.random.randbytes(self.random.randrange(1, 5000)))
                c.reader.rest()

    def silent(self):
        clients = [self.client() for _ in range(self.chaos.silent)]
        self.stopping.wait(self.random.uniform(0.5, 4))
        for c in clients:
            c.close()

    def pipelines(self):
        """Asks ten times, leaves before all is answered. What comes is in order."""
        batch = [self.request() for _ in range(10)]
        with self.client() as c:
            c.send(b''.join(data for _, data in batch))
            for uid, _ in batch[:self.random.randrange(10)]:
                answer = c.answer()
                if answer.status == 200 and answer.all('X-Id') != [uid]:
                    self.chaos.problem(f"{uid}: somebody else's answer: {answer}")
                if (answer.get('Connection') or '').lower() == 'close':
                    return


KINDS = ['slow_heads', 'slow_bodies', 'never_reads', 'never_reads', 'half_closes', 'resets',
         'garbage', 'silent', 'pipelines']


# --- all of it ------------------------------------------------------------------------------------

def megabytes(proxy, name='VmRSS'):
    with open(f'/proc/{proxy.pid}/status', encoding='ascii') as f:
        return int(re.search(rf'{name}:\s+(\d+) kB', f.read()).group(1)) / 1024


def descriptors(proxy):
    return len(os.listdir(f'/proc/{proxy.pid}/fd'))


class Chaos:
    def __init__(self, folder, seconds, few=0, seed=None, clients=12):
        self.folder, self.seconds, self.few = pathlib.Path(folder), seconds, few
        self.seed = seed if seed is not None else time.time_ns() % 1_000_000
        self.random = random.Random(self.seed)
        self.problems, self.lock = [], threading.Lock()
        self.outcomes = {}  # uid -> method, outcome, begin, end: POSTs, and whatever is not 200
        # All times of the configuration grow on a slow machine, so that servers which are well are not
        # taken for others. No try for a request begins later than the response time, and so a server
        # that is well for longer is there for each request that is under way.
        self.slow = pace.stretched(1.0)
        self.rotation_s = (10.0 * self.slow + 1.0) * min(pace.SANITIZED, 1.5)
        self.pace = 0.008 * min(pace.SANITIZED, 2)
        self.silent = few // 2 if few else 20
        self.servers = [Process(self.folder, n) for n in ('b1', 'b2', 'b3', 'b4', 's1', 's2')]
        self.by_name = {s.name: s for s in self.servers}
        self.good = [Good(self, i) for i in range(clients)]
        self.bad = self.nuisances('n')
        self.rss = []

    def nuisances(self, prefix):
        kinds = KINDS + ['silent'] if self.few else KINDS
        return [Bad(self, f'{prefix}{i}', kind) for i, kind in enumerate(kinds)]

    def problem(self, text):
        with self.lock:
            self.problems.append(text)

    def configuration(self, port, admin):
        def time_of(seconds):
            return pace.ms(seconds * self.slow)
        pool = {
            'name': 'p', 'retries': 5,
            'health': {'check': 'http', 'path': '/healthz', 'interval': '300ms',
                       'timeout': time_of(0.7), 'fall': 2, 'rise': 2},
            'failback': {'after': '0s'},
            'timeouts': {'connect': time_of(0.5), 'response': time_of(10),
                         'body': time_of(10), 'idle': time_of(2)},
            'backends': [self.entry(s) for s in self.servers[:4]],
            'standbys': [self.entry(s) for s in self.servers[4:]],
        }
        listener = {'name': 'web', 'listen': f'127.0.0.1:{port}', 'pool': 'p',
                    'key': 'header:X-Key', 'timeouts': {'request': time_of(2), 'idle': time_of(3),
                                                             'tunnel': time_of(3)}}
        top = {'workers': WORKERS, 'shutdown_timeout': time_of(20),
               'admin': {'listen': f'127.0.0.1:{admin}'}}
        return harness.yaml_text(top, [listener], [pool])

    def entry(self, server):
        return {'name': server.name, 'address': f'127.0.0.1:{server.port}'}

    def start_proxy(self):
        for s in self.servers:
            wait_until(lambda: harness.accepts(s.port), f'{s.name} to be there')
        port, admin = harness.free_port(), harness.free_port()
        text = self.configuration(port, admin)
        self.proxy = harness.Proxy(self.folder, 'proxy', text, port, admin)
        if self.few:
            self.proxy.argv = ['prlimit', f'--nofile={self.few}:{self.few}', *self.proxy.argv]
        self.proxy.start()
        self.at_rest = descriptors(self.proxy)

    def run(self):
        """The figures as text. Whatever went wrong is in `problems` and raised in the end."""
        try:
            self.start_proxy()
            self.director = Director(self)
            for t in (self.director, *self.good, *self.bad):
                t.start()
            self.watch(time.monotonic() + self.seconds)
            self.stop_clients(self.good)
            self.director.finish()
            self.stop_clients(self.bad)
            self.check_rest()
            self.check_stop()
            self.check_outcomes()
            self.check_memory()
        finally:
            for t in (*self.good, *self.bad):
                t.stopping.set()
            if hasattr(self, 'director'):
                self.director.stopping.set()
                if self.director.ident:
                    self.director.join()
            for s in self.servers:
                s.end()
            if hasattr(self, 'proxy'):
                self.proxy.kill()
        print(self.report(), flush=True)
        if self.problems:
            print(self.proxy.err()[-5000:])
        assert not self.problems, self.problems[:20]

    def watch(self, end):
        while time.monotonic() < end:
            self.rss.append(megabytes(self.proxy))
            assert self.proxy.running(), self.proxy.err()[-5000:]
            time.sleep(min(1.0, max(0.0, end - time.monotonic())))

    def stop_clients(self, threads):
        for t in threads:
            t.stopping.set()
        for t in threads:
            t.join(pace.upper(40))
            assert not t.is_alive(), f'{t} hangs'

    def check_rest(self):
        """Everyone is gone: nothing is kept."""
        admin = self.proxy.admin
        wait_until(lambda: admin.json('/status')['listeners'][0]['connections'] == 0,
                   'all connections to be gone')
        pool = admin.json('/status')['pools'][0]
        for s in pool['backends'] + pool['standbys']:
            wait_until(lambda: self.proxy.server(s['name'])['active'] == 0, f'{s["name"]} to rest')
        # The kept connections end after 2 s or so, and a check may be under way; with its first
        # connection each of the loops has opened one that it keeps.
        wait_until(lambda: descriptors(self.proxy) <= self.at_rest + WORKERS + 1,
                   f'the descriptors to be as few as before the load, {self.at_rest}')

    def check_stop(self):
        """SIGTERM amidst the clients that misbehave: exit 0, no leak."""
        self.bad_at_stop = self.nuisances('s')
        for t in self.bad_at_stop:
            t.start()
        wait_until(lambda: all(t.count or t.done or t.kind == 'silent' for t in self.bad_at_stop),
                   'the bad ones to be at it')
        since = time.monotonic()
        self.proxy.stop()
        self.stop_s = time.monotonic() - since
        self.stop_clients(self.bad_at_stop)

    def read_ledger(self):
        """uid -> [(time, method, deed, server)] in order of time"""
        out = collections.defaultdict(list)
        for s in self.servers:
            if not s.ledger.exists():
                continue
            for line in s.ledger.read_text().splitlines():
                at, method, uid, deed, server = line.split()
                out[uid].append((float(at), method, deed, server))
        for entries in out.values():
            entries.sort()
        return out

    def was_killed(self, entries, end):
        """Whether a server that got it died before it can have answered all."""
        return any(at <= latest and earliest <= end for at, _, _, name in entries
                   for earliest, latest in self.by_name[name].killed)

    def explain(self, uid, entries):
        """Why a client may have seen this; None: it may not. The order of the entries tells
        nothing: a server that was marked down may read last what was sent to it first."""
        method, outcome, _, end = self.outcomes[uid]
        deeds = {e[2] for e in entries}
        if outcome.startswith('refused'):
            return f'{outcome}, few descriptors' if self.few and not entries else None
        if outcome == 'cut':
            if deeds & CUTS:
                return f'cut, the server did: {" ".join(sorted(deeds & CUTS))}'
            return 'cut, the server was killed' if self.was_killed(entries, end) else None
        if outcome == '504' and 'mute' in deeds:
            return f'504, {method} at a mute server'
        if outcome == '502' and 'many_interim' in deeds:
            return '502, no other try after too many interim answers'
        if method == 'POST' and outcome in ('502', '504'):
            return f'{outcome}, POST is not sent again'
        return None

    def check_outcomes(self):
        self.ledger = self.read_ledger()
        self.deeds, self.explained = collections.Counter(), collections.Counter()
        for uid, entries in self.ledger.items():
            for e in entries:
                self.deeds[e[2]] += 1
            if entries[0][1] == 'POST' and len(entries) > 1:
                self.problem(f'POST {uid} was sent more than once: {entries}')
            self.check_cut(uid, entries)
        for uid, (method, outcome, since, end) in self.outcomes.items():
            entries = self.ledger.get(uid, [])
            if outcome == '200':  # a POST
                if len(entries) != 1:
                    self.problem(f'POST {uid} was answered, the ledger has {entries}')
                continue
            why = self.explain(uid, entries)
            self.explained[why or 'UNEXPLAINED ' + outcome.partition(':')[0]] += 1
            if why is None:
                self.problem(f'{method} {uid}: {outcome} after {end - since:.2f} s from '
                             f'{since:.3f}, {entries}')

    def check_cut(self, uid, entries):
        """An answer that each server which gave one has cut never looks whole."""
        if uid[0] == 'g' and all(e[2] in CUTS for e in entries) \
                and self.outcomes.get(uid, (None, '200'))[1] == '200':
            self.problem(f'{uid} was cut but looked whole: {entries}')

    def check_memory(self):
        third = len(self.rss) // 3
        part = max(len(self.rss) // 10, 3)
        self.rss_then = statistics.median(self.rss[third:third + part])
        self.rss_end = statistics.median(self.rss[-part:])
        if self.rss_end > self.rss_then * 1.15 + 4:
            self.problem(f'memory grew from {self.rss_then:.1f} to {self.rss_end:.1f} MiB')

    def report(self):
        counts = collections.Counter()
        for g in self.good:
            counts.update(g.counts)
        requests = sum(counts[m] for m in ('GET', 'PUT', 'POST'))
        lines = [
            f'chaos, seed {self.seed}, {self.seconds:.0f} s, '
            + (f'{self.few} descriptors' if self.few else 'descriptors in plenty'),
            f'requests of well-behaved clients: {requests} (GET {counts["GET"]}, '
            f'PUT {counts["PUT"]}, POST {counts["POST"]}), {requests / self.seconds:.0f}/s, '
            f'slowest {max(g.slowest for g in self.good):.2f} s',
            f'answered 200 with their own id: {counts["200"]}',
            'not answered so: ' + table(self.explained),
            'faults of servers: ' + table(self.director.faults),
            'deeds to requests: ' + table(self.deeds),
            'nuisances: ' + table({b.kind: b.done for b in self.bad}),
            'seen to be down after: ' + times(self.director.seen),
            'back in service after: ' + times(self.director.back),
            f'resident: {self.rss_then:.1f} MiB after a third, {self.rss_end:.1f} at the end, '
            f'most {max(self.rss):.1f}',
            f'stopped amidst nuisances in {self.stop_s:.2f} s, exit 0',
            f'problems: {len(self.problems)}',
        ]
        return '\n  '.join(lines)


def table(counts):
    return ', '.join(f'{k} {v}' for k, v in sorted(counts.items())) or 'none'


def times(samples):
    return ', '.join(f'{k} {statistics.median(v):.2f} s (most {max(v):.2f}, {len(v)} times)'
                     for k, v in sorted(samples.items())) or 'never'


def sanitizer_options(env):
    """Freed memory that the sanitizer keeps back would look like growth."""
    env['ASAN_OPTIONS'] = ':'.join(filter(None, [env.get('ASAN_OPTIONS'), 'quarantine_size_mb=1']))


def main():
    p = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    p.add_argument('--seconds', type=float, default=float(os.environ.get('CHAOS_SECONDS', 60)))
    p.add_argument('--few-descriptors', type=int, nargs='?', const=300, default=0, metavar='N')
    p.add_argument('--seed', type=int)
    p.add_argument('--keep', metavar='FOLDER', help='work there and leave all files')
    p.add_argument('--serve', nargs=3, help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.serve:
        name, port, ledger = args.serve
        Server(name, int(port), ledger).run()
    sanitizer_options(os.environ)
    meter = pace.Meter()
    try:
        in_folder(args)
    finally:
        meter.stop()


def in_folder(args):
    if args.keep:
        os.makedirs(args.keep, exist_ok=True)
        Chaos(args.keep, args.seconds, args.few_descriptors, args.seed).run()
        return
    with tempfile.TemporaryDirectory() as folder:
        Chaos(folder, args.seconds, args.few_descriptors, args.seed).run()


if __name__ == '__main__':
    main()
