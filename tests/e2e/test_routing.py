"""A key goes where the ring says, in every proxy, at every time."""

import pytest

import harness
from client import Client, get, pipelined
from harness import route

KEYS = [f'user-{i}' for i in range(4990)] + [
    'x', '0', '-', 'a b', 'a,b;c="d"', 'k' * 2000, 'ÄÖÜ', '日本語', '%41', 'user:1/2?3#4']


def five(rig):
    return [rig.nginx(f'b{i}') for i in range(1, 6)]


def test_live_routing_is_what_route_says_for_5000_keys(rig):
    backends = five(rig)
    listener = {'key': ['header:X-Key']}
    first = rig.proxy(backends, listener=listener)
    second = rig.proxy(list(reversed(backends)), listener=listener, top={'workers': 1})
    expected = route(first.config, KEYS)
    assert set(expected.values()) == {b.name for b in backends}
    assert route(second.config, KEYS) == expected

    assert pipelined(first.port, KEYS) == expected
    assert pipelined(second.port, KEYS) == expected
    first.restart()
    assert pipelined(first.port, KEYS) == expected


def test_weights_are_honoured_and_agree_with_route(rig):
    backends = five(rig)[:3]
    entries = [harness.server_entry(b, {'weight': w}) for b, w in zip(backends, (1, 2, 5))]
    proxy = rig.proxy(entries, listener={'key': 'header:X-Key'})
    expected = route(proxy.config, KEYS)
    assert pipelined(proxy.port, KEYS) == expected
    counts = [list(expected.values()).count(b.name) / len(KEYS) for b in backends]
    # 512 points for each unit of weight: shares are within a few per cent of 1/8, 2/8, 5/8
    assert counts[0] == pytest.approx(1 / 8, rel=0.2)
    assert counts[1] == pytest.approx(2 / 8, rel=0.2)
    assert counts[2] == pytest.approx(5 / 8, rel=0.2)


def test_addresses_do_not_matter_names_do(rig):
    backends = five(rig)
    proxy = rig.proxy(backends, listener={'key': 'header:X-Key'})
    moved = [{'name': b.name, 'address': f'127.0.0.9:{i + 1}'} for i, b in enumerate(backends)]
    other = rig.proxy(moved, listener={'key': 'header:X-Key'}, start=False)
    renamed = [{'name': f'n{b.name}', 'address': b.address} for b in backends]
    third = rig.proxy(renamed, listener={'key': 'header:X-Key'}, start=False)
    expected = route(proxy.config, KEYS)
    assert route(other.config, KEYS) == expected
    assert route(third.config, KEYS) != {k: f'n{b}' for k, b in expected.items()}


def test_admin_route_agrees_with_live_traffic(rig):
    backends = five(rig)
    proxy = rig.proxy(backends, listener={'key': 'header:X-Key'})
    keys = KEYS[:60]
    live = pipelined(proxy.port, keys)
    for key in keys:
        answer = proxy.admin.json(f'/route?pool=p&key={key}')
        assert answer == {'pool': 'p', 'key': key, 'server': live[key], 'home': live[key]}


def test_keyless_requests_go_round_by_weight(rig):
    backends = five(rig)[:3]
    entries = [harness.server_entry(b, {'weight': w}) for b, w in zip(backends, (1, 2, 3))]
    proxy = rig.proxy(entries, top={'workers': 1})
    names = [get(proxy.port).text for _ in range(60)]
    assert [names.count(b.name) for b in backends] == [10, 20, 30]
    for at in range(0, 60, 6):  # and within each turn, not in the long run only
        assert sorted(names[at:at + 6]) == ['b1', 'b2', 'b2', 'b3', 'b3', 'b3']
    assert proxy.admin.metric('ringproxy_keyless_total', listener='web') == 60


# --- the kinds of keys ------------------------------------------------------------------------

