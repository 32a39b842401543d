"""nginx as a back end: it answers each request with its method and path, and logs the key of each request that it was sent."""
import collections
import pathlib
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request

from longwire_server import free_port
from waiting import SECONDS, wait_until

CONFIG = """
daemon off;
pid {home}/pid;
error_log {home}/error.log;
worker_processes 1;
events {{ worker_connections 1024; }}
http {{
    log_format key '$http_idempotency_key';
    access_log {home}/keys key;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    default_type text/plain;
    server {{
        listen 127.0.0.1:{port};
        location = /up {{ access_log off; return 200; }}
        location / {{ return 200 "$request_method $request_uri"; }}
    }}
}}
"""


class NginxBackEnd:
    """Runs from `with` on."""

    def __init__(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="longwire-nginx-"))
        self.home.chmod(0o777)  # its worker runs as another user
        self.port, self.process = free_port(), None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def is_up(self):
        try:
            with urllib.request.urlopen(self.url + "/up", timeout=2) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    def keys(self):
        """How often each key came."""
        return collections.Counter((self.home / "keys").read_text().split("\n")[:-1])

    def __enter__(self):
        config = self.home / "nginx.conf"
        config.write_text(CONFIG.format(home=self.home, port=self.port))
        self.process = subprocess.Popen(["nginx", "-p", str(self.home), "-c", str(config), "-e", str(self.home / "error.log")],
                                        stdin=subprocess.DEVNULL)
        wait_until(self.is_up, lambda: (self.home / "error.log").read_text())
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(SECONDS)
        shutil.rmtree(self.home, ignore_errors=True)
