"""Several who ask for a reload at a time: each gets what it asked for, and not what another one did."""

import http.client
import json

import pytest

from harness import free_port
import pace
from test_config_api import Site
from test_reload import SlowCheck


class Asker:
    """A connection to the admin interface that the proxy reads from already."""

    def __init__(self, port):
        self.http = http.client.HTTPConnection('127.0.0.1', port, timeout=pace.upper(30))
        self.look()

    def look(self):
        self.http.request('GET', '/healthz')
        assert self.http.getresponse().read()

    def ask(self, method, target, body=None):
        self.http.request(method, target, body)

    def answer(self):
        r = self.http.getresponse()
        return r.status, json.loads(r.read())

    def close(self):
        self.http.close()


@pytest.fixture
def busy(rig, request):
    """A site with a reload under way until site.slow.release is set, and askers that wait in the order of
    their calls."""
    site = Site(rig)
    site.slow = SlowCheck('slow')
    rig.scripted.append(site.slow)
    askers, observer = [], Asker(site.admin.port)

    def ask(method, target, body=None):
        a = Asker(site.admin.port)
        askers.append(a)
        a.ask(method, target, body)
        observer.look()  # the request was sent before this one, so it has been read by now
        return a

    site.ask = ask
    with_slow = site.text + f'      - {{name: slow, address: {site.slow.address}}}\n'
    site.moved = with_slow.replace(f'127.0.0.1:{site.admin.port}', f'127.0.0.1:{free_port()}', 1)
    site.path.write_text(site.moved if getattr(request, 'param', None) == 'moves' else with_slow)
    site.first = ask('POST', '/reload')
    assert site.slow.asked.wait(pace.upper(20))
    yield site
    site.slow.release.set()
    for a in [*askers, observer]:
        a.close()


def test_a_put_behind_a_reload_is_done(busy):
    again = busy.ask('POST', '/reload')
    put = busy.ask('PUT', '/config', busy.with_third())
    busy.slow.release.set()
    assert busy.first.answer()[0] == 200
    assert again.answer()[0] == 200
    status, document = put.answer()
    assert status == 200, document
    assert document['generation'] == 4
    assert busy.path.read_text() == busy.with_third()
    assert busy.names() == ['b1', 'b2', 'b3']


def test_a_dry_run_behind_a_reload_is_one(busy):
    again = busy.ask('POST', '/reload')
    plan = busy.ask('PUT', '/config?dry_run=1', busy.with_third())
    last = busy.ask('POST', '/reload')
    busy.slow.release.set()
    assert busy.first.answer()[0] == 200
    assert again.answer()[1]['generation'] == 3
    status, document = plan.answer()
    assert status == 200 and 'generation' not in document and 'pools' in document, document
    assert last.answer()[1]['generation'] == 3, 'it asked the same as the one before'
    assert busy.names() == ['b1', 'b2', 'slow']


def test_force_is_of_the_one_who_gave_it(rig, busy):
    """The file has a bound that lets nothing move, and an edit that moves much."""
    bound = busy.path.read_text().replace('listeners:', 'reload: {max_move: 0%}\nlisteners:', 1)
    busy.path.write_text(bound)
    plain = busy.ask('POST', '/reload')
    busy.slow.release.set()
    assert busy.first.answer()[0] == 200
    assert plain.answer()[0] == 200
    other = SlowCheck('other')
    rig.scripted.append(other)
    busy.path.write_text(bound + f'      - {{name: other, address: {other.address}}}\n')
    held = busy.ask('POST', '/reload?force=1')
    assert other.asked.wait(pace.upper(20))
    busy.path.write_text(bound)
    refused = busy.ask('POST', '/reload')
    forced = busy.ask('POST', '/reload?force=1')
    other.release.set()
    assert held.answer()[0] == 200
    assert refused.answer()[0] == 422
    assert forced.answer()[0] == 200


@pytest.mark.parametrize('busy', ['moves'], indirect=True)
def test_who_waits_where_the_interface_goes_hears_it(busy):
    put = busy.ask('PUT', '/config', busy.with_third())
    busy.slow.release.set()
    assert busy.first.answer()[0] == 200
    status, document = put.answer()
    assert status == 503 and 'moved' in document['error'], document
    assert busy.path.read_text() == busy.moved
