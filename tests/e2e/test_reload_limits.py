"""Descriptors of listeners, those that a reload has added too, are none that clients may use."""

import os

import pytest

from client import Client, get
from harness import CHECK_OFF, free_port, wait_until
from test_limits import connections, refused
from test_reload import Reloaded

LIMIT = 240
EXTRA = 20  # listeners; with their duplicates they take more than the reserve of LIMIT


class Crowded(Reloaded):
    """A proxy with few descriptors, and a file that may have many listeners."""

    def __init__(self, rig, crowded):
        self.crowded, self.ports = crowded, [free_port() for _ in range(EXTRA)]
        super().__init__(rig, [rig.backend('b1')], top={'workers': 2}, pool={'health': {**CHECK_OFF}})
        self.proxy.stop()
        self.proxy.argv = ['prlimit', f'--nofile={LIMIT}:{LIMIT}', *self.proxy.argv]
        self.proxy.start()

    def text(self):
        more = [f'  - {{name: more{p}, listen: 127.0.0.1:{p}, pool: p}}\n' for p in self.ports]
        return super().text().replace('pools:\n', ''.join(more) + 'pools:\n' if self.crowded else 'pools:\n', 1)


def descriptors(proxy):
    return len(os.listdir(f'/proc/{proxy.pid}/fd'))


def fill(r):
    """More clients than can be taken; each that is has a connection to a server. Returns how many were."""
    clients, before = [], refused(r.proxy)
    try:
        for _ in range(LIMIT):
            clients.append(Client(r.port))
        wait_until(lambda: connections(r.proxy) + refused(r.proxy) - before == LIMIT, 'all to be taken or refused')
        assert r.lines('accept failed') == []
        assert r.reload()['moved'] == {'p': 0}
        taken = connections(r.proxy)
        assert descriptors(r.proxy) < LIMIT
        return taken
    finally:
        for c in clients:
            c.close()
        wait_until(lambda: connections(r.proxy) == 0, 'all to be gone')


@pytest.mark.parametrize('when', ['start', 'reload'])
def test_listeners_leave_less_for_clients(rig, when):
    r = Crowded(rig, when == 'start')
    if when == 'reload':
        r.crowded = True
        r.change()
    with_all = fill(r)
    r.crowded = False
    r.change()
    assert get(r.port).text == 'b1'
    if when == 'reload':
        assert fill(r) > with_all
    assert r.lines('accept failed') == []
