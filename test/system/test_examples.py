"""The examples, each started by its one command and used in headless Chromium."""
import os
import shutil
import signal
import socket
import subprocess

import pytest

from browser import needs_chromium, open_chromium
from example_app import Example, environment
from longwire_server import ROOT, free_ports_in_a_row, is_built
from waiting import SECONDS, wait_until

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

pytestmark = [pytest.mark.skipif(not is_built(), reason="longwired is not built"), needs_chromium,
              pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")]


@pytest.fixture(name="browser", scope="module")
def fixture_browser():
    with open_chromium() as browser:
        yield browser


def text(browser, name):
    return browser.execute_script("return document.getElementById(arguments[0]).textContent", name)


def shot(browser, name):
    if "LW_SHOTS" in os.environ:
        browser.save_screenshot(os.path.join(os.environ["LW_SHOTS"], f"example-{name}.png"))


def test_token_stream(browser, tmp_path):
    """Reloads in mid-answer, and a visit when all is over: each shows the whole answer, each word once."""
    with Example("token_stream", tmp_path, PACE_MS="30") as example:
        browser.get(example.url)
        browser.find_element(By.ID, "question").clear()
        browser.find_element(By.ID, "question").send_keys("Why?")
        browser.find_element(By.ID, "send").click()
        for words in (5, 25):
            wait_until(lambda: len(text(browser, "answer").split()) > words, lambda: text(browser, "answer"))
            shot(browser, f"token-stream-{words}")
            browser.refresh()
        done = "return document.getElementById('answer').dataset.done"
        wait_until(lambda: browser.execute_script(done) == "true", lambda: text(browser, "answer"))
        first = text(browser, "answer")
        shot(browser, "token-stream-done")
        address = browser.current_url
        browser.get("about:blank")
        browser.get(address)
        wait_until(lambda: browser.execute_script(done) == "true", lambda: text(browser, "answer"))
        assert text(browser, "answer") == first
        assert first.startswith("You asked: “Why?” Here is what I can say") and first.endswith("That is all there is to it.")
        assert len(first.split()) == 87
        browser.get_log("browser")
        for question in ("And this?", "And that?"):   # the second one while the first is answered
            browser.find_element(By.ID, "question").clear()
            browser.find_element(By.ID, "question").send_keys(question)
            browser.find_element(By.ID, "send").click()
            wait_until(lambda: text(browser, "answer").startswith(f"You asked: “{question}” Here is"), lambda: text(browser, "answer"))
        wait_until(lambda: browser.execute_script(done) == "true", lambda: text(browser, "answer"))
        assert text(browser, "answer") == first.replace("Why?", "And that?")
        assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_ride_map(browser, tmp_path):
    """Cars move, an order goes to one of them and is carried out; a reload shows what the log says."""
    with Example("ride_map", tmp_path, TICK_MS="100") as example:
        browser.get(example.url)
        places = "return Object.fromEntries([...document.querySelectorAll('.car')].map(car => [car.dataset.driver, car.style.transform]))"
        wait_until(lambda: len(browser.execute_script(places)) == 8, lambda: browser.execute_script(places))
        before = browser.execute_script(places)
        wait_until(lambda: all(browser.execute_script(places)[name] != place for name, place in before.items()))
        browser.find_element(By.ID, "anywhere").click()
        wait_until(lambda: "on the way" in text(browser, "list"), lambda: text(browser, "list"))
        shot(browser, "ride-map")
        wait_until(lambda: ": there" in text(browser, "list"), lambda: text(browser, "list"))
        told = text(browser, "list")
        browser.refresh()
        wait_until(lambda: text(browser, "list") == told, lambda: text(browser, "list"))
        browser.find_element(By.ID, "map").click()
        wait_until(lambda: len(browser.find_elements(By.CSS_SELECTOR, "#list li")) == 2, lambda: text(browser, "list"))


# The link's token comes after the user has joined: the session begins behind the membership message.
LINK_BEHIND_JOIN = """
const real = window.fetch;
let tokens = 0, isJoined;
const join = new Promise(resolve => { isJoined = resolve; });
window.fetch = async (path, options) => {
    if (path === 'token' && ++tokens > 1) await join;
    const answer = await real(path, options);
    if (path === 'join') isJoined();
    return answer;
};"""


def come_in(browser, example, name, script=""):
    """A tab in which a user is in the chat."""
    browser.switch_to.new_window("tab")
    browser.get(example.url)
    browser.execute_script("sessionStorage.clear();" + script)
    browser.find_element(By.ID, "name").send_keys(name)
    browser.find_element(By.CSS_SELECTOR, "#login button").click()
    wait_until(lambda: text(browser, "room") == "lobby" and text(browser, "link") == "live",
               lambda: f"{text(browser, 'room')} {text(browser, 'link')} {text(browser, 'trouble')}")
    return browser.current_window_handle


def write(browser, words):
    browser.find_element(By.ID, "text").send_keys(words, Keys.ENTER)


def said(browser):
    return browser.execute_script("return [...document.querySelectorAll('#list li')].map(row => "
                                  "`${row.querySelector('b').textContent}: ${row.querySelector('.text').textContent}`)")


def until_said(browser, lines):
    wait_until(lambda: said(browser) == lines, lambda: f"{said(browser)} is not {lines} {text(browser, 'trouble')}")


def press_room(browser, room, label):
    """Once its button says what it would do. It is the same element from the first look on: a button that is replaced while
    somebody presses it loses the click."""
    button = browser.find_element(By.CSS_SELECTOR, f"[data-room={room}]")
    label_of = f"return document.querySelector('[data-room={room}]').textContent"
    wait_until(lambda: browser.execute_script(label_of) == label, lambda: browser.execute_script(label_of))
    button.click()


def online(browser):
    return browser.execute_script("return [...document.querySelectorAll('#members li')].filter(row => row.dataset.online === 'true')"
                                  ".map(row => row.textContent)")


def until_online(browser, names):
    wait_until(lambda: online(browser) == names, lambda: f"{online(browser)} is not {names} {text(browser, 'trouble')}")


def receipt(browser):
    """Of the newest message."""
    return browser.execute_script("return [...document.querySelectorAll('#list .seen')].at(-1)?.textContent")


def until_receipt(browser, words):
    wait_until(lambda: receipt(browser) == words, lambda: f"{receipt(browser)} is not {words} {text(browser, 'trouble')}")


def test_chat(browser, tmp_path):
    """Two users, a reload, a room that is joined and left: by tokens and membership messages. Who is there, where a message has
    arrived and who has read it; a tab that nobody sees has arrived there and not been read."""
    home = browser.current_window_handle
    with Example("chat", tmp_path) as example:
        ann = come_in(browser, example, "ann")
        bob = come_in(browser, example, "bob", LINK_BEHIND_JOIN)
        until_online(browser, ["ann", "bob"])
        write(browser, "hello from bob")
        until_receipt(browser, "arrived at ann")
        browser.switch_to.window(ann)
        until_said(browser, ["bob: hello from bob"])
        until_online(browser, ["ann", "bob"])
        write(browser, "hello from ann")
        browser.switch_to.window(bob)
        until_said(browser, ["bob: hello from bob", "ann: hello from ann"])
        wait_until(lambda: "read by ann" in text(browser, "list"), lambda: text(browser, "list"))
        shot(browser, "chat")
        browser.refresh()
        until_said(browser, ["bob: hello from bob", "ann: hello from ann"])
        wait_until(lambda: text(browser, "link") == "live", lambda: text(browser, "link"))
        until_online(browser, ["ann", "bob"])

        press_room(browser, "kitchen", "join kitchen")
        press_room(browser, "kitchen", "kitchen")
        wait_until(lambda: text(browser, "room") == "kitchen", lambda: text(browser, "room"))
        until_online(browser, ["bob"])
        write(browser, "who is here?")
        until_said(browser, ["bob: who is here?"])
        browser.switch_to.window(ann)
        until_receipt(browser, "read by bob")
        write(browser, "still here")
        until_receipt(browser, "arrived at bob")     # who looks at another room
        browser.switch_to.window(bob)
        press_room(browser, "lobby", "lobby (1)")
        until_said(browser, ["bob: hello from bob", "ann: hello from ann", "ann: still here"])
        press_room(browser, "kitchen", "kitchen")
        press_room(browser, "kitchen", "leave kitchen")
        wait_until(lambda: text(browser, "room") == "lobby", lambda: text(browser, "room"))
        press_room(browser, "kitchen", "join kitchen")     # and once more: what came meanwhile is another member's
        press_room(browser, "kitchen", "kitchen")
        write(browser, "back again")
        wait_until(lambda: said(browser)[-1:] == ["bob: back again"], lambda: f"{said(browser)} {text(browser, 'trouble')}")
        shot(browser, "chat-kitchen")
        press_room(browser, "lobby", "lobby")
        until_online(browser, ["ann", "bob"])
        browser.switch_to.window(ann)
        until_receipt(browser, "read by bob")
        shot(browser, "chat-read")
        browser.close()
        browser.switch_to.window(bob)
        until_online(browser, ["bob"])
        assert text(browser, "trouble") == ""
        browser.close()
        browser.switch_to.window(home)


def is_shown(browser, name):
    return browser.find_element(By.ID, name).is_displayed()


def test_the_chat_shows_what_can_be_done(browser, tmp_path):
    """Who is in is not asked for a name again, and who is in no room can write nothing. What fails is said."""
    home = browser.current_window_handle
    with Example("chat", tmp_path) as example:
        browser.get(example.url)
        assert is_shown(browser, "login") and not is_shown(browser, "chat")
        come_in(browser, example, "ann")
        assert not is_shown(browser, "login") and is_shown(browser, "write")
        press_room(browser, "lobby", "leave lobby")
        wait_until(lambda: text(browser, "room") == "You are in no room", lambda: text(browser, "room"))
        assert not is_shown(browser, "write")
        press_room(browser, "garden", "join garden")
        wait_until(lambda: text(browser, "room") == "garden" and is_shown(browser, "write"), lambda: text(browser, "room"))
        browser.execute_script("window.fetch = () => Promise.reject(new Error('it is away'))")
        press_room(browser, "kitchen", "join kitchen")
        wait_until(lambda: text(browser, "trouble") == "not done: it is away", lambda: text(browser, "trouble"))
    browser.close()
    browser.switch_to.window(home)


def test_one_ctrl_c_ends_an_example_as_it_should(tmp_path):
    """A terminal gives it to all processes of the group. The server is told once, and stops without haste."""
    with subprocess.Popen([ROOT / "examples" / "start", "token_stream"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          start_new_session=True, env=environment(tmp_path, free_ports_in_a_row(3))) as process:
        assert process.stdout.readline().startswith("open http")
        os.killpg(process.pid, signal.SIGINT)
        log = process.communicate(timeout=SECONDS)[1]
    assert process.returncode == 0 and "event=stopped" in log and "second signal" not in log, log


def test_a_port_in_use_is_said_and_nothing_is_left(tmp_path):
    port = free_ports_in_a_row(3)
    with socket.create_server(("127.0.0.1", port)):
        done = subprocess.run([ROOT / "examples" / "start", "token_stream"], capture_output=True, text=True, timeout=SECONDS, check=False,
                              env=environment(tmp_path, port))
    assert done.returncode == 1 and f"port {port} is in use" in done.stderr, done.stderr
    assert "event=stopped" in done.stderr   # its end of the pipe is closed, so the server has gone
