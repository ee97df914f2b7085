"""`trusted_proxies` and `via` of a listener: what proxies in front say, and what ringproxy says."""

import json

import pytest

from client import Client
from harness import CHECK_OFF, free_port, route, run
from test_proxy_protocol import v2

CALM = {'health': CHECK_OFF, 'passive': 'off', 'failback': None}
NAMES = ('X-Forwarded-For', 'X-Forwarded-Proto', 'X-Forwarded-Host', 'Via')
CLIENTS = [f'203.0.113.{n}' for n in range(1, 30)]


def tell(ex):
    """Its name, and the lines of NAMES that came."""
    said = [ex.request.all(n) for n in NAMES]
    ex.answer(body=json.dumps([ex.backend.name] + said).encode())


def start(rig, **listener):
    return rig.proxy([rig.backend(n, tell) for n in ('b1', 'b2', 'b3')], pool=CALM,
                     listener={'key': 'client_ip', **listener})


def said(answer):
    """Of X-Forwarded-For, -Proto, -Host and Via."""
    assert answer.status == 200, answer
    return json.loads(answer.text)[1:]


def ask(port, fields=(), **more):
    with Client(port, **more) as c:
        return c.request('GET', '/', fields, host='site')


def owner_of(proxy, fields, **more):
    return json.loads(ask(proxy.port, fields, **more).text)[0]