# name, `key:`, the request for a value, the key's bytes
KINDS = [
    ('header', ['header:X-Session'], lambda v: ('/', [('x-session', v)], 'h'), lambda v: v),
    ('header is trimmed', ['header:X-Session'],
     lambda v: ('/', [('X-Session', f' \t {v} \t')], 'h'), lambda v: v),
    ('first header line', ['header:X-Session'],
     lambda v: ('/', [('X-Session', v), ('X-Session', 'other')], 'h'), lambda v: v),
    ('cookie', ['cookie:sid'],
     lambda v: ('/', [('Cookie', f'a=b; xsid=no; sid={v}; sid=no; sidx=no')], 'h'), lambda v: v),
    ('cookie is not decoded', ['cookie:sid'],
     lambda v: ('/', [('Cookie', f'sid=%41{v}')], 'h'), lambda v: f'%41{v}'),
    ('query', ['query:id'],
     lambda v: (f'/a/b?x=1&xid=no&id={v}&id=no', [], 'h'), lambda v: v),
    ('query is not decoded', ['query:id'],
     lambda v: (f'/?id=%41+{v}', [], 'h'), lambda v: f'%41+{v}'),
    ('path', ['path'], lambda v: (f'/p/{v}%20/x?query=1', [], 'h'), lambda v: f'/p/{v}%20/x'),
    ('uri', ['uri'], lambda v: (f'/p/{v}?q=1&z', [], 'h'), lambda v: f'/p/{v}?q=1&z'),
    ('host', ['host'], lambda v: ('/', [], f'WWW.{v}.Example:8080'),
     lambda v: f'www.{v}.example'),
    ('joined', ['host+path'], lambda v: (f'/{v}', [], f'Site-{v}'), lambda v: f'site-{v}/{v}'),
    ('joined, three', ['header:A+cookie:b+query:c'],
     lambda v: (f'/?c=3{v}', [('A', f'1{v}'), ('Cookie', f'b=2{v}')], 'h'),
     lambda v: f'1{v}2{v}3{v}'),
]


@pytest.mark.parametrize('name,key,request_of,key_of', KINDS, ids=[k[0] for k in KINDS])
def test_key_kind(rig, name, key, request_of, key_of):
    backends = five(rig)
    proxy = rig.proxy(backends, listener={'key': key})
    values = [f'v{i}' for i in range(40)]
    expected = route(proxy.config, [key_of(v) for v in values])
    with Client(proxy.port) as c:
        for v in values:
            target, fields, host = request_of(v)
            answer = c.request('GET', target, fields, host=host)
            assert answer.text == expected[key_of(v)], (v, answer)
    assert proxy.admin.metric('ringproxy_keyless_total', listener='web') == 0


def test_source_ip_is_the_peers_address_alone(rig):
    backends = five(rig)
    proxy = rig.proxy(backends, listener={'key': 'source_ip'})
    sources = [f'127.0.{i}.{i + 2}' for i in range(30)]
    expected = route(proxy.config, sources)
    assert len(set(expected.values())) > 1
    for source in sources:
        with Client(proxy.port, source=source) as c:
            answer = c.request('GET', '/', {'X-Forwarded-For': '10.1.2.3', 'Forwarded': 'for=1.2.3.4'})
            assert answer.text == expected[source]


@pytest.mark.parametrize('listen,connect,key', [
    ('[::1]', '::1', '::1'),
    ('[::]', '127.0.0.1', '127.0.0.1'),  # v4-mapped counts as v4
], ids=['v6', 'v4-mapped'])
def test_source_ip_text_is_canonical(rig, listen, connect, key):
    backends = five(rig)
    port, admin = harness.free_port(), harness.free_port()
    text = rig.text(backends, listener={'listen': f'{listen}:{port}', 'key': 'source_ip'},
                    admin=admin)
    proxy = rig.proxy_of(text, None, admin)
    expected = route(proxy.config, [key])[key]
    for _ in range(5):
        with Client(port, host=connect) as c:
            assert c.request('GET', '/').text == expected


