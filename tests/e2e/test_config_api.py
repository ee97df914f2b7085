"""GET and PUT /config: the file in force, and its replacement, so that file and process never differ."""

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading

import pytest

import harness
import pace
from client import get
from harness import free_port, route, wait_until

NOBODY = 65534


class Site:
    """A proxy whose configuration may be replaced, with more backends than it has at first."""

    def __init__(self, rig, admin=None, name=None, start=True, **top):
        self.rig = rig
        self.backends = [rig.backend(f'b{i}') for i in range(1, 4)]
        self.proxy = rig.proxy(self.backends[:2], listener={'key': 'header:X-Key'}, name=name, start=start,
                               top={'admin': {'write': 'on', **(admin or {})}, **top})
        self.admin = self.proxy.admin
        self.path = self.proxy.config
        self.text = self.path.read_text()

    def get(self, **fields):
        return self.admin.request('GET', '/config', fields)

    def etag(self):
        return self.get()[1]['ETag']

    def put(self, text, query='', expect=None, **fields):
        """The status and the document."""
        fields = {k.replace('_', '-'): v for k, v in fields.items()}
        status, headers, body = self.admin.request('PUT', '/config' + query, fields, text.encode())
        assert expect is None or status == expect, (status, body)
        return status, json.loads(body), headers

    def with_third(self):
        """The configuration with one more backend."""
        line = f'      - {{name: b3, address: {self.backends[2].address}}}\n'
        assert self.text.endswith('\n')
        return self.text + line

    def generation(self):
        return self.admin.json('/status')['generation']

    def names(self):
        return [s['name'] for s in self.admin.json('/status')['pools'][0]['backends']]

    def check_untouched(self, before=None):
        """The file, its inode, its neighbours, and what is in force."""
        assert self.path.read_text() == self.text == self.get()[2]
        assert self.generation() == 1 and self.names() == ['b1', 'b2']
        assert self.leftovers() == []

    def leftovers(self):
        return [p for p in os.listdir(self.path.resolve().parent) if p.startswith('.ringproxy-')]


@pytest.fixture
def site(rig):
    return Site(rig)


def refused_line(document, words):
    """One of the errors has these words."""
    assert any(words in line for line in document['errors']), document


# --- GET ----------------------------------------------------------------------------------------

def test_the_file_in_force_is_given_byte_by_byte(site):
    status, headers, body = site.get()
    assert status == 200 and body == site.text
    assert headers['Content-Type'] == 'application/yaml'
    etag = headers['ETag']
    assert re.fullmatch(r'"[0-9a-f]{32}"', etag)
    status, headers, body = site.admin.request('HEAD', '/config')
    assert (status, body) == (200, '') and headers['ETag'] == etag
    assert int(headers['Content-Length']) == len(site.text.encode())
    status, headers, body = site.admin.request('GET', '/config', {'If-None-Match': f'"x", W/{etag}'})
    assert (status, body) == (304, '') and headers['ETag'] == etag
    # what somebody writes into the file is not in force
    site.path.write_text(site.text + '# edited\n')
    assert site.get()[2] == site.text and site.etag() == etag


def test_the_tag_is_of_the_bytes_alone(site):
    etag = site.etag()
    site.proxy.restart()
    assert site.etag() == etag


# --- PUT ----------------------------------------------------------------------------------------

def test_a_script_adds_a_backend_and_takes_it_out_again(site):
    """GET, edit, PUT: no second source of truth."""
    etag = site.etag()
    _, document, headers = site.put(site.with_third(), expect=200, If_Match=etag)
    assert document['generation'] == 2 and 0.2 < document['moved']['p'] < 0.5
    assert site.names() == ['b1', 'b2', 'b3']
    assert site.path.read_text() == site.with_third() == site.get()[2]
    assert headers['ETag'] == site.etag() != etag
    # the process routes as the file says
    keys = [f'k{i}' for i in range(60)]
    served = {k: get(site.proxy.port, fields={'X-Key': k}).text.strip() for k in keys}
    assert served == route(site.path, keys) and 'b3' in served.values()
    _, document, _ = site.put(site.text, expect=200, If_Match=headers['ETag'])
    assert document['generation'] == 3 and site.names() == ['b1', 'b2']
    assert site.etag() == etag and site.path.read_text() == site.text
    assert site.leftovers() == []


def test_after_a_put_a_restart_and_a_signal_change_nothing(site):
    site.put(site.with_third(), expect=200)
    etag = site.etag()
    site.proxy.signal(signal.SIGHUP)
    wait_until(lambda: site.generation() == 3, 'the reload')
    assert site.etag() == etag and site.names() == ['b1', 'b2', 'b3']
    site.proxy.says(' generation=3 servers_added=0 servers_removed=0 moved=0.0000%')
    site.proxy.restart()
    assert site.etag() == etag and site.names() == ['b1', 'b2', 'b3']


