"""A headless Chromium that a test drives over its own pipe: every console line, error and request is seen.

The DevTools protocol over --remote-debugging-pipe: JSON messages ended by a zero byte, commands on the child's
descriptor 3, answers and events on 4. Nothing is polled: each call reads until its answer is there.
"""

import base64
import contextlib
import fcntl
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
    "--disable-sync", "--disable-component-update", "--disable-default-apps", "--disable-extensions", "--mute-audio",
    "--hide-scrollbars", "--disable-dev-shm-usage", "--remote-debugging-pipe",
]  # fmt: skip


class Page:
    """One open page.

    Attributes:
        events: every event since it was opened, in order.
    """

    def __init__(self, to_browser: Any, from_browser: Any) -> None:
        self._to, self._from = to_browser, from_browser
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        answer = self._until(lambda found: found.get("id") == self._number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while True:
            raw = bytearray()
            while (byte := self._from.read(1)) != b"\0":
                assert byte, "Chromium ended"
                raw += byte
            found = json.loads(raw)
            if "method" in found:
                self.events.append(found)
            if wanted(found):
                return found

    def open(self, path: Path, width: int, height: int, scheme: str = "light") -> None:
        """Open a file in place of the one before and wait until it has loaded.

        Args:
            path: of the file.
            width: of the window, CSS pixels.
            height: of the window.
            scheme: "light" or "dark".
        """
        self.leave()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Audits", "DOM"):
            self.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        self._until(lambda found: found.get("method") == "Page.loadEventFired")

    def leave(self) -> None:
        """Close the page."""
        if self._session:
            self.call("Page.close")
            self._session = None

    def evaluate(self, expression: str) -> Any:
        """Return an expression's value."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def move(self, x: float, y: float) -> None:
        """Move the mouse."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def press(self, key: str) -> None:
        """Press and release a key."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key)

    def screenshot(self, path: Path) -> bytes:
        """Save the whole page as PNG and return its bytes."""
        box = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": box["width"], "height": box["height"], "scale": 1}
        data = base64.b64decode(self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)["data"])
        path.write_bytes(data)
        return data

    def seen(self, method: str) -> list[dict[str, Any]]:
        """Return the parameters of the events of one kind."""
        return [event["params"] for event in self.events if event["method"] == method]


def _high(descriptor: int) -> int:
    """Move a descriptor away from 3 and 4."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return moved


@contextlib.contextmanager
def browser(program: Path, profile: Path) -> Iterator[Page]:
    """Start Chromium and end it on the way out.

    Args:
        program: Chromium.
        profile: an empty folder for its profile.
    """
    child_reads, we_write = os.pipe()
    we_read, child_writes = os.pipe()
    child_reads, child_writes = _high(child_reads), _high(child_writes)
    process = subprocess.Popen(
        # The shell puts the pipes where Chromium looks for them: 3 and 4.
        [
            "bash",
            "-c",
            f'exec "$@" 3<&{child_reads} 4>&{child_writes}',
            "bash",
            program,
            *FLAGS,
            f"--user-data-dir={profile}",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(child_reads, child_writes),
    )
    os.close(child_reads)
    os.close(child_writes)
    try:
        with os.fdopen(we_write, "wb") as to_browser, os.fdopen(we_read, "rb") as from_browser:
            page = Page(to_browser, from_browser)
            yield page
            page.leave()
            page.call("Browser.close")
    finally:
        process.kill()
        process.wait()
