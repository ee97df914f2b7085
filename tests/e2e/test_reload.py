"""Changes of the configuration while the proxy serves: by SIGHUP and by POST /reload."""

import json
import os
import pathlib
import re
import signal
import socket
import threading
import time

import pytest

from client import Client, get
from harness import accepts, free_port, wait_until
import pace
from scripted import Backend

KEYS = [f'k{i}' for i in range(60)]
BY_KEY = {'key': 'header:X-Key'}


class Reloaded:
    """A proxy with one listener and one pool whose file is written anew."""

    def __init__(self, rig, backends, standbys=(), **more):
        self.rig, self.port, self.admin_port = rig, free_port(), free_port()
        self.backends, self.standbys = list(backends), list(standbys)
        self.more = {'listener': BY_KEY, **more}
        self.proxy = rig.proxy_of(self.text(), self.port, self.admin_port)
        self.admin = self.proxy.admin

    def text(self):
        return self.rig.text(self.backends, self.standbys, port=self.port, admin=self.admin_port,
                             **self.more)

    def write(self, text=None):
        """As an editor does: the name goes to a new file."""
        new = self.proxy.config.with_suffix('.new')
        new.write_text(self.text() if text is None else text)
        new.replace(self.proxy.config)

    def reload(self, expect=200, query=''):
        status, _, text = self.admin.request('POST', f'/reload{query}')
        assert status == expect, (status, text)
        return json.loads(text)

    def change(self, expect=200, query='', **more):
        self.more.update(more)
        self.write()
        return self.reload(expect, query)

    def generation(self):
        return self.admin.json('/status')['generation']

    def owners(self):
        return {k: self.admin.json(f'/route?pool=p&key={k}')['server'] for k in KEYS}

    def lines(self, event):
        quoted = f'"{event}"' if ' ' in event else event
        return [line for line in self.proxy.err().splitlines() if f' event={quoted} ' in f'{line} ']

    def wait_line(self, event, n=1):
        return wait_until(lambda: len(self.lines(event)) >= n and self.lines(event),
                          f'{n} lines {event}')


