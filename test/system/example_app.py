"""An example of examples/, started by its one command on ports and data of its own.

    with Example("token_stream", tmp_path) as example:
        browser.get(example.url)
"""
import os
import subprocess

from longwire_server import BUILD, ROOT, free_ports_in_a_row
from waiting import SECONDS


def environment(data, port):
    return {**os.environ, "LW_BUILD": str(BUILD), "EXAMPLE_DATA": str(data), "EXAMPLE_PORT": str(port)}


class Example:
    def __init__(self, name, folder, **env):
        self.port = free_ports_in_a_row(3)   # of the page, the server and a back end
        self.url = f"http://127.0.0.1:{self.port}/"
        self.process = subprocess.Popen([ROOT / "examples" / "start", name], stdout=subprocess.PIPE, text=True,
                                        env={**environment(folder / name, self.port), **env})

    def __enter__(self):
        line = self.process.stdout.readline()
        assert line.startswith(f"open {self.url}"), line
        return self

    def __exit__(self, *_):
        self.process.terminate()
        status = self.process.wait(SECONDS)
        self.process.stdout.close()
        assert status == 0