def test_scheme_and_site_of_a_tls_front_are_kept(rig):
    proxy = start(rig, trusted_proxies=['127.0.0.1', '10.0.0.0/8'])
    front = {'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'shop.example'}
    mine = ['http'], ['site'], ['1.1 ringproxy']
    assert said(ask(proxy.port, front)) == [['127.0.0.1'], ['https'], ['shop.example'], ['1.1 ringproxy']]
    # what the front does not say is said as ever; an empty value says nothing
    assert said(ask(proxy.port)) == [['127.0.0.1'], *mine]
    assert said(ask(proxy.port, {'X-Forwarded-Proto': 'https'})) == \
        [['127.0.0.1'], ['https'], ['site'], ['1.1 ringproxy']]
    assert said(ask(proxy.port, {'X-Forwarded-Proto': '', 'X-Forwarded-Host': '\t'})) == [['127.0.0.1'], *mine]
    # as sent, however many; the list of addresses grows as ever
    assert said(ask(proxy.port, [('x-forwarded-host', 'a'), ('X-Forwarded-Host', 'b, c'),
                                 ('X-Forwarded-For', '203.0.113.9')])) == \
        [['203.0.113.9, 127.0.0.1'], ['http'], ['a', 'b, c'], ['1.1 ringproxy']]
    # a client that has its own Connection go through the front removes nothing of it
    assert said(ask(proxy.port, {'Connection': 'X-Forwarded-Host, x-forwarded-proto, X-Forwarded-For',
                                 'X-Forwarded-For': '203.0.113.9', **front})) == \
        [['203.0.113.9, 127.0.0.1'], ['https'], ['shop.example'], ['1.1 ringproxy']]
    # the same from an address that is not trusted
    assert said(ask(proxy.port, front, source='127.0.0.2')) == [['127.0.0.2'], *mine]


def test_the_client_behind_trusted_proxies_is_the_key(rig):
    proxy = start(rig, trusted_proxies=['127.0.0.0/31', '192.0.2.0/24', 'fd00::/8'])
    owners = route(proxy.config, CLIENTS + ['127.0.0.1', '127.0.0.2', '2001:db8::7'])
    assert set(owners[c] for c in CLIENTS) == {'b1', 'b2', 'b3'}
    other = {c: next(d for d in CLIENTS if owners[d] != owners[c]) for c in CLIENTS}
    for c in CLIENTS:
        for value in (c, f'{other[c]}, {c}', f'{other[c]}, unknown, {c}:4711 , 192.0.2.9,,fd00::1'):
            assert owner_of(proxy, {'X-Forwarded-For': value}) == owners[c], value
        assert owner_of(proxy, [('X-Forwarded-For', other[c]), ('X-Forwarded-For', c)]) == owners[c]
        # a stranger chooses nothing
        assert owner_of(proxy, {'X-Forwarded-For': c}, source='127.0.0.2') == owners['127.0.0.2']
        assert owner_of(proxy, {'Connection': 'x-forwarded-for', 'X-Forwarded-For': c}) == owners[c]
    assert owner_of(proxy, {'X-Forwarded-For': '[2001:DB8:0::7]:80'}) == owners['2001:db8::7']
    # nobody else is named, or not readably: the peer
    for value in ('192.0.2.1', 'unknown', f'{CLIENTS[0]}, _x, 192.0.2.1', ''):
        assert owner_of(proxy, {'X-Forwarded-For': value}) == owners['127.0.0.1'], value
    assert owner_of(proxy, {}) == owners['127.0.0.1']


def test_the_source_of_a_proxy_head_is_trusted_or_not(rig):
    backends = [rig.backend(n, tell) for n in ('b1', 'b2', 'b3')]
    proxy = rig.proxy(backends, pool=CALM, start=False, listener={
        'key': 'client_ip', 'proxy_protocol': 'accept', 'trusted_proxies': ['198.51.100.7']})
    port, proxy.port = proxy.port, None
    proxy.start()
    owners = route(proxy.config, CLIENTS + ['198.51.100.8'])
    request = (b'GET / HTTP/1.1\r\nHost: site\r\nX-Forwarded-Proto: https\r\n'
               b'X-Forwarded-For: %s\r\n\r\n')
    for c in CLIENTS[:9]:
        for source, proto, key in (('198.51.100.7', 'https', c), ('::ffff:198.51.100.7', 'https', c),
                                   ('198.51.100.8', 'http', '198.51.100.8')):
            with Client(port) as client:
                client.send(v2(source) + request % c.encode())
                name, forwarded, protos, *_ = json.loads(client.answer().text)
            assert (name, protos) == (owners[key], [proto])
            assert forwarded == [f'{c}, {source.removeprefix("::ffff:")}']


@pytest.mark.parametrize('trusted,listen,connect', [
    ('127.0.0.0/8', '[::]', '127.0.0.1'), ('::1', '[::1]', '::1'), ('::/0', '[::1]', '::1'),
    ('unix', None, None)])
def test_peers_of_every_family_can_be_trusted(rig, tmp_path_factory, trusted, listen, connect):
    backends, port = [rig.backend('b1', tell)], free_port()
    path = str(tmp_path_factory.mktemp('s') / 'web')
    rig.proxy(backends, pool=CALM, listen=f'{listen}:{port}' if listen else f'unix:{path}',
              listener={'key': 'client_ip', 'trusted_proxies': trusted})
    answer = ask(port if listen else path, {'X-Forwarded-Proto': 'https'},
                 **({'host': connect} if listen else {}))
    assert said(answer)[1] == ['https']


def test_networks_of_the_other_family_trust_nobody(rig):
    proxy = start(rig, trusted_proxies=['::/0', 'unix', '128.0.0.0/1'])
    assert said(ask(proxy.port, {'X-Forwarded-Proto': 'https'}))[1] == ['http']


def test_without_via_nothing_is_added(rig):
    def answer(ex):
        ex.send(b'HTTP/1.1 103 Early\r\nLink: x\r\n\r\n')
        fields = [('Via', '1.0 cache')] if ex.request.get('X-Say') else []
        ex.answer(body=json.dumps(ex.request.all('Via')).encode(), fields=fields)
    backend = rig.backend('b1', answer)
    proxy = rig.proxy([backend], pool=CALM, listener={'via': 'off'})
    with Client(proxy.port) as c:
        for fields, seen in (({}, []), ({'Via': '1.1 front', 'X-Say': 'x'}, ['1.1 front'])):
            interim = []
            c.send_request('GET', '/', fields)
            final = c.answer(interim=interim)
            assert json.loads(final.text) == seen and interim[0].all('Via') == []
            assert final.all('Via') == (['1.0 cache'] if fields else [])


def test_wrong_networks_are_told_with_their_place(rig, tmp_path):
    text = rig.text([rig.backend('b1')], listener={'trusted_proxies': ['10.0.0.0/33', 'proxy.example']})
    path = tmp_path / 'wrong.yaml'
    path.write_text(text)
    done = run('check', '-c', path)
    assert done.returncode == 2
    assert 'listeners[0].trusted_proxies[0]: 10.0.0.0/33 is longer than an address' in done.stderr
    assert 'trusted_proxies[1]: proxy.example is not an IP address or network' in done.stderr
