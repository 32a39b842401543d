"""compose.cluster.yaml, as far as it can be run without containers: its services as processes, each with the variables and the
command that the file, the Dockerfile and setup/container.conf give it. Only host names and ports are others; what a container's engine makes
of the file is not shown.

Here the image's variables come from the Dockerfile, so a variable, a flag, a port or a secret that does not exist fails."""
import json
import os
import pathlib
import re
import shlex
import subprocess

import pytest
import yaml

import redis_server
from longwire_client import Api
from longwire_server import LONGWIRE, LONGWIRED, free_port
from postgres_server import Postgres, binaries
from waiting import SECONDS, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECRET = "1f" * 32
CHECKS = {"service_healthy", "service_started", "service_completed_successfully"}


def compose():
    return yaml.safe_load((ROOT / "compose.cluster.yaml").read_text())


def image_variables():
    """What ENV sets in the Dockerfile."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    words = [word for line in re.findall(r"^ENV (.*)$", text, re.M) for word in shlex.split(line)]
    return dict(word.split("=", 1) for word in words)


def settings():
    """Names of all settings, from what the program itself documents."""
    said = subprocess.run([LONGWIRED, "--print-docs"], capture_output=True, text=True, timeout=SECONDS, check=True).stdout
    return set(re.findall(r"`([a-z0-9_]+)`", said))


def nodes_of(services):
    return [name for name, service in services.items() if "LONGWIRE_NODE" in service.get("environment", {})]


def in_order(services):
    """Each service behind those that it depends on; a ring has no such order."""
    done = []
    while len(done) < len(services):
        ready = [name for name, service in services.items() if name not in done and set(service.get("depends_on", {})) <= set(done)]
        assert ready, "services wait for each other"
        done += ready
    return done


def test_every_name_in_the_file_exists():
    file, known, image = compose(), settings(), image_variables()
    services = file["services"]
    assert len(nodes_of(services)) == 3
    for name, service in services.items():
        for variable in {**image, **service.get("environment", {})} if "build" in service else {}:
            what = variable.removeprefix("LONGWIRE_").lower()
            assert what in known or what == "config", f"{name}: no setting is called {variable}"
        for needed, how in service.get("depends_on", {}).items():
            assert needed in services and how["condition"] in CHECKS
            assert how["condition"] != "service_healthy" or "healthcheck" in services[needed]
        assert set(service.get("secrets", [])) <= set(file["secrets"])
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in file["volumes"]
    assert in_order(services)[-1] in nodes_of(services)


def test_ports_and_secrets_are_those_of_the_image():
    file, image = compose(), image_variables()
    inside = {image["LONGWIRE_HTTP"].split(":")[1], image["LONGWIRE_TCP"].split(":")[1]}
    outside = set()
    for name in nodes_of(file["services"]):
        service = file["services"][name]
        ports = dict(reversed(port.removeprefix("127.0.0.1:").split(":")) for port in service["ports"])
        assert set(ports) == inside
        assert service["environment"]["LONGWIRE_ADVERTISE"] == (f"http://127.0.0.1:{ports[image['LONGWIRE_HTTP'].split(':')[1]]},"
                                                                f"tcp://127.0.0.1:{ports[image['LONGWIRE_TCP'].split(':')[1]]}")
        outside |= set(ports.values())
    assert len(outside) == 6
    for secret in file["secrets"]:
        assert f"/run/secrets/{secret}" in (ROOT / "setup/container.conf").read_text()


class Composed:
    """The services, as processes."""

    def __init__(self, home):
        self.home, self.services = home, compose()["services"]
        self.postgres, self.redis, self.running, self.http = Postgres(password="first"), None, [], {}
        (home / "key").write_text(SECRET)
        (home / "longwired.conf").write_text(
            (ROOT / "setup/container.conf").read_text().replace("/run/secrets/longwire_backend", str(home / "key")))

    def start_postgres(self, service):
        """The image makes the role and the database that its variables name."""
        variables = self.filled(service)
        self.postgres.start()
        self.postgres.psql(f"create role {variables['POSTGRES_USER']} login password '{variables['POSTGRES_PASSWORD']}'")
        self.postgres.psql(f"create database {variables['POSTGRES_DB']} owner {variables['POSTGRES_USER']}")
        check = service["healthcheck"]["test"]
        assert check[0] == "CMD"
        done = subprocess.run([str(binaries() / check[1]), *check[2:], "-h", "127.0.0.1", "-p", str(self.postgres.port)],
                              capture_output=True, timeout=SECONDS, check=False)
        assert done.returncode == 0

    def start_redis(self, service):
        self.redis = free_port()
        self.run("redis", service["command"] + ["--port", str(self.redis), "--bind", "127.0.0.1", "--dir", str(self.home)], os.environ)

    def filled(self, service):
        return {name: value.replace("${POSTGRES_PASSWORD}", "second") for name, value in service.get("environment", {}).items()}

    def variables(self, name, service):
        """As in the container, but for where things are."""
        told = {**image_variables(), **self.filled(service)}
        told["LONGWIRE_STORE"] = told["LONGWIRE_STORE"].replace("@postgres/", f"@127.0.0.1:{self.postgres.port}/")
        told["LONGWIRE_CLUSTER"] = told["LONGWIRE_CLUSTER"].replace("redis:6379", f"127.0.0.1:{self.redis}")
        self.http[name] = free_port()
        return {**os.environ, **told, "LONGWIRE_CONFIG": str(self.home / "longwired.conf"), "LONGWIRE_DATA": str(self.home / name),
                "LONGWIRE_HTTP": f"127.0.0.1:{self.http[name]}", "LONGWIRE_TCP": f"127.0.0.1:{free_port()}"}

    def run(self, name, command, variables):
        with open(self.home / f"{name}.log", "wb") as log:
            self.running.append(subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        return self.running[-1]

    def start(self, name):
        service = self.services[name]
        if "image" in service:
            getattr(self, f"start_{name}")(service)
            return
        process = self.run(name, [LONGWIRED, *service.get("command", [])], self.variables(name, service))
        if name == "init":
            assert process.wait(SECONDS) == 0, self.log(name)
        else:
            wait_until(lambda: self.is_alive(name), lambda: self.log(name))

    def is_alive(self, name):
        """The health check of the image."""
        done = subprocess.run([LONGWIRE, "info", "--alive"], env={**os.environ, "LONGWIRE_SERVER": f"127.0.0.1:{self.http[name]}"},
                              capture_output=True, timeout=SECONDS, check=False)
        return done.returncode == 0

    def log(self, name):
        return (self.home / f"{name}.log").read_text(errors="replace")

    def stop(self):
        for process in self.running:
            process.kill()
            process.wait()
        self.postgres.close()


@pytest.fixture(name="composed")
def all_services(tmp_path):
    if binaries() is None or not redis_server.is_installed():
        pytest.skip("PostgreSQL and Redis of Debian are not installed")
    all_of_them = Composed(tmp_path)
    try:
        yield all_of_them
    finally:
        all_of_them.stop()


def test_the_services_serve_as_one_cluster(composed):
    assert 'CMD ["longwire", "info", "--alive"]' in (ROOT / "Dockerfile").read_text()
    for name in in_order(composed.services):
        composed.start(name)
    names = nodes_of(composed.services)
    apis = {name: Api(f"http://127.0.0.1:{composed.http[name]}", token=SECRET) for name in names}

    def listed():
        answer = apis[names[0]].get("/v1/nodes")
        return answer.status == 200 and {node["node"] for node in json.loads(answer.body)["nodes"]} == set(names)
    wait_until(listed, lambda: composed.log(names[0]))
    assert apis[names[0]].publish("topic:news", b"over there").status == 201
    history = json.loads(apis[names[2]].get("/v1/channels/topic:news/messages").body)
    assert [message["data"] for message in history["messages"]] == ["over there"]
