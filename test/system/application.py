"""An application for tests: it answers the connect hook and hands out key sets, or misbehaves as it is told.

    with Application() as application:
        application.answer = lambda question: (200, {"user": question["token"]})
        Server(config=f"[connect_hook]\\nurl = {application.url}/hook")
        application.questions       # what came, oldest first
"""
import datetime
import http.server
import ipaddress
import json
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from waiting import SECONDS


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):      # noqa: N802
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.owner.take_question(self, json.loads(body))

    def do_GET(self):       # noqa: N802
        self.server.owner.take_get(self)

    def reply(self, status, thing):
        body = thing if isinstance(thing, bytes) else json.dumps(thing).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Listener(http.server.ThreadingHTTPServer):
    request_queue_size = 128    # five are the default: of twenty at once some would wait a second for a repeated SYN


class Authority:
    """A certificate authority of one's own, and certificates for hosts.

        authority = Authority(tmp_path)
        Application(tls=authority.context("127.0.0.1"))     # authority.file is what `ca_file` names
    """

    def __init__(self, folder, name="authority"):
        self.folder, self.name = folder, x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.file = folder / f"{name}.pem"
        certificate = self.sign(self.name, self.key, x509.BasicConstraints(ca=True, path_length=None))
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def sign(self, name, key, extension, days=30):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder(self.name, name, key.public_key(), x509.random_serial_number(),
                                          now - datetime.timedelta(days=60), now + datetime.timedelta(days=days))
        return builder.add_extension(extension, critical=extension.oid == x509.OID_BASIC_CONSTRAINTS).sign(
            self.key, hashes.SHA256())

    def context(self, host, days=30):
        """What a server of this host shows; days < 0: it has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            name = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            name = x509.DNSName(host)
        certificate = self.sign(x509.Name([]), key, x509.SubjectAlternativeName([name]), days)
        file = self.folder / f"{host}.{days}.pem"
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


class Application:
    """answer    question → (status, object or bytes), or a function of the handler that does as it likes
    wait_s      how long a GET is not answered
    tls         an ssl.SSLContext: it speaks https (Authority.context)
    documents   path → object: what GET is answered
    """

    def __init__(self, tls=None):
        self.questions, self.paths, self.documents = [], [], {}
        self.answer = lambda question: (200, {"user": "ann"})
        self.is_over, self.wait_s = threading.Event(), 0
        self.http = Listener(("127.0.0.1", 0), Handler)
        self.http.owner = self
        self.scheme = "https" if tls else "http"
        if tls:
            self.http.socket = tls.wrap_socket(self.http.socket, server_side=True, do_handshake_on_connect=False)
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.http.server_address[1]}"

    def take_question(self, handler, question):
        self.questions.append(question)
        answer = self.answer(question)
        if callable(answer):
            answer(handler)
        else:
            handler.reply(*answer)

    def take_get(self, handler):
        self.paths.append(handler.path)
        self.is_over.wait(self.wait_s)
        if handler.path in self.documents:
            handler.reply(200, self.documents[handler.path])
        else:
            handler.reply(404, {})

    def hang(self, _handler):
        """Says nothing until the test is over."""
        self.is_over.wait(SECONDS)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.http.shutdown()
        self.http.server_close()
