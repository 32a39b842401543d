"""TLS on `https` and `tcps`: certificates made here, and clients that were written elsewhere (threats 52, 108, 110)."""
import json
import pathlib
import shutil
import subprocess

import pytest

from longwire_server import Server, free_port, is_built
from waiting import wait_until

pytestmark = [
    pytest.mark.skipif(not is_built(), reason="no longwired is built"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl"),
]


class Certificates:
    """A folder with an authority and what it has signed."""

    def __init__(self, home):
        self.home = pathlib.Path(home)
        self.authority = self.pem("authority")
        self.openssl("req", "-x509", *self.new_key("authority"), "-out", self.authority, "-days", "30", "-subj", "/CN=authority",
                     "-addext", "basicConstraints=critical,CA:TRUE")

    def openssl(self, *arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    def pem(self, name):
        return self.home / f"{name}.pem"

    def key(self, name):
        return self.home / f"{name}.key"

    def new_key(self, name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key(name)]

    def make(self, name, san, cn=None, days=30):
        """A certificate of the authority, and its key."""
        request = self.home / f"{name}.req"
        extension = self.home / f"{name}.ext"
        extension.write_text(f"subjectAltName={san}\n")
        self.openssl("req", "-new", *self.new_key(name), "-out", request, "-subj", f"/CN={cn or name}")
        self.openssl("x509", "-req", "-in", request, "-CA", self.authority, "-CAkey", self.key("authority"), "-CAcreateserial",
                     "-out", self.pem(name), "-days", str(days), "-extfile", extension)
        return self

    def section(self, name, more=""):
        return f"[tls {name}]\ncertificate = {self.pem(name)}\nkey = {self.key(name)}\n{more}"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    return made.make("local", "DNS:localhost,IP:127.0.0.1").make("other", "DNS:other.example,DNS:*.wild.example")


class TlsServer(Server):
    """A server with `https` and `tcps`; `sections`: the text of its configuration from the first [tls NAME] on."""

    def __init__(self, sections, flags=(), **more):
        self.https_port, self.tcps_port = free_port(), free_port()
        super().__init__(config=sections, flags=["--store", "memory", "--tcp", "127.0.0.1:0",
                                                 "--https", f"127.0.0.1:{self.https_port}",
                                                 "--tcps", f"127.0.0.1:{self.tcps_port}", *flags], **more)

    @property
    def https(self):
        return f"https://localhost:{self.https_port}"


def curl(certificates, *arguments, **more):
    return subprocess.run(["curl", "-sS", "--max-time", "20", "--cacert", str(certificates.authority), *map(str, arguments)],
                          capture_output=True, text=True, **more)


def test_curl_publishes_and_another_follows(certificates):
    with TlsServer(certificates.section("local")) as server:
        follow = subprocess.Popen(["curl", "-sSN", "--cacert", str(certificates.authority), "-H", "Accept: text/event-stream",
                                   f"{server.https}/v1/subscribe?channel=topic:a&after=0"], stdout=subprocess.PIPE, text=True)
        try:
            told = curl(certificates, "-d", "Hello", f"{server.https}/v1/channels/topic:a/messages")
            assert json.loads(told.stdout)["seq"] == 1, told
            line = next(line for line in follow.stdout if '"data":"Hello"' in line)
            assert json.loads(line.removeprefix("data: "))["seq"] == 1
        finally:
            follow.kill()
            follow.wait()
        plain = curl(certificates, "-i", f"http://localhost:{server.https_port}/healthz")
        assert plain.stdout.startswith("HTTP/1.1 400 ") and "https://" in plain.stdout
        wait_until(lambda: "event=tls_handshake_failed reason=plain" in server.log(), server.log)
