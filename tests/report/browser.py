"""Chromium over its debugging pipe: a page opened at a width, with its keys and its mouse, its pictures, and what it asked the network for.

The pipe (``--remote-debugging-pipe``: file descriptors 3 and 4, messages ended by a zero byte) needs no port and no library; bash puts
it there, for dash knows no descriptor of two digits.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
PATIENCE = 120.0  # seconds for one answer


class Browser:
    """One headless chromium with one page in it; a context that ends the process."""

    def __init__(self, program: str, profile: Path) -> None:
        """Start the program with a profile of its own and open an empty page."""
        down, up = os.pipe(), os.pipe()
        bridge = f"exec {program} {' '.join(FLAGS)} --user-data-dir={profile} about:blank 3<&{down[0]} 4>&{up[1]}"
        silent: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(["bash", "-c", bridge], pass_fds=(down[0], up[1]), start_new_session=True, **silent)
        os.close(down[0])
        os.close(up[1])
        self._write, self._read = down[1], up[0]
        self._buffer, self._number, self._session = b"", 0, ""
        self.events: list[dict[str, Any]] = []
        targets = self.send("Target.getTargets")["targetInfos"]
        page = next(each["targetId"] for each in targets if each["type"] == "page")
        self._session = self.send("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._write)
        os.close(self._read)
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=30)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of one command; events that came meanwhile are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, (method, answer["error"])
        return dict(answer["result"])

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            chunk = os.read(self._read, 1 << 20)
            assert chunk and time.monotonic() < end, "chromium does not answer"
            self._buffer += chunk
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))

    def open(self, address: str, width: int, height: int = 900, *, scripts: bool = True, scheme: str = "light") -> None:
        """Load a page in a window of this size and wait until it has loaded; earlier events are forgotten."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.send("Emulation.setScriptExecutionDisabled", value=not scripts)
        self.events.clear()
        self.send("Page.navigate", url=address)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression, promises awaited."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def key(self, name: str, code: int, *, shift: bool = False) -> None:
        """Press and release a key by its name and code, such as ``Tab``, 9."""
        about = {"key": name, "windowsVirtualKeyCode": code, "modifiers": 8 * shift}
        self.send("Input.dispatchKeyEvent", type="keyDown", **about, **({"text": " "} if name == " " else {}))
        self.send("Input.dispatchKeyEvent", type="keyUp", **about)

    def point(self, selector: str, *, click: bool = False) -> None:
        """Move the mouse to the middle of the first element that a selector finds, scrolled into view; click there if asked."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.ask(f"{found}.scrollIntoView({{block: 'center', inline: 'center'}})")
        x, y = self.ask(f"(b => [b.x + b.width / 2, b.y + b.height / 2])({found}.getBoundingClientRect())")
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased") if click else ():
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def picture(self, file: Path) -> Path:
        """A PNG of what the window shows."""
        file.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))
        return file

    def asked(self) -> list[str]:
        """The addresses that the page asked for since it was opened."""
        return [event["params"]["request"]["url"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]
