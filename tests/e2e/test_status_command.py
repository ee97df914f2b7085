"""`ringproxy status`: what a person reads of a running proxy, and of its fleet."""

import http.server
import json
import os
import re
import subprocess
import threading

import pytest

import harness
import pace
from client import get
from harness import free_port


def status(*arguments, environment=None):
    return subprocess.run([harness.RINGPROXY, 'status', *arguments], capture_output=True, text=True,
                          env={**os.environ, **(environment or {})}, timeout=pace.upper(60))


def table(text, first):
    """The rows of the table whose first heading that is, as mappings."""
    lines = iter(text.splitlines())
    head = next(line for line in lines if line.startswith(first + ' '))
    heads = list(re.finditer(r'\S+(?: \S+)*', head))
    names, at = [m[0] for m in heads], [m.start() for m in heads] + [None]
    rows = []
    for line in lines:
        if not line:
            break
        rows.append({n: line[at[i]:at[i + 1]].strip() for i, n in enumerate(names)})
    return rows


# --- a proxy ------------------------------------------------------------------------------------

def test_the_table_has_listeners_and_servers(rig):
    servers = {n: rig.backend(n) for n in ('b1', 'b2', 's1')}
    proxy = rig.proxy([servers['b1'], servers['b2']], [servers['s1']], listener={'key': 'header:X-Key'})
    for i in range(20):
        assert get(proxy.port, fields={'X-Key': f'k{i}'}).status == 200
    servers['b1'].stop()
    proxy.wait_state('b1', 'down')
    proxy.wait_serving('s1', 'b1')
    done = status('--admin', f'127.0.0.1:{proxy.admin.port}')
    assert done.returncode == 0 and done.stderr == '', done
    assert done.stdout.startswith('ringproxy ') and ', generation 1\n' in done.stdout
    listener, = table(done.stdout, 'LISTENER')
    assert listener.items() >= {'LISTENER': 'web', 'MODE': 'http', 'LISTEN': f'127.0.0.1:{proxy.port}',
                                'POOL': 'p', 'CONNECTIONS': '0'}.items()
    assert int(listener['REQUESTS']) >= 20
    assert '\nPOOL p\n' in done.stdout
    rows = {r['SERVER']: r for r in table(done.stdout, 'SERVER')}
    assert rows['b1']['STATE'] == 'down' and rows['b1']['SERVING'] == '-'
    assert rows['b1']['LAST CHECK'].startswith('failed: ') and rows['b1']['LAST CHECK'].endswith(' ago')
    assert rows['b2']['STATE'] == 'up' and rows['b2']['KIND'] == 'backend'
    assert rows['s1']['STATE'] == 'promoted' and rows['s1']['SERVING'] == 'b1' and rows['s1']['KIND'] == 'standby'
    assert sum(int(r['REQUESTS']) for r in rows.values()) >= 20
    assert 'FLEET' not in done.stdout and 'VOTES' not in done.stdout
    # the same for machines, found by the file, and by the environment
    found = {'RINGPROXY_ADMIN': f'127.0.0.1:{proxy.admin.port}'}
    for done in (status('--json', '-c', str(proxy.config)), status('--json', environment=found)):
        assert done.returncode == 0
        assert [s['name'] for s in json.loads(done.stdout)['pools'][0]['backends']] == ['b1', 'b2']


def test_the_token_is_taken_as_by_the_other_commands(rig, tmp_path):
    (tmp_path / 'token').write_text('s3cret\n')
    port, admin_port = free_port(), free_port()
    top = {'admin': {'listen': f'127.0.0.1:{admin_port}', 'token_file': str(tmp_path / 'token')}}
    text = harness.yaml_text(top, [{'name': 'web', 'listen': f'127.0.0.1:{port}', 'pool': 'p'}],
                             [{'name': 'p', 'backends': [harness.server_entry(rig.backend('b1'))]}])
    proxy = rig.proxy_of(text, port, admin_port, start=False)
    proxy.admin.token = 's3cret'
    proxy.start()
    where = ['--admin', f'127.0.0.1:{proxy.admin.port}']
    done = status(*where)
    assert done.returncode == 1 and done.stdout == ''
    assert 'bearer token' in done.stderr and '--token-file' in done.stderr
    assert status(*where, '--token-file', str(tmp_path / 'token')).returncode == 0
    assert status(*where, environment={'RINGPROXY_ADMIN_TOKEN': 's3cret'}).returncode == 0


def test_without_a_proxy_it_says_what_to_check(rig):
    port = free_port()
    done = status('--admin', f'127.0.0.1:{port}')
    assert done.returncode == 1 and done.stdout == ''
    assert f'{port}: Connection refused' in done.stderr and 'admin.listen' in done.stderr
    other = rig.backend('other')
    done = status('--admin', other.address)
    assert done.returncode == 1 and done.stdout == '' and 'is that the admin interface of a ringproxy?' in done.stderr


def test_it_looks_again_until_it_is_ended(rig):
    proxy = rig.proxy([rig.backend('b1')])
    watching = subprocess.Popen([harness.RINGPROXY, 'status', '--watch', '--admin', f'127.0.0.1:{proxy.admin.port}'],
                                stdout=subprocess.PIPE, text=True)
    try:
        seen = 0
        while seen < 3:
            line = watching.stdout.readline()
            assert line and '\x1b' not in line  # this is no terminal
            seen += line.startswith('ringproxy ')
    finally:
        watching.terminate()
        watching.stdout.close()
        watching.wait()