def test_writing_has_to_be_allowed(rig):
    site = Site(rig, admin={'write': 'off'})
    status, document, _ = site.put(site.with_third())
    assert status == 403 and 'admin: {write: on}' in document['error']
    assert site.put(site.with_third(), '?dry_run=1')[0] == 403
    site.check_untouched()


def test_the_token_is_needed(rig, tmp_path):
    (tmp_path / 'token').write_text('s3cret\n')
    site = Site(rig, admin={'token_file': 'token'})
    assert site.get()[0] == 401
    assert site.put(site.with_third())[0] == 401
    site.admin.token = 's3cret'
    site.check_untouched()
    site.put(site.with_third(), expect=200)


def test_pages_of_other_sites_may_not(site):
    assert site.put(site.with_third(), Origin='http://evil.example')[0] == 403
    assert site.get(Host='evil.example')[0] == 403
    site.check_untouched()


def test_a_stale_tag_is_refused(site):
    etag = site.etag()
    for field in ('"00"', f'W/{etag}', f'{etag[:-1]}x"', ''):
        status, document, headers = site.put(site.with_third(), If_Match=field)
        assert status == 412 and document['error'] and headers['ETag'] == etag
    site.check_untouched()
    site.put(site.with_third(), expect=200, If_Match=f'"00", {etag}')
    site.put(site.text, expect=412, If_Match=etag)
    site.put(site.text, expect=200, If_Match='*')


BROKEN = [
    ('', ':1:1: (document): the file is empty'),
    ('listeners: [\n', ':2:1: (document): not valid YAML'),
    ('workers: 0\nlisteners: []\n', ':1:10: workers: 0 is out of range'),
]


@pytest.mark.parametrize('text, words', BROKEN)
def test_a_broken_file_is_refused_with_each_error(site, text, words):
    status, document, headers = site.put(text)
    assert status == 422 and document['errors'] and 'ETag' not in headers
    refused_line(document, f'{site.path}{words}')
    # the lines are those of `ringproxy check`
    other = site.path.with_name('other.yaml')
    other.write_text(text)
    checked = subprocess.run([harness.RINGPROXY, 'check', '-c', other], capture_output=True, text=True)
    assert [e.replace(str(site.path), str(other)) for e in document['errors']] == checked.stderr.splitlines()
    assert site.put(text, '?dry_run=1')[0] == 422
    site.check_untouched()


def test_what_can_not_be_bound_is_refused_before_the_file_is_touched(site):
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        more = f"  - {{name: more, listen: '127.0.0.1:{taken.getsockname()[1]}', pool: p}}\n"
        text = site.text.replace('pools:\n', more + 'pools:\n')
        status, document, _ = site.put(text)
        assert status == 422
        refused_line(document, 'ddress already in use')
        site.check_untouched()
    site.put(text, expect=200)


def test_a_dry_run_answers_the_plan_and_changes_nothing(site):
    inode = site.path.stat().st_ino
    status, document, headers = site.put(site.with_third(), '?dry_run=1')
    assert status == 200 and 'ETag' not in headers
    pool, = document['pools']
    assert pool['name'] == 'p' and document['allowed'] is True
    assert 'b3' in json.dumps(pool)
    site.check_untouched()
    assert site.path.stat().st_ino == inode
    site.put(site.with_third(), '?dry_run=1', expect=412, If_Match='"00"')
    site.put(site.with_third(), '?dry_run=x', expect=400)


def test_the_guard_holds_and_can_be_overridden(rig):
    site = Site(rig, reload={'max_move': '10%'})
    assert site.put(site.with_third(), '?dry_run=1')[1]['allowed'] is False
    status, document, _ = site.put(site.with_third())
    assert status == 422 and document['moved']['p'] > 0.1
    site.check_untouched()
    site.put(site.with_third(), '?force=1', expect=200)
    assert site.names() == ['b1', 'b2', 'b3'] and site.path.read_text() == site.with_third()


