"""The admin interface: what tools and people read and do."""

import json
import re

import pytest

from client import get, raw
from harness import free_port, route, wait_until

SERVER_KEYS = {'name', 'address', 'state', 'serving', 'requests', 'active', 'errors', 'last_check'}


@pytest.fixture
def pair(rig):
    """b1, b2 and the standby s1 behind a proxy that hashes X-Key."""
    servers = {n: rig.backend(n) for n in ('b1', 'b2', 's1')}
    proxy = rig.proxy([servers['b2'], servers['b1']], [servers['s1']],
                      listener={'key': 'header:X-Key'})
    return servers, proxy


def test_status_has_the_shape_of_the_contract(pair):
    servers, proxy = pair
    for i in range(30):
        assert get(proxy.port, fields={'X-Key': f'k{i}'}).status == 200
    status = proxy.admin.json('/status')
    assert {'version', 'generation', 'listeners', 'pools'} <= set(status)
    assert re.fullmatch(r'\d+\.\d+\.\d+', status['version']) and status['generation'] == 1
    listener, = status['listeners']
    assert listener.items() >= {'name': 'web', 'listen': f'127.0.0.1:{proxy.port}', 'mode': 'http',
                                'pool': 'p', 'requests': 30}.items()
    assert isinstance(listener['connections'], int)
    pool, = status['pools']
    assert pool['name'] == 'p'
    assert {s['name'] for s in pool['backends']} == {'b1', 'b2'}
    assert [s['name'] for s in pool['standbys']] == ['s1']
    for s in pool['backends'] + pool['standbys']:
        assert SERVER_KEYS <= set(s)
        assert s['address'] == servers[s['name']].address
        assert s['errors'] == 0 and s['active'] == 0
        assert s['requests'] == len(servers[s['name']].served())
        assert s['last_check']['ok'] is True and s['last_check']['age_ms'] >= 0
        assert isinstance(s['last_check']['reason'], str)
        if s['name'] == 's1':
            assert s['state'] == 'standby' and s['serving'] == []
        else:
            assert s['state'] == 'up' and s['serving'] == [s['name']]


def test_status_follows_a_failover(pair):
    servers, proxy = pair
    servers['b1'].stop()
    proxy.wait_state('b1', 'down')
    b1, s1 = proxy.server('b1'), proxy.server('s1')
    assert b1['serving'] == [] and b1['last_check']['ok'] is False
    assert 'refused' in b1['last_check']['reason']
    assert s1['state'] == 'promoted' and s1['serving'] == ['b1']
    servers['b1'].start()
    proxy.wait_state('b1', 'up')
    assert proxy.server('s1')['state'] == 'standby'


METRIC = re.compile(r'[a-z_]+(\{[a-z]+="[^"\n]*"(,[a-z]+="[^"\n]*")*\})? [0-9.e+-]+(Inf)?')


def test_metrics_count_what_happened(pair):
    servers, proxy = pair
    for i in range(20):
        get(proxy.port, fields={'X-Key': f'k{i}'})
    get(proxy.port)
    raw(proxy.port, b'GET / HTTP/1.1\r\n\r\n')
    admin = proxy.admin
    assert admin.metric('ringproxy_requests_total', listener='web', code='200') == 21
    assert admin.metric('ringproxy_requests_total', listener='web', code='400') == 1
    assert admin.metric('ringproxy_keyless_total', listener='web') == 1
    assert admin.metric('ringproxy_request_duration_seconds_count', listener='web') >= 21
    assert admin.metric('ringproxy_request_duration_seconds_bucket', listener='web', le='+Inf') == \
        admin.metric('ringproxy_request_duration_seconds_count', listener='web')
    for name in ('b1', 'b2'):
        assert admin.metric('ringproxy_backend_up', pool='p', backend=name) == 1
        assert admin.metric('ringproxy_backend_requests_total', pool='p', backend=name) == \
            len(servers[name].served())
        assert admin.metric('ringproxy_backend_active', pool='p', backend=name) == 0
    assert admin.metric('ringproxy_failovers_total', pool='p') == 0
    assert admin.metric('ringproxy_retries_total', pool='p') == 0
    wait_until(lambda: admin.metric('ringproxy_connections', listener='web') == 0, 'all to be closed')

    servers['b2'].health_status = 500
    proxy.wait_state('b2', 'down')
    assert admin.metric('ringproxy_backend_up', pool='p', backend='b2') == 0
    assert admin.metric('ringproxy_failovers_total', pool='p') == 1


def test_metrics_are_well_formed_prometheus_text(pair):
    _, proxy = pair
    get(proxy.port)
    status, headers, text = proxy.admin.request('GET', '/metrics')
    assert status == 200 and headers['Content-Type'].startswith('text/plain')
    assert text.endswith('\n')
    types, seen = {}, set()
    for line in text.splitlines():
        if line.startswith('# TYPE '):
            _, _, name, kind = line.split(' ')
            assert name not in types and kind in ('counter', 'gauge', 'histogram')
            types[name] = kind
        elif not line.startswith('# HELP '):
            assert METRIC.fullmatch(line), line
            name = re.match('[a-z_]+', line).group()
            assert name in types or re.sub('_(bucket|sum|count)$', '', name) in types, line
            series = line.rsplit(' ', 1)[0]
            assert series not in seen
            seen.add(series)
    buckets = [(float(m.group(1)), int(m.group(2))) for m in re.finditer(
        r'^ringproxy_request_duration_seconds_bucket\{[^}]*le="([^"]+)"\} (\d+)$', text, re.M)]
    assert buckets == sorted(buckets) and buckets[-1][0] == float('inf')
    assert [n for _, n in buckets] == sorted(n for _, n in buckets)


