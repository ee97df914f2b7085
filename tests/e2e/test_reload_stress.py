"""Fifty reloads under a load: kept and new connections, GET and POST, a WebSocket, a stream. Not one
request fails, no connection is cut, and no key moves while the file gives it to the same server."""

import json
import random
import signal

import pytest

import harness
import pace
import test_reload_keys
from client import Client, get
from harness import accepts, free_port, wait_until
from test_reload import KEYS, Posts, echo, open_tunnel, upgrade

pytestmark = pytest.mark.threads


class Site:
    def __init__(self, rig):
        self.rig = rig
        b = self.backends = {n: rig.backend(n, upgrade) for n in ('b1', 'b2', 'b3', 'q1')}
        t1 = rig.tcp('t1')
        self.ports = {n: free_port() for n in ('web', 'raw', 'more', 'admin')}
        self.path = rig.folder / 'more.sock'
        self.base = {
            'top': {'workers': 2, 'admin': {'listen': f'127.0.0.1:{self.ports["admin"]}'}},
            'web': {**self.listener('web'), 'key': 'header:X-Key'},
            'raw': {**self.listener('raw', 't'), 'mode': 'tcp', 'key': 'source_ip'},
            'p': self.pool('p', b['b1'], b['b2']),
            't': {'name': 't', 'health': {'check': 'off'}, 'backends': [harness.server_entry(t1)]},
        }
        self.proxy = rig.proxy_of(self.text({}), self.ports['web'], self.ports['admin'])
        self.admin = self.proxy.admin
        self.reloads = 0

    def listener(self, name, pool='p'):
        return {'name': name, 'listen': f'127.0.0.1:{self.ports[name]}', 'pool': pool}

    def pool(self, name, *backends, **more):
        return {'name': name, **harness.quick_pool(), **more, 'backends': [harness.server_entry(s) for s in backends]}

    def text(self, edit):
        c = harness.merged(self.base, edit)
        return harness.yaml_text(c['top'], [c[n] for n in ('web', 'raw', 'more', 'local') if n in c],
                                 [c[n] for n in ('p', 't', 'q') if n in c])

    def apply(self, edit, by_signal=False):
        """What the answer says moved."""
        self.proxy.config.write_text(self.text(edit))
        self.reloads += 1
        if by_signal:
            before = self.generation()
            self.proxy.signal(signal.SIGHUP)
            wait_until(lambda: self.generation() > before, 'a reload')
            return None
        status, _, text = self.admin.request('POST', '/reload')
        assert status == 200, text
        return json.loads(text)['moved']

    def generation(self):
        return self.admin.json('/status')['generation']

    def check_more(self):
        """Both further listeners serve; a client of one is kept."""
        kept = Client(self.ports['more'])
        wait_until(lambda: kept.request(fields={'X-Key': 'k1'}).status == 200, 'an answer')
        assert get(str(self.path), fields={'X-Key': 'k1'}).status == 200
        return kept

    def check_no_more(self, kept):
        wait_until(lambda: not accepts(self.ports['more']) and not self.path.exists(), 'the listeners to go')
        last = kept.request(fields={'X-Key': 'k1'})
        assert last.status == 200 and last.get('Connection') == 'close' and kept.at_end()
        kept.close()


def steps(s, i):
    """Files that leave each key where it is: one that changes a value, three that add something."""
    local = {'name': 'local', 'listen': f'unix:{s.path}', 'pool': 'p'}
    q = {'q': s.pool('q', s.backends['q1'])}
    return [{'p': {'retries': i % 3, 'timeouts': {'response': f'{60 + i}s'}}, 'web': {'via': i % 2 == 0}},
            {'more': s.listener('more'), 'local': local},
            {**q, 'web': {'pool': None, 'routes': [{'path': '/q', 'pool': 'q'}, {'pool': 'p'}]}},
            {'web': {'name': f'web{i}', 'max_connections': 5000 + i, 'timeouts': {'idle': f'{60 + i}s'}}}]