def test_of_two_with_one_tag_one_wins(site):
    etag = site.etag()
    texts = [site.text + f'# {who}\n' for who in range(6)]
    outcomes = {}

    def put(who):
        outcomes[who] = site.put(texts[who], If_Match=etag)[0]

    threads = [threading.Thread(target=put, args=(who,)) for who in range(len(texts))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    winners = [who for who, status in outcomes.items() if status == 200]
    assert sorted(outcomes.values()) == [200] + [412] * (len(texts) - 1), outcomes
    assert site.path.read_text() == texts[winners[0]] == site.get()[2]
    assert site.generation() == 2 and site.leftovers() == []


# --- the file -----------------------------------------------------------------------------------

def test_mode_and_owner_are_kept(site):
    os.chmod(site.path, 0o640)
    if os.geteuid() == 0:
        os.chown(site.path, NOBODY, 1)
    before = site.path.stat()
    site.put(site.with_third(), expect=200)
    after = site.path.stat()
    assert after.st_ino != before.st_ino
    assert (stat.S_IMODE(after.st_mode), after.st_uid, after.st_gid) == \
        (0o640, before.st_uid, before.st_gid)


def test_of_a_link_the_target_is_replaced(rig, tmp_path):
    site = Site(rig, start=False)
    real = tmp_path / 'real'
    real.mkdir()
    shutil.move(site.path, real / 'file.yaml')
    site.path.symlink_to('real/file.yaml')
    site.proxy.start()
    site.put(site.with_third(), expect=200)
    assert site.path.is_symlink() and os.readlink(site.path) == 'real/file.yaml'
    assert (real / 'file.yaml').read_text() == site.with_third()
    assert os.listdir(real) == ['file.yaml']


def test_an_edit_that_is_not_in_force_is_not_lost(site):
    edited = site.text + '# by hand\n'
    site.path.write_text(edited)
    status, document, _ = site.put(site.with_third(), If_Match=site.etag())
    assert status == 409 and str(site.path) in document['error'], document
    assert site.path.read_text() == edited and site.generation() == 1 and site.leftovers() == []
    assert site.put(site.with_third(), '?dry_run=1')[0] == 200
    # the same text as on the disk loses nothing
    site.put(edited, expect=200)
    assert site.get()[2] == edited
    site.put(site.with_third(), expect=200)
    assert site.path.read_text() == site.with_third()


def gone(path):
    path.unlink()


def directory(path):
    path.unlink()
    path.mkdir()


def fifo(path):
    path.unlink()
    os.mkfifo(path)


def two_names(path):
    os.link(path, path.with_name('other-name'))


@pytest.mark.parametrize('change, words', [(gone, 'No such file'), (directory, 'not a regular file'),
                                           (fifo, 'not a regular file'), (two_names, '2 names')])
def test_a_file_that_can_not_be_replaced_is_an_error(site, change, words):
    change(site.path)
    status, document, _ = site.put(site.with_third())
    assert status == 500 and words in document['error'] and str(site.path) in document['error']
    assert site.generation() == 1 and site.get()[2] == site.text and site.leftovers() == []
    assert get(site.proxy.port).status == 200
    # the fixture shows the file at the end
    (site.path.rmdir if change is directory else lambda: site.path.unlink(missing_ok=True))()
    site.path.write_text(site.text)


def test_a_directory_that_may_not_be_written_is_an_error(rig):
    """For root no directory is; so the proxy runs as somebody else then."""
    folder = tempfile.mkdtemp(prefix='config_api.', dir='/tmp')
    try:
        site = Site(rig, start=False)
        site.path = site.proxy.config = type(site.path)(folder) / 'ringproxy.yaml'
        site.path.write_text(site.text)
        os.chmod(site.path, 0o644)
        os.chmod(folder, 0o555)
        site.proxy.argv = [harness.RINGPROXY, 'run', '-c', str(site.path)]
        if os.geteuid() == 0:
            site.proxy.argv[:0] = ['setpriv', f'--reuid={NOBODY}', f'--regid={NOBODY}', '--clear-groups']
        site.proxy.start()
        status, document, _ = site.put(site.with_third())
        assert status == 500 and 'Permission denied' in document['error']
        site.check_untouched()
        assert os.listdir(folder) == ['ringproxy.yaml']
        site.proxy.stop()
    finally:
        os.chmod(folder, 0o755)
        shutil.rmtree(folder)
        site.proxy.starts = 0  # the fixture need not show the file


# --- bodies -------------------------------------------------------------------------------------

def curl(site, size, *more):
    """PUTs a file with a long comment by curl, which waits for a 100 then; its output."""
    path = site.path.with_name('upload.yaml')
    path.write_text(site.text + f'# {"x" * size}\n')
    done = subprocess.run(['curl', '-sS', '-i', '--max-time', str(int(pace.upper(60))), '-T', str(path), *more,
                           f'http://127.0.0.1:{site.admin.port}/config'], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curl_may_wait_for_100_and_send_more_than_a_mebibyte(site):
    out = curl(site, 2 << 20, '-H', 'Expect: 100-continue')
    assert out.startswith('HTTP/1.1 100 ') and 'HTTP/1.1 200 OK' in out
    assert len(site.path.read_text()) > 2 << 20
    out = curl(site, 10, '-H', 'Transfer-Encoding: chunked')
    assert 'HTTP/1.1 200 OK' in out and len(site.path.read_text()) < 1 << 20


def test_too_large_a_file_is_refused(site):
    out = curl(site, 16 << 20, '-H', 'Expect: 100-continue')
    assert out.startswith('HTTP/1.1 413 ')
    site.check_untouched()


# --- ringproxy reload ---------------------------------------------------------------------------

def reload_command(site, *more, admin=True, environment=None):
    where = ['--admin', f'http://127.0.0.1:{site.admin.port}'] if admin else []
    return subprocess.run([harness.RINGPROXY, 'reload', *where, *more], capture_output=True, text=True,
                          env={**os.environ, **(environment or {})}, timeout=pace.upper(60))


def test_reload_prints_what_came_of_it(site):
    site.path.write_text(site.with_third())
    done = reload_command(site)
    assert done.returncode == 0 and done.stderr == '', done
    first, second = done.stdout.splitlines()
    assert first == 'generation 2'
    moved = float(re.fullmatch(r'pool p: ([0-9.]+)% of the keys moved', second)[1])
    assert 20 < moved < 50
    assert site.names() == ['b1', 'b2', 'b3']
    # the same, found by the file, and by the environment
    done = reload_command(site, '-c', str(site.path), admin=False)
    assert done.returncode == 0 and done.stdout.startswith('generation 3\n')
    done = reload_command(site, '--json', admin=False,
                          environment={'RINGPROXY_ADMIN': f'127.0.0.1:{site.admin.port}'})
    assert done.returncode == 0 and json.loads(done.stdout)['generation'] == 4


def test_reload_gives_a_refusal_as_json_too(site):
    site.path.write_text(site.text.replace('workers: 2', 'workers: 0'))
    done = reload_command(site, '--json')
    assert done.returncode == 2 and 'workers: 0 is out of range' in done.stderr
    assert json.loads(done.stdout)['errors'] == done.stderr.splitlines()


def test_reload_prints_why_a_file_is_refused(site):
    site.path.write_text(site.text.replace('workers: 2', 'workers: 0'))
    words = f'{site.path}:1:10: workers: 0 is out of range'
    for more, admin in (((), True), (('-c', str(site.path)), False)):
        done = reload_command(site, *more, admin=admin)
        assert done.returncode == 2 and done.stdout == ''
        assert words in done.stderr
    assert site.generation() == 1


def test_reload_tells_of_the_guard(rig):
    site = Site(rig, reload={'max_move': '10%'})
    site.path.write_text(site.with_third())
    done = reload_command(site)
    assert done.returncode == 2 and 'pool p' in done.stderr and '--force' in done.stderr
    done = reload_command(site, '--force')
    assert done.returncode == 0 and site.names() == ['b1', 'b2', 'b3']


def test_reload_needs_the_token(rig, tmp_path):
    (tmp_path / 'token').write_text('s3cret\n')
    site = Site(rig, admin={'token_file': 'token'})
    done = reload_command(site)
    assert done.returncode == 2 and 'bearer token' in done.stderr and '--token-file' in done.stderr
    assert reload_command(site, '--token-file', str(tmp_path / 'token')).returncode == 0
    assert reload_command(site, environment={'RINGPROXY_ADMIN_TOKEN': 's3cret'}).returncode == 0
    assert reload_command(site, '-c', str(site.path), admin=False).returncode == 0
    site.admin.token = 's3cret'


def test_reload_without_a_proxy_says_what_to_check(rig):
    port = free_port()
    for where in (f'http://127.0.0.1:{port}', f'http://[::1]:{port}'):
        done = subprocess.run([harness.RINGPROXY, 'reload', '--admin', where], capture_output=True, text=True)
        assert done.returncode == 1 and done.stdout == ''
        assert f'{port}: Connection refused' in done.stderr and 'admin.listen' in done.stderr
    other = rig.backend('other')
    done = subprocess.run([harness.RINGPROXY, 'reload', '--admin', other.address], capture_output=True, text=True)
    assert done.returncode == 1 and 'is that the admin interface' in done.stderr


@pytest.mark.parametrize('arguments', [['x'], ['--admin'], ['--admin', 'https://a'], ['--timeout', '1'],
                                       ['--nothing'], ['--token-file', '/nonexistent'], ['-c', '/nonexistent']])
def test_reload_knows_bad_usage(arguments):
    done = subprocess.run([harness.RINGPROXY, 'reload', *arguments], capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == '' and done.stderr
