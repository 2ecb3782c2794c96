"""The page in a real browser: at three widths, light and dark; the viewer draws, and nothing is cut or complains."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

WIDTHS = (360, 768, 1280)  # px: a phone, a tablet, a laptop
NAMES = ("chromium", "chromium-browser", "google-chrome")
SOFTWARE_GL = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
DRAWN = "document.querySelector('canvas').dataset.drawn > 0"


@pytest.fixture(scope="module")
def browser() -> Iterator:
    library = pytest.importorskip("playwright.sync_api", reason="the browser's driver: pip install playwright")
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"none of {', '.join(NAMES)} is installed: apt-get install chromium")
    with library.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=found, args=SOFTWARE_GL)
        yield started
        started.close()


@pytest.fixture
def opened(browser, report_path: Path):
    """A function that opens the page and gives it, with the list of what it complains of."""
    contexts = []

    def open_page(width: int, scheme: str = "light", **more):
        contexts.append(
            browser.new_context(
                viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce", **more
            )
        )
        page, complaints = contexts[-1].new_page(), []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda problem: complaints.append(str(problem)))
        page.on("request", lambda one: complaints.append(one.url) if one.url.startswith("http") else None)
        page.goto(report_path.as_uri())
        page.wait_for_function(DRAWN)
        return page, complaints

    yield open_page
    for context in contexts:
        context.close()


def pixels(page, selector: str) -> np.ndarray:
    """What an element shows, [H, W, 3]."""
    page.wait_for_timeout(100)  # ms: until what was asked for is drawn
    return np.asarray(Image.open(io.BytesIO(page.locator(selector).first.screenshot())).convert("RGB")).astype(int)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_cut_and_nothing_complains(opened, width: int):
    page, complaints = opened(width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.evaluate(
        "[...document.querySelectorAll('main *')].filter(one => !one.closest('.scroll, pre, script, details') && "
        f"one.getBoundingClientRect().right > {width} + 1).map(one => one.outerHTML.slice(0, 80))"
    )
    assert wide == []
    assert complaints == []


def test_what_is_wider_than_a_phone_says_so(opened):
    page, _ = opened(360)
    table = page.locator("section#paper .scroll").first
    assert "more-right" in table.get_attribute("class")
    table.evaluate("one => one.scrollLeft = one.scrollWidth")
    page.wait_for_timeout(200)  # ms: until it has scrolled
    assert table.get_attribute("class") == "scroll more-left"
    page, _ = opened(1280)
    assert page.locator("section#losses .scroll").first.get_attribute("class") == "scroll"


def test_dark_is_dark_and_light_is_light(opened):
    light, dark = (pixels(opened(768, scheme)[0], "header").mean() for scheme in ("light", "dark"))
    assert light > 200
    assert dark < 60


def test_the_viewer_shows_another_mesh_and_turns_it(opened):
    page, complaints = opened(768)
    first = pixels(page, "canvas")
    background = first[0, 0]
    inked = (np.abs(first - background).sum(axis=-1) > 30).mean()
    assert 0.02 < inked < 0.9  # the ball, neither nothing nor everything
    page.locator("[data-mesh]").nth(2).click()
    larger = pixels(page, "canvas")
    assert (np.abs(larger - background).sum(axis=-1) > 30).mean() > 1.3 * inked
    assert page.locator("[role=status]").inner_text() == "unconditional-00002"
    page.locator("[data-clay]").click()
    clay = pixels(page, "canvas")
    assert np.abs(clay - larger).max() > 30
    page.locator("canvas").press("ArrowDown")
    assert np.abs(pixels(page, "canvas") - clay).max() > 5
    page.locator("canvas").press("+")
    nearer = pixels(page, "canvas")
    assert (np.abs(nearer - background).sum(axis=-1) > 30).mean() > 1.1 * inked
    assert complaints == []


def test_the_colours_of_a_mesh_are_those_of_its_vertices(opened):
    page, _ = opened(768)
    ball = pixels(page, "canvas")
    middle, column = (side // 2 for side in ball.shape[:2])
    above, below = (ball[middle + step, column].mean() for step in (-50, 50))  # px, both on the ball
    assert above > 1.15 * below  # they are brighter above


def test_a_finger_turns_a_mesh_and_still_scrolls_the_page(opened):
    page, _ = opened(360, has_touch=True)
    assert page.evaluate("getComputedStyle(document.querySelector('canvas')).touchAction") == "pan-y"
    before = pixels(page, "canvas")
    page.locator("canvas").evaluate(
        "one => { const at = (kind, x, y) => one.dispatchEvent(new PointerEvent(kind, {pointerId: 1, clientX: x, "
        "clientY: y, bubbles: true})); one.setPointerCapture = () => {}; at('pointerdown', 100, 100); "
        "at('pointermove', 160, 160); at('pointerup', 160, 160); at('pointermove', 0, 0); }"
    )
    turned = pixels(page, "canvas")
    assert np.abs(turned - before).max() > 5
    np.testing.assert_array_equal(pixels(page, "canvas"), turned)
