"""The chat page in a real browser: streaming, citations, escaping, keyboard, stop, phone width, no request to outside.

python -m pytest tests/ui
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from toys.browser import Page, browsing, chromium

TOYS = Path(__file__).parents[1] / "toys_pkg"

needs_browser = pytest.mark.skipif(chromium() is None, reason="there is no Chromium here")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    """The page's server in a process of its own (nicegui holds one application a process); yields its address and folder."""
    folder = tmp_path_factory.mktemp("served")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TOYS), *sys.path])}
    process = subprocess.Popen(
        [sys.executable, "-m", "toys.serve_page"],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        env=env,
    )
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        yield address, folder
    finally:
        process.terminate()
        assert process.wait(20) == 0  # SIGTERM drains and leaves cleanly
        process.stdout.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory):
    with browsing(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture
def page(server, browser: Page) -> Page:
    browser.size(1000, 800)
    browser.open("about:blank")
    browser.requests.clear()
    browser.errors.clear()
    browser.open(server[0])
    browser.until("document.activeElement && document.activeElement.tagName === 'TEXTAREA'")
    return browser


def ask(page: Page, question: str) -> None:
    page.type(question)
    page.press("Enter")


def text(page: Page, selector: str) -> str:
    return page.js(f"[...document.querySelectorAll({selector!r})].at(-1).innerText")


def test_the_page_and_the_errors_share_a_server(server) -> None:
    address, folder = server
    with httpx.Client(base_url=address) as client:
        front = client.get("/")
        assert front.headers["content-type"].startswith("text/html")
        assert "default-src 'self'" in front.headers["content-security-policy"]
        assert not front.cookies
        assert client.get("/healthz").json() == {"status": "alive"}
        for path, status in (("/nope", 404), ("/v1/nope", 404), ("/docs", 404), ("/redoc", 404)):
            answer = client.get(path)
            assert (answer.status_code, set(answer.json()["error"])) == (status, {"message", "type", "param", "code"})
        assert client.post("/healthz").json()["error"]["code"] == "method_not_allowed"
        assert client.get("/", headers={"Host": "evil.example"}).status_code == 421
    assert list(folder.iterdir()) == []  # nothing is written where the user works


@needs_browser
def test_an_answer_streams_and_shows_its_sources(page: Page) -> None:
    ask(page, "How do I join two paths?")
    page.until("document.querySelector('.answer[aria-busy=true] .part.model')")
    first = text(page, ".part.model .text")
    page.until("document.querySelector('.sources')")
    assert first == text(page, ".part.model .text")[: len(first)]
    assert text(page, ".part.model .label") == "The model's own words · rests on [1]"
    assert text(page, ".part.quote .label") == "Quoted from the documents · [1] os.path.join, posixpath.py:71"
    assert text(page, ".source .entry") == "os.path.join"
    assert text(page, ".source .place") == "posixpath.py:71"
    assert page.js("document.querySelector('.answer').getAttribute('aria-busy')") == "false"


@needs_browser
def test_what_is_shown_is_never_html(page: Page) -> None:
    attack = "<img src=x onerror=alert(1)> **bold** <script>alert(2)</script> {{7*7}}"
    ask(page, attack)
    page.until("document.querySelector('.sources')")
    assert text(page, ".question .text") == attack
    assert attack in text(page, ".part.model .text")
    assert "<img src=x onerror=alert(3)>" in text(page, ".part.quote .text")
    assert "<img src=x onerror=alert(4)>" in text(page, ".source .entry")
    assert page.js("document.querySelectorAll('.log img, .log script, .log b, .log strong, .welcome img').length") == 0
    assert page.dialogs == []


@needs_browser
def test_nothing_comes_from_outside(page: Page, server) -> None:
    ask(page, "How do I join two paths?")
    page.until("document.querySelector('.sources')")
    host = server[0].removeprefix("http://")
    ours = (f"http://{host}/", f"ws://{host}/", "data:", "about:blank")
    assert [url for url in page.requests if not url.startswith(ours)] == []
    assert any(url.startswith("ws://") for url in page.requests)
    assert page.errors == []  # nothing was asked for and refused by the policy either


@needs_browser
def test_the_keyboard_is_enough(page: Page) -> None:
    page.type("first line")
    page.press("Enter", shift=True)
    page.type("second line")
    assert page.js("document.querySelectorAll('.question').length") == 0
    page.press("Enter")
    page.until("document.querySelector('.sources')")
    assert text(page, ".question .text") == "first line\nsecond line"
    assert page.js("document.activeElement.tagName") == "TEXTAREA"
    assert page.js("document.activeElement.value") == ""
    page.press("Enter")  # an empty question is not one
    assert page.js("document.querySelectorAll('.question').length") == 1


@needs_browser
def test_what_the_documents_do_not_cover(page: Page) -> None:
    ask(page, "weather tomorrow?")
    page.until("document.querySelector('.part.notice')")
    assert text(page, ".part.notice .label") == "Not in the documents"
    assert page.js("document.querySelectorAll('.source, .part.model').length") == 0


@needs_browser
def test_stop_ends_an_answer_and_the_next_one_works(page: Page) -> None:
    ask(page, "endless")
    page.until("document.querySelector('.part.model')")
    assert page.js("getComputedStyle(document.querySelector('.send')).display") == "none"
    page.js("document.querySelector('.halt').click()")
    page.until("document.querySelector('.ended')")
    assert text(page, ".ended") == "Stopped."
    ask(page, "weather again?")
    page.until("document.querySelector('.part.notice')")
    page.js("[...document.querySelectorAll('.quiet')].at(-1).click()")
    page.until("document.querySelector('.welcome')")


@needs_browser
def test_a_new_chat_in_the_middle_of_an_answer(page: Page, server) -> None:
    ask(page, "endless")
    page.until("document.querySelector('.part.model')")
    page.js("[...document.querySelectorAll('.quiet')].at(-1).click()")
    page.until("document.querySelector('.welcome')")
    page.until("getComputedStyle(document.querySelector('.send')).display !== 'none'")
    ask(page, "weather?")
    page.until("document.querySelector('.part.notice')")
    assert page.js("document.querySelectorAll('.question').length") == 1


@needs_browser
def test_a_failure_is_said_in_its_place(page: Page) -> None:
    ask(page, "fail")
    page.until("document.querySelector('[role=alert]')")
    assert "The server failed" in text(page, "[role=alert]")
    assert "secret" not in page.js("document.body.innerText")


@needs_browser
def test_examples_themes_and_a_phone(page: Page, tmp_path: Path) -> None:
    page.size(360, 740, mobile=True)
    page.js("document.querySelector('.example').click()")
    page.until("document.querySelector('.sources')")
    assert page.js("document.documentElement.scrollWidth") <= 360
    ground = "getComputedStyle(document.body).backgroundColor"
    page.dark(True)
    page.until("document.body.classList.contains('body--dark')")
    dark = page.js(ground)
    page.js("document.querySelectorAll('.quiet')[1].click()")
    page.until("document.querySelectorAll('.quiet')[1].innerText === 'Theme: Light'")
    page.until(f"{ground} !== {dark!r}")
    page.dark(False)
    unnamed = "[...document.querySelectorAll('button, textarea')].filter(e => !(e.innerText || e.ariaLabel)).length"
    assert page.js(unnamed) == 0
    page.shot(tmp_path / "phone.png")
    assert (tmp_path / "phone.png").stat().st_size > 5000


@needs_browser
def test_a_closed_tab_ends_its_answer(page: Page, server) -> None:
    ask(page, "endless")
    page.until("document.querySelector('.part.model')")
    page.open("about:blank")
    for _ in range(150):
        if httpx.get(f"{server[0]}/in-flight").json() == 0:
            return
        page.js("new Promise(done => setTimeout(done, 100))")
    raise AssertionError("the answer still goes on")


@needs_browser
def test_a_button_changes_the_model(page: Page) -> None:
    assert text(page, ".quiet").startswith("New chat")
    name = "document.querySelectorAll('.quiet')[0].innerText"
    assert page.js(name) == "Model: assistant"
    ask(page, "who")
    page.until("document.querySelector('.sources')")
    assert text(page, ".part.model .text") == "I am assistant."
    page.js("document.querySelectorAll('.quiet')[0].click()")
    page.until(f"{name} === 'Model: eager'")
    ask(page, "who")
    page.until("document.querySelectorAll('.sources').length === 2")
    assert text(page, ".part.model .text") == "I am eager."
    page.js("document.querySelectorAll('.quiet')[0].click()")
    page.until(f"{name} === 'Model: assistant'")
