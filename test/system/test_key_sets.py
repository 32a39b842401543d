"""The keys of an issuer come from an address: fetched at the start, in time, and at once for a key that is not known; the
last good ones are kept."""
import base64
import contextlib
import json
import re
import subprocess
import time

import pytest

from application import Application, Authority
from longwire_client import Api
from longwire_server import Server, is_built
from waiting import wait_until

pytestmark = pytest.mark.skipif(not is_built(), reason="no longwired is built")


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Signer:
    """An Ed25519 key of OpenSSL's, and tokens that it signs."""

    def __init__(self, folder, kid):
        self.kid, self.path = kid, folder / f"{kid}.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", self.path], check=True, capture_output=True)
        public = subprocess.run(["openssl", "pkey", "-in", self.path, "-pubout", "-outform", "DER"], check=True,
                                capture_output=True).stdout
        self.jwk = {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": kid, "use": "sig", "x": encode(public[-32:])}

    def token(self, user, **claims):
        now = int(time.time())
        head = encode(json.dumps({"alg": "EdDSA", "kid": self.kid}).encode())
        body = encode(json.dumps({"sub": user, "iat": now, "exp": now + 600, **claims}).encode())
        text = self.path.with_suffix(".text")
        text.write_bytes(f"{head}.{body}".encode())
        signature = subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self.path, "-in", text], check=True,
                                   capture_output=True).stdout
        return f"{head}.{body}.{encode(signature)}"


@pytest.fixture(name="signers")
def two_signers(tmp_path):
    return [Signer(tmp_path, kid) for kid in ("one", "two")]


def config(issuer):
    return f"loops = 1\n[key k]\nsecret = the-secret-of-the-back-end\nrights = admin\n[jwt i]\njwks = {issuer.url}/keys\n"


def status_of(server, token, channel="user:ann"):
    with contextlib.closing(Api(server.url, token)) as api:
        return api.get(f"/v1/channels/{channel}/messages").status


def test_keys_come_and_change(signers):
    one, two = signers
    with Application() as issuer:
        issuer.documents["/keys"] = {"keys": [one.jwk]}
        with Server(config=config(issuer)) as server:
            assert status_of(server, one.token("ann")) == 200       # also in the first moment
            assert status_of(server, one.token("bob")) == 403
            fetched = len(issuer.paths)
            assert status_of(server, two.token("ann")) == 401       # a moment after a fetch there is no other
            assert len(issuer.paths) == fetched
            issuer.documents["/keys"] = {"keys": [two.jwk]}
            wait_until(lambda: status_of(server, two.token("ann")) == 200)
            assert len(issuer.paths) == fetched + 1                 # at most every 10 s
            assert status_of(server, one.token("ann")) == 401


def fetched(server):
    with contextlib.closing(Api(server.url, "the-secret-of-the-back-end")) as admin:
        text = admin.get("/metrics").body.decode()
    return {result: int(float(re.search(f'longwire_key_sets_total{{result="{result}"}} (.*)', text)[1]))
            for result in ("fetched", "failed")}


def test_one_fetch_over_https_serves_all_loops(signers, tmp_path):
    """Each request comes on a connection of its own, and so to any of the loops."""
    one, two = signers
    authority = Authority(tmp_path)
    with Application(tls=authority.context("127.0.0.1")) as issuer:
        issuer.documents["/keys"] = {"keys": [one.jwk]}
        text = f"ca_file = {authority.file}\n" + config(issuer).replace("loops = 1", "loops = 4")
        with Server(config=text) as server:
            def statuses(signer):
                token = signer.token("ann")
                return {status_of(server, token) for _ in range(40)}
            assert statuses(one) == {200}
            assert len(issuer.paths) == 1
            issuer.documents["/keys"] = {"keys": [one.jwk, two.jwk]}
            wait_until(lambda: status_of(server, two.token("ann")) == 200)
            assert statuses(two) == {200} and statuses(one) == {200}
            assert len(issuer.paths) == 2
            assert fetched(server) == {"fetched": 2, "failed": 0}


def test_keys_of_an_issuer_whose_certificate_is_not_good(signers, tmp_path):
    authority, other = Authority(tmp_path), Authority(tmp_path, "other")
    with Application(tls=other.context("127.0.0.1")) as issuer:
        issuer.documents["/keys"] = {"keys": [signers[0].jwk]}
        with Server(config=f"ca_file = {authority.file}\n" + config(issuer)) as server:
            assert status_of(server, signers[0].token("ann")) == 401
            assert issuer.paths == [] and "event=key_set_failed" in server.log() and "certificate" in server.log()


def test_two_issuers_with_addresses(signers):
    """The one that answers at once does not end the wait for the other."""
    one, two = signers
    with Application() as slow, Application() as fast:
        slow.documents["/keys"], fast.documents["/keys"] = {"keys": [one.jwk]}, {"keys": [two.jwk]}
        slow.wait_s = 1
        text = config(fast) + f"[jwt other]\njwks = {slow.url}/keys\n"
        with Server(config=text) as server:
            assert status_of(server, one.token("ann")) == 200
            assert status_of(server, two.token("ann")) == 200


def test_the_last_good_keys_are_kept(signers):
    one, two = signers
    with Application() as issuer:
        issuer.documents["/keys"] = {"keys": [one.jwk]}
        with Server(config="jwks_refresh_s = 10\n" + config(issuer)) as server:
            assert status_of(server, one.token("ann")) == 200
            for garbage in ({"keys": []}, {"no": "keys"}, []):
                issuer.documents["/keys"] = garbage
                count = len(issuer.paths)
                wait_until(lambda count=count: len(issuer.paths) > count)
                assert status_of(server, one.token("ann")) == 200
            assert server.log().count("event=key_set_failed") == 1
            del issuer.documents["/keys"]
            count = len(issuer.paths)
            wait_until(lambda: len(issuer.paths) > count)
            assert status_of(server, one.token("ann")) == 200


def test_an_issuer_that_is_away(signers):
    with Application() as gone:
        text = config(gone)
    with Server(config=text) as server:
        assert status_of(server, signers[0].token("ann")) == 401
        assert "event=key_set_failed" in server.log()


def test_a_token_of_before_the_revocation_is_refused(signers):
    """Threat 102: replay after revoke."""
    one, _ = signers
    with Application() as issuer:
        issuer.documents["/keys"] = {"keys": [one.jwk]}
        with Server(config=config(issuer)) as server, contextlib.closing(Api(server.url, "the-secret-of-the-back-end")) as admin:
            old, other = one.token("ann", jti="t1"), one.token("bob", jti="t2")
            without = one.token("ann", iat=None)
            assert status_of(server, old) == 200
            admin.call("POST", "/v1/revocations", json.dumps({"user": "ann"}))
            assert status_of(server, old) == 401
            assert status_of(server, without) == 401
            assert status_of(server, other, "user:bob") == 200
            wait_until(lambda: status_of(server, one.token("ann")) == 200)      # in a later second
            server.restart()
            assert status_of(server, old) == 401
            with contextlib.closing(Api(server.url, "the-secret-of-the-back-end")) as again:
                again.call("POST", "/v1/revocations", json.dumps({"jti": "t2"}))
            assert status_of(server, other, "user:bob") == 401