def test_a_watch_of_nobody_ends():
    assert status('--watch', '--admin', f'127.0.0.1:{free_port()}').returncode == 1


@pytest.mark.parametrize('arguments', [['x'], ['--admin'], ['--admin', 'https://a'], ['--timeout', '1'], ['--force'],
                                       ['--nothing'], ['--token-file', '/nonexistent'], ['-c', '/nonexistent']])
def test_bad_usage_is_2(arguments):
    done = status(*arguments)
    assert done.returncode == 2 and done.stdout == '' and done.stderr


def test_a_full_disk_is_an_error(rig):
    proxy = rig.proxy([rig.backend('b1')])
    with open('/dev/full', 'w') as full:
        done = subprocess.run([harness.RINGPROXY, 'status', '--admin', f'127.0.0.1:{proxy.admin.port}'], stdout=full,
                              stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1 and 'No space left' in done.stderr


# --- what a fleet says, made up -----------------------------------------------------------------

@pytest.fixture
def said():
    """Answers of an admin interface: a mapping from which /status is answered, and where it is."""
    document = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            text = json.dumps(document).encode()
            self.send_response(200)
            self.send_header('Content-Length', str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield document, f'127.0.0.1:{server.server_port}'
    server.shutdown()
    thread.join()
    server.server_close()


def server(name, state='up', **more):
    return {'name': name, 'address': '127.0.0.1:1', 'state': state, 'serving': [name], 'requests': 0, 'active': 0,
            'errors': 0, 'last_check': None, **more}


def member(node, **more):
    return {'node': node, 'role': 'follower', 'seen_ms': 400, 'epoch': 1795430400123, 'seq': 8, 'listen': 'always',
            'accepting': True, 'priority': 100, 'ready': True, 'digest_differs': [], 'except': [], **more}


def fleet(role='keeper', **more):
    return {'name': 'edge', 'node': 'edge-1', 'redis': 'up', 'role': role, 'since_ms': 180000, 'keeper': 'edge-1',
            'epoch': 1795430400123, 'seq': 9, 'age_ms': 12000, 'members': [member('edge-1', role=role)], **more}


def shown(said, cluster, *servers):
    document, where = said
    document.update({'version': '1.2.3', 'generation': 4, 'listeners': [], 'cluster': cluster,
                     'pools': [{'name': 'p', 'all_down_routing': False, 'backends': list(servers), 'standbys': []}]})
    done = status('--admin', where)
    assert done.returncode == 0 and done.stderr == '', done
    return done.stdout


def test_a_keeper_shows_members_votes_and_who_disagrees(said):
    votes = {'down': 1, 'up': 2, 'voters': 3}
    differs = member('edge-2', digest_differs=['p', 'q'], **{'except': [{'pool': 'p', 'server': 'b1'}]},
                     listen='active', accepting=False, ready=False, priority=7)
    unheard = {'node': 'edge-3', 'role': None, 'seen_ms': 9400}
    text = shown(said, fleet(members=[member('edge-1', role='keeper', seq=9), differs, unheard]),
                 server('b1', votes=votes), server('b2', last_check={'ok': True, 'reason': 'connected', 'age_ms': 1500}))
    assert ('\nFLEET edge: this is edge-1, keeper for 3m; redis is up, publication 1795430400123.9 of 12s ago\n'
            in text)
    rows = {r['SERVER']: r for r in table(text, 'SERVER')}
    assert rows['b1']['VOTES'] == '1 down, 2 up of 3' and rows['b1']['LAST CHECK'] == '-'
    assert rows['b2']['VOTES'] == '-' and rows['b2']['LAST CHECK'] == 'connected, 1.5s ago'
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith('NODE '))
    assert lines[at + 1].split() == ['edge-1', 'keeper', '400ms', 'ago', '1795430400123.9', 'always', 'yes', 'yes', '100']
    assert lines[at + 2].split() == ['edge-2', 'follower', '400ms', 'ago', '1795430400123.8', 'active', 'no', 'no', '7']
    assert lines[at + 3].split() == ['edge-3', '-', '9.4s', 'ago', '-', '-', '-', '-', '-']
    assert lines[at + 4:] == ['edge-2 has another configuration of p, q',
                              'edge-2 leaves out b1 of p, against the agreement']


def test_a_follower_shows_its_keeper_and_exceptions(said):
    text = shown(said, fleet('follower', keeper='edge-2', redis='down'), server('b1', here='down'))
    assert 'this is edge-1, follower for 3m, the keeper is edge-2; redis is down, publication' in text
    row, = table(text, 'SERVER')
    assert row['STATE'] == 'up, here down' and 'VOTES' not in row


def test_a_proxy_that_is_alone_says_so(said):
    text = shown(said, fleet('alone', keeper=None, epoch=None, seq=None, age_ms=None, redis='down', since_ms=500),
                 server('b1'))
    assert '\nFLEET edge: this is edge-1, alone for 500ms; redis is down\n' in text


def test_names_of_others_move_no_cursor(said):
    text = shown(said, fleet(members=[member('edge\x1b[2J\n')]), server('b\t1'))
    assert 'edge?[2J?' in text and 'b?1' in text
    assert '\x1b' not in text and '\t' not in text


def test_a_document_without_what_is_expected_is_no_trouble(said):
    document, where = said
    document.update({'pools': [{}, None, 3, {'backends': [{}, 'x'], 'standbys': None}], 'listeners': {},
                     'cluster': {'members': [None, {}, 'x']}})
    done = status('--admin', where)
    assert done.returncode == 0 and done.stderr == ''
