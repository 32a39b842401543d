"""A private PostgreSQL server for tests: start, stop hard, pause, resume, psql.

    with Postgres() as postgres:
        postgres.init()                         # longwired --store URL --init
        with Server(flags=["--store", postgres.url]) as server:
            ...
            postgres.stop_hard()
            postgres.start()

It runs as another user if the tests run as root, on a free port of loopback, in a folder of its own that goes away with
it. It writes without fsync, so it survives its own end, not the machine's.
"""
import contextlib
import glob
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile

import longwire_server
from waiting import SECONDS, stop_processes

SETTINGS = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "32MB", "max_connections": "100",
            "max_wal_size": "256MB", "min_wal_size": "32MB", "max_prepared_transactions": "10", "autovacuum_naptime": "5s"}


def binaries():
    """The folder of the newest version that Debian's packages put there; None: there is none."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    return pathlib.Path(found[-1]).parent if found else None


def other_user():
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise OSError("neither a user postgres nor a user nobody is there to run PostgreSQL as")


class Postgres:
    """One server.

    settings   further lines of its configuration, as a dictionary
    password   of the user postgres; without one, everyone on this machine is let in
    """

    def __init__(self, settings=None, password=None):
        self.settings = {**SETTINGS, **(settings or {})}
        self.password = password
        self.user = other_user()
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="longwire-postgres-"))
        self.data = self.home / "data"
        self.port = longwire_server.free_port()
        self.is_running = self.is_paused = False
        if self.user:
            os.chown(self.home, self.user.pw_uid, self.user.pw_gid)

    @property
    def url(self):
        return self.url_of("postgres")

    def url_of(self, database):
        secret = f":{self.password}" if self.password else ""
        return f"postgres://postgres{secret}@127.0.0.1:{self.port}/{database}"

    def log(self):
        path = self.home / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def run(self, program, *arguments):
        """One of PostgreSQL's programs, as the user that the server runs as."""
        who = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if self.user else {}
        done = subprocess.run([str(binaries() / program), *arguments], capture_output=True, text=True, cwd="/",
                              timeout=SECONDS, check=False,
                              env={**os.environ, "PGPASSWORD": self.password or "", "HOME": str(self.home)}, **who)
        if done.returncode != 0:
            raise AssertionError(f"{program} failed: {done.stdout}{done.stderr}{self.log()[-4000:]}")
        return done.stdout

    def make(self):
        """The files of a new database."""
        secret = []
        if self.password:
            path = self.home / "password"
            path.write_text(self.password)
            path.chmod(0o644)
            secret = [f"--pwfile={path}"]
        self.run("initdb", "-D", str(self.data), "-U", "postgres", "-A", "scram-sha-256" if self.password else "trust",
                 "-E", "UTF8", "--no-locale", "--no-sync", *secret)
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as out:
            for name, value in {"listen_addresses": "'127.0.0.1'", "port": self.port,
                                "unix_socket_directories": f"'{self.home}'", **self.settings}.items():
                out.write(f"{name} = {value}\n")

    def start(self):
        if not self.data.exists():
            self.make()
        self.run("pg_ctl", "-D", str(self.data), "-w", "-t", "120", "-l", str(self.home / "log"), "-s", "start")
        self.is_running = True
        return self

    def pid(self):
        return int((self.data / "postmaster.pid").read_text().split()[0])

    def processes(self):
        """The server and its children."""
        found = [self.pid()]
        for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                if int(path.read_text().rsplit(")", 1)[1].split()[1]) == found[0]:
                    found.append(int(path.parent.name))
            except (OSError, IndexError):
                continue
        return found

    def stop(self, mode="fast"):
        self.resume()
        if self.is_running:
            self.run("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "-t", "60", "stop")
        self.is_running = False

    def stop_hard(self):
        """At once, as in a crash: what was not committed is gone, and clients hear no word."""
        self.stop("immediate")

    def pause(self):
        """SIGSTOP to all of it: connections stay, nothing is answered."""
        self.is_paused = True
        stop_processes([self.pid()])      # it starts no more children
        stop_processes(self.processes())

    def resume(self):
        if not self.is_paused:
            return
        self.is_paused = False
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):   # a child may end as soon as the first of them goes on
                os.kill(pid, signal.SIGCONT)

    def psql(self, sql, database="postgres"):
        """What the last statement gives, one row a line, columns separated by |."""
        return self.run("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port),
                        "-U", "postgres", "-d", database, "-c", sql).strip()

    def create(self, database):
        """A database beside others, and its URL."""
        self.psql(f"create database {database} encoding 'UTF8' template template0")
        return self.url_of(database)

    def init(self, store=None, program=None):
        """longwired --init; gives what it says."""
        done = subprocess.run([str(program or longwire_server.LONGWIRED), "--store", store or self.url, "--init"],
                              capture_output=True, text=True, timeout=SECONDS, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def close(self):
        try:
            self.stop_hard()
        finally:
            shutil.rmtree(self.home, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            shutil.rmtree(self.home, ignore_errors=True)
            raise

    def __exit__(self, kind, value, trace):
        self.close()