def test_route_names_who_serves_and_whose_key_it_is(pair):
    servers, proxy = pair
    keys = [f'k{i}' for i in range(20)]
    home = route(proxy.config, keys)
    servers['b1'].health_status = 500
    proxy.wait_state('b1', 'down')
    for k in keys:
        assert proxy.admin.json(f'/route?pool=p&key={k}') == {
            'pool': 'p', 'key': k, 'home': home[k],
            'server': 's1' if home[k] == 'b1' else home[k]}


def test_route_decodes_its_query(pair):
    _, proxy = pair
    for sent, key in (('a%20b', 'a b'), ('%C3%84', 'Ä'), ('a%2Bb', 'a+b'), ('a%26key%3Db', 'a&key=b')):
        answer = proxy.admin.json(f'/route?pool=p&key={sent}')
        assert answer['key'] == key
        assert answer['home'] == route(proxy.config, [key])[key]


@pytest.mark.parametrize('method,target,expect', [
    ('GET', '/nothing', 404),
    ('GET', '/route?pool=nothing&key=x', 404),
    ('GET', '/route?pool=p', 400),
    ('GET', '/route?key=x', 400),
    ('POST', '/status', 405),
    ('DELETE', '/healthz', 405),
    ('GET', '/pools/p/backends/b1/drain', 405),
    ('POST', '/pools/p/backends/nobody/drain', 404),
    ('POST', '/pools/nothing/backends/b1/drain', 404),
    ('POST', '/pools/p/backends/b1/explode', 404),
    ('POST', '/pools/p/backends/b1', 404),
    ('POST', '/pools/p/backends/b1/drain/more', 404),
])
def test_wrong_requests(pair, method, target, expect):
    _, proxy = pair
    status, headers, _ = proxy.admin.request(method, target)
    assert status == expect
    if expect == 405:
        assert headers['Allow']
    assert proxy.server('b1')['state'] == 'up'


def test_posts_answer_with_the_server(pair):
    _, proxy = pair
    for verb, state in (('drain', 'draining'), ('drain', 'draining'), ('enable', 'up'),
                        ('enable', 'up'), ('failback', 'up')):
        answer = proxy.post('b1', verb)
        assert SERVER_KEYS <= set(answer)
        assert (answer['name'], answer['state']) == ('b1', state)


def test_failback_of_a_down_server_is_409(pair):
    servers, proxy = pair
    servers['b1'].health_status = 500
    proxy.wait_state('b1', 'down')
    proxy.post('b1', 'failback', expect=409)
    assert proxy.server('b1')['state'] == 'down'


def test_readyz_and_healthz(pair):
    servers, proxy = pair
    assert proxy.admin.request('GET', '/healthz')[0] == 200
    assert proxy.admin.request('GET', '/readyz')[0] == 200
    for s in servers.values():
        s.health_status = 500
    wait_until(lambda: proxy.admin.request('GET', '/readyz')[0] == 503, 'not to be ready')
    assert proxy.admin.request('GET', '/healthz')[0] == 200


def test_token_is_required_but_for_probes(rig, tmp_path):
    (tmp_path / 'admin.token').write_text('s3cret\n')
    port, admin = free_port(), free_port()
    text = rig.text([rig.backend('b1')], port=port,
                    top={'admin': {'listen': f'127.0.0.1:{admin}', 'token_file': 'admin.token'}})
    proxy = rig.proxy_of(text, port, admin, token='s3cret')
    for given in (None, 'Bearer wrong', 'Bearer s3cre', 'Bearer s3cret2', 'Basic s3cret', 's3cret',
                  'Bearer ', ''):
        fields = {} if given is None else {'Authorization': given}
        proxy.admin.token = None
        for method, target in (('GET', '/status'), ('GET', '/metrics'), ('GET', '/route?pool=p&key=x'),
                               ('POST', '/pools/p/backends/b1/drain')):
            status, headers, _ = proxy.admin.request(method, target, fields)
            assert status == 401 and headers['WWW-Authenticate'].startswith('Bearer'), (given, target)
        assert proxy.admin.request('GET', '/healthz', fields)[0] == 200
        assert proxy.admin.request('GET', '/readyz', fields)[0] == 200
    proxy.admin.token = 's3cret'
    assert proxy.server('b1')['state'] == 'up'
    assert proxy.post('b1', 'drain')['state'] == 'draining'


def test_post_from_another_web_site_is_refused(pair):
    _, proxy = pair
    status, _, _ = proxy.admin.request('POST', '/pools/p/backends/b1/drain',
                                       {'Origin': 'http://evil.example'})
    assert status == 403
    assert proxy.server('b1')['state'] == 'up'


def test_admin_survives_hostile_bytes(pair):
    _, proxy = pair
    for data in (b'\0' * 100, b'GET /' + b'a' * 100000 + b' HTTP/1.1\r\n\r\n', b'GET / HTTP/9.9\r\n\r\n',
                 b'POST /pools/p/backends/b1/drain HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n'
                 b'Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n', b'GET /%00%zz HTTP/1.1\r\n\r\n'):
        assert b' 200 ' not in raw(proxy.admin.port, data, half_close=True).split(b'\r\n')[0]
    assert proxy.server('b1')['state'] == 'up'


def test_counters_never_shrink(pair):
    servers, proxy = pair
    last = {}
    for i in range(10):
        get(proxy.port, fields={'X-Key': f'k{i}'})
        if i == 5:
            servers['b1'].health_status = 500
            proxy.wait_state('b1', 'down')
        now = {k: v for k, v in proxy.admin.metrics().items()
               if '_total' in k or '_bucket' in k or '_count' in k}
        assert all(now[k] >= v for k, v in last.items())
        last = now
    assert json.dumps(last)
