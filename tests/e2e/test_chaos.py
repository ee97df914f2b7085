"""Everything goes wrong at once, and whoever behaves well does not notice. See chaos.py; the length
is CHAOS_SECONDS."""

import os

import pytest

import chaos

SECONDS = float(os.environ.get('CHAOS_SECONDS', 60))


@pytest.mark.threads
@pytest.mark.parametrize('few,seconds', [(0, SECONDS), (300, SECONDS / 2)],
                         ids=['plenty', 'few_descriptors'])
def test_good_clients_of_bad_servers_among_bad_clients(tmp_path, monkeypatch, few, seconds):
    env = dict(os.environ)
    chaos.sanitizer_options(env)
    monkeypatch.setenv('ASAN_OPTIONS', env['ASAN_OPTIONS'])
    chaos.Chaos(tmp_path, seconds, few).run()
