"""The package of clients/js: its units under Node.js, its types, its installation with npm, and the first page of its README."""
import json
import os
import re
import shutil
import subprocess

import pytest

from longwire_server import BUILD, ROOT, Server, is_built
from waiting import SECONDS

NODE, NPM, GIT = shutil.which("node"), shutil.which("npm"), shutil.which("git")
PACKAGE = ROOT / "clients" / "js"
LIBRARIES = BUILD / "javascript"
CONFIG = {"compilerOptions": {"strict": True, "noEmit": True, "target": "es2022", "lib": ["es2022", "dom", "dom.iterable"],
                              "module": "nodenext", "moduleResolution": "nodenext", "types": []}}

pytestmark = pytest.mark.skipif(not NODE or not NPM, reason="node and npm are not installed")


def run(*command, cwd, env=None):
    done = subprocess.run([str(word) for word in command], cwd=cwd, timeout=SECONDS, capture_output=True, text=True,
                          env={**os.environ, "npm_config_offline": "true", "npm_config_update_notifier": "false", **(env or {})})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(folder, what):
    """A new application that has nothing but the package. No network is asked."""
    folder.mkdir()
    (folder / "package.json").write_text(json.dumps({"name": "app", "version": "1.0.0", "type": "module"}))
    run(NPM, "install", "--no-audit", "--no-fund", "--ignore-scripts", what, cwd=folder)
    return folder


@pytest.fixture(name="app", scope="module")
def fixture_app(tmp_path_factory):
    return install(tmp_path_factory.mktemp("npm") / "app", PACKAGE)


@pytest.mark.parametrize("name", ["units", "client"])
def test_units(name):
    run(NODE, "--test", PACKAGE / "test" / f"{name}.test.js", cwd=ROOT)


@pytest.mark.skipif(not is_built(), reason="longwired is not built")
def test_the_vectors_of_dialogues_streams_and_cursors():
    with Server() as server:
        run(NODE, "--test", PACKAGE / "test" / "vectors.test.js", cwd=ROOT, env={"LONGWIRE_URL": server.url})


def test_types(app):
    """An application in TypeScript, strict: what is right compiles, and what is wrong does not."""
    subprocess.run([ROOT / "setup" / "javascript", LIBRARIES], check=True)
    shutil.copy(ROOT / "test" / "javascript" / "types.ts", app)
    (app / "tsconfig.json").write_text(json.dumps({**CONFIG, "files": ["types.ts"]}))
    run(NODE, LIBRARIES / "node_modules" / "typescript" / "bin" / "tsc", "-p", app, cwd=app)


def test_the_types_name_what_there_is():
    """Each member of a class that index.d.ts declares exists, and each export."""
    types = (PACKAGE / "index.d.ts").read_text()
    client = re.search(r"export class Client \{(.*?)\n\}", types, re.S)[1]
    members = sorted(set(re.findall(r"^    (?:readonly )?(\w+)[<(:?]", client, re.M)) - {"constructor"})
    assert len(members) > 15
    script = f"""import {{ Client, LongwireError, connect }} from 'longwire';
        const client = new Client('http://127.0.0.1:1');
        console.log({json.dumps(members)}.filter(name => !(name in client)).join(), typeof connect, typeof LongwireError);"""
    assert run(NODE, "--input-type=module", "-e", script.replace("'longwire'", f"'{PACKAGE}/index.js'"), cwd=ROOT).split() == ["function", "function"]


@pytest.mark.skipif(not GIT, reason="git is not installed")
def test_installs_from_a_git_url_too(tmp_path):
    """npm knows only packages at the root of a repository: the root's package.json says the same as the package's own."""
    repository = tmp_path / "repository"
    repository.mkdir()
    shutil.copy(ROOT / "package.json", repository)
    shutil.copytree(PACKAGE, repository / "clients" / "js")
    (repository / "src").mkdir()
    (repository / "src" / "server.c").write_text("/* not part of the package */")
    names = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        run(GIT, *command, cwd=repository, env=names)
    app = install(tmp_path / "app", f"git+file://{repository}")
    installed = app / "node_modules" / "longwire"
    assert not (installed / "src").exists() and not (installed / "clients" / "js" / "test").exists()
    assert run(NODE, "--input-type=module", "-e", "import { connect } from 'longwire'; console.log(typeof connect)", cwd=app) == "function\n"


def test_both_package_files_say_the_same():
    root, own = (json.loads((folder / "package.json").read_text()) for folder in (ROOT, PACKAGE))
    moved = json.loads(json.dumps(own).replace('"./index', '"./clients/js/index'))
    for name in set(root) | set(own):
        if name != "files":
            assert root[name] == moved[name], name
    assert set(root["files"]) == {f"clients/js/{name}" for name in own["files"]} | {"clients/js/README.md"}
    assert "dependencies" not in own


@pytest.mark.skipif(not is_built(), reason="longwired is not built")
def test_the_first_page_of_the_readme_runs(app):
    page = re.search(r"```js\n(import .*?)```", (PACKAGE / "README.md").read_text(), re.S)[1]
    with Server() as server:
        (app / "first.mjs").write_text(page.replace("http://127.0.0.1:8080", server.url))
        lines = run(NODE, "first.mjs", cwd=app).splitlines()
    assert sorted(lines) == ["1 { text: 'hello' }", "2 { text: 'bye' }", "stored as 1"]
