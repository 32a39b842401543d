"""nginx and haproxy in front of a server, with exactly the configuration of docs/operations.md.

    with Proxy("nginx", server) as proxy:
        urllib.request.urlopen(proxy.url + "/healthz")
        proxy.restart()
"""
import contextlib
import http.client
import pathlib
import re
import shutil
import subprocess
import tempfile

from longwire_server import ROOT, free_port
from waiting import SECONDS, wait_until

PAGE = (ROOT / "docs" / "operations.md").read_text()
NAMES = ["nginx", "haproxy"]
SERVER, UNDER_A_PATH, HTTP_2 = range(3)     # the pieces of the page, in their order


def snippet(language, number=SERVER):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)[number]


def changed(text, before, after):
    assert before in text, f"docs/operations.md lacks {before!r}"
    return text.replace(before, after)


def certificate(home):
    """For 127.0.0.1, signed by itself."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
                    "-keyout", home / "longwire.key", "-out", home / "longwire.pem"], check=True, capture_output=True)


def nginx_http_2(home, tls_port):
    certificate(home)
    text = changed(snippet("nginx", HTTP_2), "listen 8443", f"listen 127.0.0.1:{tls_port}")
    return changed(text, "/etc/ssl/", f"{home}/")


def nginx(proxy):
    home = proxy.home
    text = changed(snippet("nginx"), "127.0.0.1:8080", f"127.0.0.1:{proxy.server.port}")
    text = changed(text, "listen 8081;", f"listen 127.0.0.1:{proxy.port};\n{nginx_http_2(home, proxy.tls_port)}")
    text = changed(text, "/var/log/nginx/", f"{home}/")
    text = changed(text, "    location @longwire", snippet("nginx", UNDER_A_PATH) + "    location @longwire")
    folders = "".join(f"{name}_temp_path {home}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (home / "nginx.conf").write_text(f"daemon off;\nmaster_process off;\npid {home}/pid;\nerror_log {home}/error.log;\n"
                                     f"events {{}}\nhttp {{\n{folders}{text}}}\n")
    return ["/usr/sbin/nginx", "-p", str(home), "-c", str(home / "nginx.conf")]


def haproxy(proxy):
    text = changed(snippet("haproxy"), "127.0.0.1:8080", f"127.0.0.1:{proxy.server.port}")
    text = changed(text, "bind 127.0.0.1:8082\n", f"bind 127.0.0.1:{proxy.port}\n{snippet('haproxy', UNDER_A_PATH)}")
    (proxy.home / "haproxy.cfg").write_text(text)
    return ["/usr/sbin/haproxy", "-db", "-f", str(proxy.home / "haproxy.cfg")]


MAKERS = {"nginx": nginx, "haproxy": haproxy}


class Proxy:
    """One proxy process in front of one server, on ports of its own that stay the same. Only nginx has a tls_port."""

    def __init__(self, name, server):
        self.name, self.server, self.port, self.tls_port = name, server, free_port(), free_port()
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="longwire-proxy-"))
        self.command = MAKERS[name](self)
        assert shutil.which(self.command[0]), f"{self.command[0]} is not installed"
        self.process = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method, path, body=None, headers=None):
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        link.request(method, path, body, headers or {})
        return link.getresponse()

    def serves(self):
        assert self.process.poll() is None, "the proxy has ended"
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.ask("GET", "/readyz/read").status == 200
        return False

    def start(self):
        self.process = subprocess.Popen(self.command, stderr=subprocess.STDOUT)
        wait_until(self.serves)

    def kill(self):
        """Its connections, to clients and to the server, are cut."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self):
        self.kill()
        self.start()

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)