def moving(s, i):
    """Files that move keys: another backend, another weight."""
    entries = [harness.server_entry(s.backends[n]) for n in ('b1', 'b2', 'b3')]
    return ({'p': {'backends': entries}}, {'p': {'backends': [{**entries[0], 'weight': 2 + i % 2}, entries[1]]}})


def test_fifty_reloads_cut_nothing(rig):
    s = Site(rig)
    load, posts = rig.load(s.proxy, KEYS, pace=0.004), Posts(s.ports['web'])
    with open_tunnel(s.ports['web']) as tunnel, Client(s.ports['raw']) as stream:
        assert stream.reader.exactly(3) == b't1\n'
        home = {k: s.admin.json(f'/route?pool=p&key={k}')['server'] for k in KEYS}
        since = load.wait_rounds(1)
        for i in range(8):
            for n, edit in enumerate(steps(s, i)):
                moved = s.apply(edit, by_signal=n == 3)
                assert moved is None or set(moved.values()) == {0.0}, moved
                if n == 1:
                    kept = s.check_more()
                elif n == 2:
                    s.check_no_more(kept)
                    wait_until(lambda: get(s.ports['web'], '/q').text == 'q1', 'the route')
                echo(tunnel.sock, f'turn {i} {n}'.encode())
                echo(stream.sock, f'turn {i} {n}'.encode())
        load.wait_rounds(1)
        assert load.bad(since) == []
        assert load.served(since) == {k: {who} for k, who in home.items()}
        for i in range(4):
            for edit in moving(s, i):
                assert s.apply(edit)['p'] > 0
                assert s.apply({})['p'] > 0
                echo(tunnel.sock, f'turn {i}'.encode())
                echo(stream.sock, f'turn {i}'.encode())
        s.apply({})
        s.apply({}, by_signal=True)
        since = load.wait_rounds(1)
        assert load.served(since) == {k: {who} for k, who in home.items()}
    posts.stop()
    assert load.bad() == [] and s.reloads == 50
    assert s.generation() == 51 and s.admin.metric('ringproxy_reloads_total', result='ok') == 50


def some_edit(rnd, s):
    """What up to five rows of the table of keys change, at once."""
    rows = [r for group in test_reload_keys.ROWS.values() for r in group
            if r.probe is not test_reload_keys.refused and not r.key.startswith('admin.')]
    edit = {}
    for r in rnd.sample(rows, rnd.randrange(6)):
        for part in (r.given, r.to):
            edit = harness.merged(edit, test_reload_keys.made(part, s))
    return edit


@pytest.mark.parametrize('seed', [1, 2])
def test_any_order_of_changes_leaves_a_proxy_that_is_as_its_file(rig, seed):
    """Under a load, with b1 going up and down, drained and tunneled to. Clients may be refused meanwhile:
    such a file may close their listener, or allow one connection."""
    s, rnd, tunnels = test_reload_keys.Site(rig).start(), random.Random(seed), []
    load, end, reloads = rig.load(s.proxy, KEYS, pace=0.004), pace.Deadline(3), {200: 0, 422: 0}
    while end.elapsed() < end.seconds:
        reloads[s.ask(some_edit(rnd, s), '?force=1')[0]] += 1
        s.b1.health_status = rnd.choice([200, 200, 503])
        verb = rnd.choice(['drain', 'enable', 'failback'])
        s.admin.request('POST', f'/pools/p/backends/b{rnd.randrange(1, 3)}/{verb}')  # 404: the pool has another name
        try:
            tunnels.append(test_reload_keys.tunnel(s))
        except (AssertionError, OSError):
            pass  # refused, or there is no listener now
        if len(tunnels) > 10:
            tunnels.pop(0).close()
    print(f'--- reloads: {reloads}')
    assert reloads[200] > 3
    s.rest()
    s.proxy.wait_state('b1', 'up')
    since = load.wait_rounds(1)
    assert load.bad(since) == []
    assert s.owners() == harness.route(s.proxy.config, KEYS, '--pool', 'p')
    for t in tunnels:
        t.close()
