"""The raters' page in a real browser: taps and keys, resuming, refusals, and three browsers through kill -9."""

import os
import shutil
import threading
import time

import pytest
from fixtures.small_study import FolderSource, Server, make_study, write_pictures

from analysis.study.build import Settings, build_study, plan_study
from analysis.study.votes import Votes

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next((found for name in BROWSERS if (found := shutil.which(name))), None)
playwright_api = pytest.importorskip(
    "playwright.sync_api", reason="needs playwright: pip install -c constraints.txt -e '.[test]'"
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs a browser: apt-get install chromium")
LONG = 60_000  # milliseconds, on a busy machine


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make_study(tmp_path_factory.mktemp("study"), 4, trials=4, catch=1, repeats=1)


@pytest.fixture(scope="module")
def server(study):
    server = Server(study)
    yield server
    server.kill()


@pytest.fixture(scope="module")
def browser():
    with playwright_api.sync_playwright() as playwright:
        opened = launch(playwright)
        yield opened
        opened.close()


def launch(playwright):
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses its sandbox to root
    return playwright.chromium.launch(executable_path=BROWSER, args=arguments)


def invited(study):
    votes = Votes(study.votes)
    (token,) = votes.invite(study, 1)
    rater = votes.rater_of(token)
    votes.close()
    return token, rater


def answers_of(study, rater):
    votes = Votes(study.votes)
    try:
        return [one for one in votes.answers() if one.rater == rater]
    finally:
        votes.close()


def open_page(browser, server, token, **context):
    page = browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | context)).new_page()
    page.set_default_timeout(LONG)
    page.faults = []
    page.on("console", lambda message: page.faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.goto(f"{server.address}/#{token}")
    return page


def agree(page):
    page.get_by_role("button", name="I agree, start").click()
    wait_for(page, 1)


def wait_for(page, number):
    """Wait until a pair is shown and choices are taken."""
    page.wait_for_function(
        "number => document.getElementById('count').textContent.startsWith(number + ' of') "
        "&& !document.getElementById('trial').classList.contains('busy')",
        arg=number,
    )
    page.wait_for_timeout(400)  # longer than what the page takes for a double click


def test_keys_clicks_and_taps_answer_and_the_page_says_when_all_is_done(study, server, browser):
    token, rater = invited(study)
    page = open_page(browser, server, token)
    agree(page)
    first, second = (page.get_by_role("button", name=name) for name in ("First picture", "Second picture"))
    actions = [
        lambda: page.keyboard.press("ArrowRight"),
        lambda: page.keyboard.press("1"),
        lambda: second.click(),
        lambda: page.keyboard.press("2"),
        lambda: page.keyboard.press("ArrowLeft"),
        lambda: (first.focus(), page.keyboard.press("Enter")),
    ]
    assert len(actions) == study.design.asked
    for number, act in enumerate(actions, start=1):
        wait_for(page, number)
        act()
    page.get_by_role("heading", name="All done. Thank you!").wait_for()
    answers = answers_of(study, rater)
    assert [one.side for one in answers] == ["right", "left", "right", "right", "left", "left"]
    assert all(250 <= one.milliseconds < LONG for one in answers)
    assert page.faults == []
    page.reload()
    page.get_by_role("heading", name="All done. Thank you!").wait_for()


def test_a_double_click_and_a_held_key_count_once(study, server, browser):
    token, rater = invited(study)
    page = open_page(browser, server, token)
    agree(page)
    page.get_by_role("button", name="First picture").dblclick()
    wait_for(page, 2)
    page.keyboard.down("2")
    for _ in range(5):
        page.keyboard.down("2")  # without a key up between: the browser marks them as repeats
    wait_for(page, 3)
    page.keyboard.up("2")
    page.wait_for_timeout(500)
    assert [one.side for one in answers_of(study, rater)] == ["left", "right"]


def test_the_same_link_goes_on_where_the_rater_was_in_another_browser_too(study, server, browser):
    token, rater = invited(study)
    page = open_page(browser, server, token)
    agree(page)
    page.keyboard.press("1")
    wait_for(page, 2)
    elsewhere = open_page(browser, server, token)
    wait_for(elsewhere, 2)
    elsewhere.keyboard.press("2")
    wait_for(elsewhere, 3)
    page.keyboard.press("1")  # of the pair that was answered elsewhere
    wait_for(page, 3)
    assert [one.side for one in answers_of(study, rater)] == ["left", "right"]


def test_who_does_not_agree_leaves_nothing_and_a_wrong_link_says_so(study, server, browser):
    token, rater = invited(study)
    page = open_page(browser, server, token)
    page.locator("#consent-text").filter(has_text=study.record["consent"][:40]).wait_for()
    page.get_by_role("button", name="I do not agree").click()
    page.get_by_role("heading", name="You do not take part").wait_for()
    votes = Votes(study.votes)
    assert not votes.place(rater).consented
    votes.close()
    for wrong in ("", "guess"):
        page = open_page(browser, server, wrong)
        page.get_by_role("heading", name="This link is not valid").wait_for()


@pytest.fixture(scope="module", params=[False, True], ids=["pair", "pair and reference"])
def compared(request, tmp_path_factory):
    """A server of a study without and with a third picture."""
    folder = tmp_path_factory.mktemp("sized")
    sources = {name: FolderSource(path) for name, path in write_pictures(folder, 1).items()}
    above = sources.pop("EG3D") if request.param else None
    settings = Settings("Which of the two pictures shows the sharper head?", trials=1, catch=0, repeats=0)
    server = Server(build_study(plan_study(folder / "study", settings, sources, above), lambda *_: None))
    yield server
    server.kill()


def test_both_pictures_are_in_sight_at_every_size(compared, browser):
    page = open_page(browser, compared, invited(compared.study)[0])
    agree(page)
    for width, height in ((390, 844), (320, 568), (844, 390), (820, 1180), (1440, 900)):
        page.set_viewport_size({"width": width, "height": height})
        boxes = [page.locator(f"#{name}").bounding_box() for name in ("left", "right")]
        boxes += [page.locator("#reference-picture").bounding_box()] * compared.study.has_reference
        for box in boxes:
            assert min(box["x"], box["y"]) >= 0
            assert box["x"] + box["width"] <= width
            assert box["y"] + box["height"] <= height
            assert min(box["width"], box["height"]) >= 44  # pixels: the least target that a thumb meets
        assert (boxes[0]["y"] == boxes[1]["y"]) == (width > 0.8 * height)
        assert boxes[0]["width"] == boxes[1]["width"] >= 0.3 * min(width, height)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width


class Rater(threading.Thread):
    """A browser of its own that answers every pair by keys, and notes what its server acknowledged."""

    def __init__(self, server, token, total, keys):
        super().__init__(daemon=True)
        self.server, self.token, self.total, self.keys = server, token, total, keys
        self.acknowledged, self.problem = [], None

    def run(self):
        try:
            with playwright_api.sync_playwright() as playwright:
                self.answer(launch(playwright))
        except Exception as problem:
            self.problem = problem

    def answer(self, browser):
        page = open_page(browser, self.server, self.token)
        page.on("response", self.note)
        agree(page)
        for number in range(1, self.total + 1):
            wait_for(page, number)
            page.keyboard.press(self.keys[number % len(self.keys)])
        page.get_by_role("heading", name="All done. Thank you!").wait_for()
        browser.close()

    def note(self, response):
        if response.url.endswith("/api/vote") and response.status == 200:
            sent = response.request.post_data_json
            self.acknowledged.append((sent["trial"], sent["side"]))


def test_the_page_tries_again_until_a_killed_server_is_back(tmp_path, browser):
    study = make_study(tmp_path, 2, trials=2, catch=0, repeats=0)
    (token, rater), server = invited(study), Server(study)
    try:
        page = open_page(browser, server, token)
        agree(page)
        server.kill()
        page.keyboard.press("2")
        page.locator("#trial.busy").wait_for()
        page.wait_for_timeout(1500)  # the first of its tries have failed
        assert answers_of(study, rater) == []
        server.start()
        wait_for(page, 2)
        assert [one.side for one in answers_of(study, rater)] == ["right"]
    finally:
        server.kill()


@pytest.mark.slow
def test_three_browsers_at_once_lose_no_acknowledged_vote_when_the_server_is_killed_twice(tmp_path):
    """tests/analysis/study/test_killed_server.py does it without browsers, the test above with one page."""
    study = make_study(tmp_path, 6, trials=10, catch=1, repeats=1)
    total, people = study.design.asked, [invited(study) for _ in range(3)]
    server = Server(study)
    keys = (["1"], ["2", "ArrowLeft"], ["ArrowRight", "1", "2"])
    raters = [Rater(server, token, total, own) for (token, _), own in zip(people, keys, strict=True)]
    for rater in raters:
        rater.start()
    try:
        for part in (2, total // 2):
            until = time.monotonic() + 120
            while min(len(rater.acknowledged) for rater in raters) < part:
                assert [rater.problem for rater in raters] == [None] * 3
                assert time.monotonic() < until
                time.sleep(0.05)
            server.kill()
            for rater, (_, number) in zip(raters, people, strict=True):
                kept = [(one.number, one.side) for one in answers_of(study, number)]
                assert rater.acknowledged == kept[: len(rater.acknowledged)]
            time.sleep(1)  # raters press keys meanwhile, and their pages try again
            server.start()
        for rater in raters:
            rater.join(150)
            assert rater.problem is None
            assert not rater.is_alive()
    finally:
        server.kill()
    for rater, (_, number) in zip(raters, people, strict=True):
        kept = [(one.number, one.side) for one in answers_of(study, number)]
        assert [trial for trial, _ in kept] == list(range(total))
        assert kept == rater.acknowledged
