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


def snippet(language):
    """The first piece of the page in that language."""
    return re.search(rf"```{language}\n(.*?)```", PAGE, re.S)[1]


def nginx(home, server_port, port):
    text = snippet("nginx").replace("127.0.0.1:8080", f"127.0.0.1:{server_port}")
    text = text.replace("listen 8081", f"listen 127.0.0.1:{port}").replace("/var/log/nginx/", f"{home}/")
    folders = "".join(f"{name}_temp_path {home}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (home / "nginx.conf").write_text(f"daemon off;\nmaster_process off;\npid {home}/pid;\nerror_log {home}/error.log;\n"
                                     f"events {{}}\nhttp {{\n{folders}{text}}}\n")
    return ["/usr/sbin/nginx", "-p", str(home), "-c", str(home / "nginx.conf")]


def haproxy(home, server_port, port):
    text = snippet("haproxy").replace("127.0.0.1:8080", f"127.0.0.1:{server_port}")
    (home / "haproxy.cfg").write_text(text.replace("127.0.0.1:8082", f"127.0.0.1:{port}"))
    return ["/usr/sbin/haproxy", "-db", "-f", str(home / "haproxy.cfg")]


MAKERS = {"nginx": nginx, "haproxy": haproxy}


class Proxy:
    """One proxy process in front of one server, on a port of its own that stays the same."""

    def __init__(self, name, server):
        self.name, self.server, self.port = name, server, free_port()
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="longwire-proxy-"))
        self.command = MAKERS[name](self.home, server.port, self.port)
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