FALLBACK = ['header:X-Session', 'cookie:sid', 'query:a+query:b', 'path']

# what is present, the request for a value, the key's bytes
FALLBACKS = [
    ('all', lambda v: ('/p?a=1&b=2', [('X-Session', v), ('Cookie', 'sid=c')]), lambda v: v),
    ('no header', lambda v: ('/p?a=1&b=2', [('Cookie', f'sid={v}')]), lambda v: v),
    ('empty header', lambda v: ('/p', [('X-Session', ''), ('Cookie', f'sid={v}')]), lambda v: v),
    ('blank header, empty cookie',
     lambda v: (f'/p?a=1&b={v}', [('X-Session', '  '), ('Cookie', 'sid=')]), lambda v: f'1{v}'),
    ('neither', lambda v: (f'/p?a={v}&b=2', []), lambda v: f'{v}2'),
    ('a part is missing', lambda v: (f'/p{v}?a=1', []), lambda v: f'/p{v}'),
    ('a part is empty', lambda v: (f'/p{v}?a=1&b=', []), lambda v: f'/p{v}'),
    ('only a path', lambda v: (f'/p{v}', [('Cookie', 'other=x')]), lambda v: f'/p{v}'),
]


@pytest.mark.parametrize('name,request_of,key_of', FALLBACKS, ids=[f[0] for f in FALLBACKS])
def test_first_key_that_is_present_wins(rig, name, request_of, key_of):
    backends = [rig.backend(f'b{i}') for i in range(1, 6)]
    proxy = rig.proxy(backends, listener={'key': FALLBACK})
    values = [f'v{i}' for i in range(25)]
    expected = route(proxy.config, [key_of(v) for v in values])
    with Client(proxy.port) as c:
        for v in values:
            target, fields = request_of(v)
            assert c.request('GET', target, fields).text == expected[key_of(v)], v
    assert proxy.admin.metric('ringproxy_keyless_total', listener='web') == 0


def test_keyless_when_no_key_is_present(rig):
    backends = [rig.backend(f'b{i}') for i in range(1, 5)]
    proxy = rig.proxy(backends, listener={'key': ['header:X-Session', 'cookie:sid']},
                      top={'workers': 1})
    names = [get(proxy.port, fields=[('X-Session', ''), ('Cookie', 'sid=; x=y')]).text
             for _ in range(8)]
    assert sorted(names) == ['b1', 'b1', 'b2', 'b2', 'b3', 'b3', 'b4', 'b4']
    assert proxy.admin.metric('ringproxy_keyless_total', listener='web') == 8


def test_two_listeners_two_pools_two_keys(rig):
    red, blue = [rig.backend('r1'), rig.backend('r2')], [rig.backend('u1'), rig.backend('u2')]
    ports, admin = [harness.free_port(), harness.free_port()], harness.free_port()
    text = harness.yaml_text(
        {'workers': 2, 'admin': {'listen': f'127.0.0.1:{admin}'}},
        [{'name': 'one', 'listen': f'127.0.0.1:{ports[0]}', 'pool': 'red', 'key': 'path'},
         {'name': 'two', 'listen': f'127.0.0.1:{ports[1]}', 'pool': 'blue', 'key': 'header:K'}],
        [{'name': n, **harness.quick_pool(), 'backends': [harness.server_entry(b) for b in bs]}
         for n, bs in (('red', red), ('blue', blue))])
    proxy = rig.proxy_of(text, ports[0], admin)
    keys = [f'/{i}' for i in range(20)]
    in_red = route(proxy.config, keys, '--pool', 'red')
    in_blue = route(proxy.config, keys, '--pool', 'blue')
    for key in keys:
        assert get(ports[0], key).text == in_red[key]
        assert get(ports[1], '/', {'K': key}).text == in_blue[key]
    assert len(red[0].served()) + len(red[1].served()) == 20
    assert len(blue[0].served()) + len(blue[1].served()) == 20
