"""HTTP/2 as RFC 9113 and RFC 7541 demand it, case by case: those of h2spec, and our own (threats 61, 67). The table is in h2_cases."""
import collections

import pytest

import h2_cases
from longwire_client import Api
from longwire_server import Server, is_built
from test_tls import Certificates, TlsServer

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")

CHANNEL = "topic:conformance"
PATH = f"/v1/channels/{CHANNEL}/messages"   # takes GET, HEAD and POST, and answers with a body


def names(cases):
    counts = collections.Counter()
    for case in cases:
        counts[case.section, case.name] += 1
        yield f"{case.section}: {case.name}" + (f" {counts[case.section, case.name]}" if counts[case.section, case.name] > 1 else "")


@pytest.fixture(scope="module")
def server():
    with Server(flags=["--store", "memory"]) as running:
        assert Api(running.url).publish(CHANNEL, b"a body that is longer than five bytes").status == 201
        yield running


@pytest.mark.parametrize("case", h2_cases.H2SPEC, ids=names(h2_cases.H2SPEC))
def test_as_h2spec_has_it(server, case):
    h2_cases.run(case, server.port, PATH)


@pytest.mark.parametrize("case", h2_cases.OURS, ids=names(h2_cases.OURS))
def test_beyond_h2spec(server, case):
    h2_cases.run(case, server.port, PATH)


def test_all_of_it_over_tls(tmp_path):
    certificates = Certificates(tmp_path).make("local", "DNS:localhost,IP:127.0.0.1")
    with TlsServer(certificates.section("local")) as server:
        assert Api(server.url).publish(CHANNEL, b"a body that is longer than five bytes").status == 201
        context = certificates.context()
        for case in h2_cases.H2SPEC + h2_cases.OURS:
            if "preface" not in case.name:
                h2_cases.run(case, server.https_port, PATH, context)