def upgrade(ex):
    """Answers by its name; at /ws it echoes."""
    if ex.request.target != '/ws':
        ex.read_body()
        ex.answer()
        return
    ex.send(b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n')
    while data := ex.sock.recv(4096):
        ex.sock.sendall(data)
    ex.close()


def open_tunnel(port):
    c = Client(port)
    c.send_request(target='/ws', fields={'X-Key': 'k1', 'Upgrade': 'echo', 'Connection': 'Upgrade'})
    assert c.head().status == 101
    return c


def echo(sock, text):
    sock.sendall(text)
    got = b''
    while len(got) < len(text):
        part = sock.recv(4096)
        assert part, 'the connection was cut'
        got += part
    assert got == text


class Posts:
    """New connections, each with a POST; whatever goes wrong is kept."""

    def __init__(self, port):
        self.port, self.good, self.bad, self.ends = port, 0, [], threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.ends.wait(0.01):
            try:
                with Client(self.port) as c:
                    a = c.request('POST', '/', {'X-Key': 'k2'}, body=b'x' * 3000)
                if a.status == 200:
                    self.good += 1
                else:
                    self.bad.append(a)
            except (OSError, AssertionError) as e:
                self.bad.append(repr(e))

    def stop(self):
        self.ends.set()
        self.thread.join(pace.upper(30))
        assert not self.thread.is_alive() and self.bad == [] and self.good > 0, self.bad[:3]


def test_under_load_nothing_fails_and_nothing_moves(rig):
    b = [rig.backend(n, upgrade) for n in ('b1', 'b2', 's1')]
    t1 = rig.tcp('t1')
    tcp_port, port, admin = free_port(), free_port(), free_port()
    text = rig.text(b[:2], b[2:], listener=BY_KEY, port=port, admin=admin)
    tcp = f'  - {{name: raw, listen: 127.0.0.1:{tcp_port}, mode: tcp, pool: t}}\n'
    text = text.replace('pools:\n', f'{tcp}pools:\n  - name: t\n    health: {{check: off}}\n    '
                        f'backends:\n      - {{name: t1, address: {t1.address}}}\n')
    proxy = rig.proxy_of(text, port, admin)
    load, posts = rig.load(proxy, KEYS, pace=0.004), Posts(port)
    tunnel = open_tunnel(port)
    stream = Client(tcp_port)
    assert stream.reader.exactly(3) == b't1\n'
    since = load.wait_rounds(1)
    for i in range(20):
        proxy.config.write_text(text.replace('name: p\n', f'name: p\n    retries: {i % 3}\n', 1))
        if i % 2:
            status, _, said = proxy.admin.request('POST', '/reload')
            assert status == 200 and json.loads(said)['moved'] == {'p': 0.0, 't': 0.0}, said
        else:
            before = proxy.admin.json('/status')['generation']
            proxy.signal(signal.SIGHUP)
            wait_until(lambda: proxy.admin.json('/status')['generation'] > before, 'a reload')
        echo(tunnel.sock, f'turn {i}'.encode())
        echo(stream.sock, f'turn {i}'.encode())
    load.wait_rounds(1)
    posts.stop()
    assert load.bad(since) == []
    assert {len(who) for who in load.served(since).values()} == {1}
    assert proxy.admin.json('/status')['generation'] == 21
    assert proxy.admin.metric('ringproxy_reloads_total', result='ok') == 20
    tunnel.close()
    stream.close()


def test_a_backend_comes_and_goes(rig):
    b1, b2, b3 = (rig.backend(n) for n in ('b1', 'b2', 'b3'))
    r = Reloaded(rig, [b1, b2])
    load = rig.load(r.proxy, KEYS, pace=0.005)
    before = r.owners()
    r.backends.append(b3)
    said = r.change()
    after = r.owners()
    assert said['generation'] == 2
    assert 0.2 < said['moved']['p'] < 0.5 and said['moved'] == said['least']
    assert {after[k] for k in KEYS if after[k] != before[k]} == {'b3'}
    load.wait_rounds(1)
    line, = r.lines('pool changed')
    assert f'moved={said["moved"]["p"] * 100:.4f}%' in line and 'least=' in line
    r.backends.pop()
    assert r.change()['moved'] == said['moved']
    assert r.owners() == before
    load.wait_rounds(1)
    assert load.bad() == []
    assert 'servers_added=1 servers_removed=0' in r.lines('reloaded')[0]
    assert 'servers_added=0 servers_removed=1' in r.lines('reloaded')[1]


def test_a_pool_comes_and_goes(rig):
    b1, b2 = rig.backend('b1'), rig.backend('b2')
    r = Reloaded(rig, [b1])
    plain = r.text()
    other = plain.replace('pool: p,', 'pool: q,') + (
        f'  - name: q\n    backends:\n      - {{name: b1, address: {b2.address}}}\n')
    assert other.count('pool: q') == 1
    r.write(other)
    said = r.reload()
    assert said['added'] == ['q'] and said['removed'] == []
    assert get(r.port, fields={'X-Key': 'a'}).text == 'b2'
    r.write(plain)
    said = r.reload()
    assert said['removed'] == ['q']
    assert get(r.port, fields={'X-Key': 'a'}).text == 'b1'
    assert len(r.lines('pool added')) == len(r.lines('pool removed')) == 1


def test_listeners_come_and_go(rig):
    r = Reloaded(rig, [rig.backend('b1', upgrade)])
    plain, port, path = r.text(), free_port(), r.proxy.config.parent / 'sock'
    more = plain.replace('pools:\n', f'  - {{name: more, listen: 127.0.0.1:{port}, pool: p}}\n'
                         f'  - {{name: local, listen: "unix:{path}", pool: p}}\npools:\n')
    load = rig.load(r.proxy, KEYS, pace=0.005)
    for turn in range(3):
        r.write(more)
        r.reload()
        idle, tunnel = Client(port), open_tunnel(port)
        assert idle.request().status == 200 and path.is_socket()
        r.write(plain)
        r.reload()
        wait_until(lambda: not accepts(port), 'the port to close')
        assert not path.exists()
        # its request may have been on its way when the listener went
        last = idle.request('POST', body=b'x')
        assert last.status == 200 and last.get('Connection') == 'close' and idle.at_end()
        echo(tunnel.sock, b'still there')
        tunnel.close()
        idle.close()
        assert len(r.lines('listener closed')) == 2 * (turn + 1)
    load.wait_rounds(1)
    assert load.bad() == []


def test_a_listener_keeps_its_sockets_when_it_is_renamed(rig):
    b1, b2 = rig.backend('b1'), rig.backend('b2')
    r = Reloaded(rig, [b1, b2])
    load = rig.load(r.proxy, KEYS, pace=0.002)
    for i in range(6):
        r.change(listener={**BY_KEY, 'name': f'web{i}', 'max_connections': 1000 + i,
                           'via': bool(i % 2)})
    load.wait_rounds(1)
    assert load.bad() == []
    assert r.lines('listener closed') == []
    assert [one['name'] for one in r.admin.json('/status')['listeners']] == ['web5']


def in_place_of(r, kind):
    config = r.proxy.config
    if kind == 'syntax':
        r.write('listeners: [\n')
    elif kind == 'two mistakes':
        r.write(r.text().replace('workers: 2', 'workers: 0') + 'zzz: 1\n')
    elif kind == 'empty':
        r.write('')
    elif kind == 'no token':
        r.write(r.text().replace('admin: {', 'admin: {token_file: nowhere, '))
    elif kind == 'port in use':
        taken = socket.create_server(('127.0.0.1', 0))
        r.write(r.text().replace('pools:', '  - {name: more, listen: 127.0.0.1:'
                                 f'{taken.getsockname()[1]}, pool: p}}\npools:'))
        return taken
    else:
        config.unlink(missing_ok=True)
        if kind == 'directory':
            config.mkdir()
        elif kind == 'fifo':
            os.mkfifo(config)
        elif kind == 'loop of links':
            config.symlink_to(config)
        else:
            assert kind == 'deleted'
    return None


BROKEN = {
    'syntax': [r':\d+:\d+: '],
    'two mistakes': [r':1:10: workers: 0 is out of range', r': zzz: unknown key'],
    'empty': ['the file is empty'],
    'no token': ['token_file: .*nowhere cannot be read'],
    'port in use': ['listener more: bind 127.0.0.1:.*in use'],
    'deleted': ['No such file'],
    'directory': ['Is a directory'],
    'fifo': ['Not a regular file'],
    'loop of links': ['the file cannot be read'],
}


def test_what_is_broken_is_refused_and_the_old_one_serves(rig):
    r = Reloaded(rig, [rig.backend('b1')])
    for n, (kind, wanted) in enumerate(BROKEN.items(), 1):
        keep = in_place_of(r, kind)
        errors = r.reload(422)['errors']
        assert len(errors) == len(wanted), (kind, errors)
        for line, pattern in zip(errors, wanted):
            assert re.search(pattern, line), (kind, errors)
        if kind != 'port in use':
            assert [e for e in errors if not e.startswith(str(r.proxy.config))] == [], errors
        logged = r.wait_line('reload refused', n)
        assert f'errors={len(wanted)}' in logged[-1], logged
        assert r.generation() == 1 and get(r.port).status == 200
        if keep:
            keep.close()
        if r.proxy.config.is_dir():
            r.proxy.config.rmdir()
        else:
            r.proxy.config.unlink(missing_ok=True)
    assert len(r.lines('configuration error')) == sum(map(len, BROKEN.values())) - 1
    assert r.admin.metric('ringproxy_reloads_total', result='refused') == len(BROKEN)
    r.write()
    assert r.reload()['generation'] == 2


def test_a_bound_refuses_what_moves_more(rig):
    b1, b2, b3 = (rig.backend(n) for n in ('b1', 'b2', 'b3'))
    r = Reloaded(rig, [b1, b2], top={'reload': {'max_move': '10%'}})
    before = r.owners()
    r.backends.append(b3)
    for top in ({'reload': {'max_move': '10%'}}, {'reload': {'max_move': 'off'}}):
        said = r.change(422, top=top)  # a file can't lift the bound for itself
        assert said['max_move'] == 0.1 and 0.2 < said['moved']['p'] < 0.5
        assert said['least'] == said['moved']
        assert re.search(r'pool p: \d+\.\d+% of the keys would move.*10%', said['errors'][0])
        assert r.owners() == before and r.generation() == 1
    assert len(r.wait_line('too many keys would move', 2)) == 2
    assert r.change(query='?force=1')['generation'] == 2
    r.backends.pop()
    assert r.change()['generation'] == 3  # by now it is off


def test_many_signals_make_few_reloads(rig):
    r = Reloaded(rig, [rig.backend('b1')])
    began = time.monotonic()
    for i in range(100):
        r.proxy.signal(signal.SIGHUP)
        time.sleep(0.005)  # not to wait for anything: 100 in half a second
    r.change(pool={'retries': 1})  # one that begins after the last signal, and waits for all of it
    seconds = time.monotonic() - began
    assert r.generation() - 1 <= seconds / 0.25 + 2


def test_callers_who_wait_together_are_answered_together(rig):
    slow = SlowCheck('b2')
    rig.scripted.append(slow)
    r = Reloaded(rig, [rig.backend('b1')])
    r.backends.append(slow)
    r.write()
    answers = []

    def ask():
        answers.append(r.reload()['generation'])

    threads = [threading.Thread(target=ask)]
    threads[0].start()
    assert slow.asked.wait(pace.upper(20))
    threads += [threading.Thread(target=ask) for _ in range(8)]
    for t in threads[1:]:
        t.start()
    wait_until(lambda: r.admin.metric('ringproxy_reloads_total', result='ok') == 0, 'the first')
    slow.release.set()
    for t in threads:
        t.join(pace.upper(30))
    assert len(answers) == 9 and answers.count(2) == 1
    assert 3 <= max(answers) <= 4, answers  # the eight may have come in two groups


class SlowCheck(Backend):
    """Its checks wait to be released."""

    def __init__(self, name, status=200, **more):
        self.asked, self.release, self.said = threading.Event(), threading.Event(), status
        super().__init__(name, **more)

    def _status_of_check(self):
        self.asked.set()
        self.release.wait(pace.upper(30))
        return self.said

    def stop(self):
        self.release.set()
        super().stop()


@pytest.mark.parametrize('status', [200, 503])
def test_a_new_server_is_checked_before_it_gets_keys(rig, status):
    slow = SlowCheck('b3', status)
    rig.scripted.append(slow)
    r = Reloaded(rig, [rig.backend('b1'), rig.backend('b2')])
    load = rig.load(r.proxy, KEYS, pace=0.005)
    before = r.owners()
    r.backends.append(slow)
    r.write()
    said = []
    t = threading.Thread(target=lambda: said.append(r.reload()))
    t.start()
    assert slow.asked.wait(pace.upper(20))
    load.wait_rounds(1)
    assert r.generation() == 1 and r.owners() == before
    slow.release.set()
    t.join(pace.upper(30))
    assert said[0]['generation'] == 2
    r.proxy.wait_state('b3', 'up' if status == 200 else 'down')
    assert ('b3' in r.owners().values()) == (status == 200)
    load.wait_rounds(1)
    assert load.bad() == []
    assert {q.target for q in slow.served()} == set() if status == 503 else slow.served()


def test_what_has_moved_is_told_as_it_is(rig):
    """b1 is out already, so to take it out of the file moves nothing; the plan of the files says more."""
    b = [rig.backend(n) for n in ('b1', 'b2', 'b3')]
    r = Reloaded(rig, b)
    r.proxy.post('b1', 'drain')
    owners = r.owners()
    r.backends = b[1:]
    r.write()
    assert r.reload()['moved'] == {'p': 0.0} and r.owners() == owners
    assert 'moved=0.0000%' in r.lines('reloaded')[0]
    r.backends = b
    r.write()
    assert r.reload()['moved']['p'] > 0.2


def test_nothing_is_forgotten(rig):
    """b1 down with s1 promoted, b2 drained, b3 hanging with requests in flight."""
    held = threading.Event()

    def hang(ex):
        if ex.request.target == '/hang':
            held.wait(pace.upper(30))
        ex.answer()

    b1, b2, s1 = (rig.backend(n) for n in ('b1', 'b2', 's1'))
    b3 = rig.backend('b3', hang)
    r = Reloaded(rig, [b1, b2, b3], [s1])
    b1.stop()
    r.proxy.wait_state('s1', 'promoted')
    r.proxy.post('b2', 'drain')
    owners = r.owners()
    mine = next(k for k in KEYS if owners[k] == 'b3')
    c = Client(r.port)
    c.send_request(target='/hang', fields={'X-Key': mine})
    wait_until(lambda: r.proxy.server('b3')['active'] == 1, 'the request')
    load = rig.load(r.proxy, KEYS, pace=0.005)
    for i in range(5):
        assert r.change(pool={'retries': i % 3})['moved'] == {'p': 0.0}
        assert r.owners() == owners
        assert [r.proxy.server(n)['state'] for n in ('b1', 'b2', 'b3', 's1')] == \
            ['down', 'draining', 'up', 'promoted']
        assert r.proxy.server('b3')['active'] >= 1
    held.set()
    assert c.answer().text == 'b3'
    c.close()
    load.wait_rounds(1)
    assert load.bad() == []
    r.proxy.post('b2', 'enable')
    b1.start()
    r.proxy.wait_state('b1', 'up')
    assert set(r.owners().values()) == {'b1', 'b2', 'b3'}


def test_a_ramp_goes_on(rig):
    b1, b2, s1 = (rig.backend(n) for n in ('b1', 'b2', 's1'))
    ramp = pace.stretched(1.5)
    r = Reloaded(rig, [b1, b2], [s1], pool={'failback': {'ramp': pace.ms(ramp)}})
    home = r.owners()
    b1.stop()
    r.proxy.wait_state('s1', 'promoted')
    b1.start()
    r.proxy.wait_state('b1', 'returning')
    moved = {k for k, who in r.owners().items() if who == 'b1'}
    for i in range(8):
        r.change(pool={'failback': {'ramp': pace.ms(ramp)}, 'retries': i % 3})
        now = {k for k, who in r.owners().items() if who == 'b1'}
        assert moved <= now, 'a key went back'
        moved = now
    r.proxy.wait_state('b1', 'up')
    assert r.owners() == home
    assert len(r.lines('failback begins')) == len(r.lines('failback')) == 1


def test_log_level_and_what_needs_a_restart(rig):
    r = Reloaded(rig, [rig.backend('b1')], top={'log': {'level': 'error'}})
    r.change()
    assert r.lines('reloaded') == []
    assert r.change(top={'log': {'level': 'info'}, 'workers': 3})['needs_restart'] == ['workers']
    r.wait_line('reloaded')
    line, = r.wait_line('needs restart')
    assert 'key=workers running=2 file=3' in line
    threads = [pathlib.Path(f'/proc/{r.proxy.process.pid}/task/{t}/comm').read_text()
               for t in os.listdir(f'/proc/{r.proxy.process.pid}/task')]
    assert sum(t.startswith('worker-') for t in threads) == 2


def test_the_admin_interface_moves_and_gets_a_token(rig):
    r = Reloaded(rig, [rig.backend('b1')])
    old = r.admin_port
    r.admin_port = free_port()
    r.write()
    assert r.reload()['generation'] == 2  # answered where it was asked
    wait_until(lambda: not accepts(old), 'the old address to close')
    r.admin.port = r.admin_port
    token = r.proxy.config.parent / 'token'
    token.write_text('first')
    top = {'admin': {'listen': f'127.0.0.1:{r.admin_port}', 'token_file': str(token)}}
    assert r.change(top=top)['generation'] == 3
    assert r.admin.request('GET', '/status')[0] == 401
    r.admin.token = 'first'
    token.write_text('second')
    assert r.reload()['generation'] == 4  # the same file names another token now
    assert r.admin.request('GET', '/status')[0] == 401
    r.admin.token = 'second'
    assert r.generation() == 4
    r.write(re.sub('(?m)^admin:.*\n', '', r.text()))
    r.reload()
    wait_until(lambda: not accepts(r.admin_port), 'the interface to go')
    r.write()
    r.proxy.signal(signal.SIGHUP)
    wait_until(lambda: accepts(r.admin_port), 'the interface to come')
    assert r.generation() == 6 and r.admin.request('GET', '/readyz')[0] == 200


def test_an_admin_address_that_is_taken_changes_nothing(rig):
    r = Reloaded(rig, [rig.backend('b1')])
    with socket.create_server(('127.0.0.1', 0)) as taken:
        good, port = r.text(), taken.getsockname()[1]
        r.write(good.replace(f'127.0.0.1:{r.admin_port}', f'127.0.0.1:{port}')
                .replace('name: p\n', 'name: p\n    when_down: fail\n'))
        assert 'admin: listen' in r.reload(422)['errors'][0]
    assert r.generation() == 1 and get(r.port).status == 200
    r.write(good)
    assert r.reload()['generation'] == 2


def test_a_stop_ends_a_reload(rig):
    slow = SlowCheck('b2')
    rig.scripted.append(slow)
    r = Reloaded(rig, [rig.backend('b1')])
    r.backends.append(slow)
    r.write()
    said = []
    t = threading.Thread(target=lambda: said.append(r.admin.request('POST', '/reload')[0]))
    t.start()
    assert slow.asked.wait(pace.upper(20))
    r.proxy.stop()
    t.join(pace.upper(20))
    assert said == [503]
    assert len(r.lines('reload refused')) == 1


def test_a_signal_at_the_start_is_remembered(rig):
    slow = SlowCheck('b1')
    rig.scripted.append(slow)
    port, admin = free_port(), free_port()
    proxy = rig.proxy_of(rig.text([slow], port=port, admin=admin), port, admin, ready=False)
    assert slow.asked.wait(pace.upper(20))
    proxy.signal(signal.SIGHUP)
    status, _, text = proxy.admin.request('POST', '/reload')
    assert status == 503 and 'starting' in text
    slow.release.set()
    wait_until(lambda: proxy.admin.json('/status')['generation'] == 2, 'the reload')


def test_descriptors_come_back(rig):
    b1, b2 = rig.backend('b1'), rig.backend('b2')
    r = Reloaded(rig, [b1])
    fds = f'/proc/{r.proxy.process.pid}/fd'

    def settled(n):
        return len(os.listdir(fds)) <= n

    r.reload()
    before = len(os.listdir(fds))
    for i in range(40):
        r.backends = [b1, b2] if i % 2 == 0 else [b1]
        r.change()
    wait_until(lambda: settled(before), 'descriptors to be closed')
    assert set(r.owners().values()) == {'b1'}
