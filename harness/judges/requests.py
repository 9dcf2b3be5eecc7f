"""Requests to a judge behind a URL: what is sent, what is tried again, and how a failure is said without the key or a password."""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from harness.errors import HarnessError

KEY = "HARNESS_JUDGE_KEY"  # environment variable of a bearer token; never recorded, never printed
TRIES, PAUSE, PATIENCE = 4, 0.5, 120.0  # requests for one answer; seconds before the second, doubled each time; seconds for one
LONGEST_PAUSE = 60.0  # seconds, whatever a server asks for
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
REASON = 200  # characters of what a server says of its refusal
Found = TypeVar("Found")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Leaves a redirect an error: to follow one would carry the key to wherever it points."""

    def redirect_request(self, *arguments: Any, **named: Any) -> None:
        """None, which makes the redirect the HTTPError that it is."""


def ask_again(fetch: Callable[[], Found], url: str) -> Found:
    """What ``fetch`` gives, tried again after a growing pause where the fault may pass; HarnessError in one line where it stays.

    A pause is the longer of our own and what the server's Retry-After asks for.
    """
    said, asked = "", 0.0
    for number in range(TRIES):
        if number:
            time.sleep(max(PAUSE * 2 ** (number - 1), asked))
        try:
            return fetch()
        except urllib.error.HTTPError as error:
            said, asked = _refusal(error), _asked_pause(error)
            if error.code not in TRANSIENT:
                raise HarnessError(f"judge {public(url)}: {said}") from None
        except (OSError, http.client.HTTPException) as error:  # of which URLError and TimeoutError are
            said = f"{getattr(error, 'reason', None) or error or type(error).__name__}."
        except (ValueError, LookupError, TypeError, AttributeError):
            raise HarnessError(f"judge {public(url)}: what came back is not an answer of the chat-completions protocol.") from None
    raise HarnessError(f"judge {public(url)}: no answer in {TRIES} tries: {said}")


def fetched(url: str, body: dict[str, Any] | None) -> Any:
    """The JSON that a GET, or a POST of ``body``, brings."""
    headers = {"Content-Type": "application/json"}
    if token := os.environ.get(KEY):
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    opener = urllib.request.build_opener(_NoRedirect)
    with opener.open(urllib.request.Request(url, data, headers), timeout=PATIENCE) as stream:
        return json.loads(stream.read())


def base(url: str) -> str:
    """The address below which ``chat/completions`` and ``models`` are."""
    return url.rstrip("/").removesuffix("/chat/completions")


def public(url: str) -> str:
    """The address as it may be printed: without a name and a password in it."""
    try:
        place = urlsplit(url)
    except ValueError:  # no address at all, such as one with half of a bracket
        return url.rpartition("@")[2]
    return urlunsplit(place._replace(netloc=place.netloc.rpartition("@")[2]))


def _refusal(error: urllib.error.HTTPError) -> str:
    """What the server said, without the key should it repeat it, and what to do about it where that is known."""
    said = f"HTTP {error.code} {error.reason}"
    if reason := _reason(error):
        said += f": {reason}"
    if error.code in (401, 403):
        said += f". The key in {KEY} was not accepted" if os.environ.get(KEY) else f". It wants a key: set the environment variable {KEY}"
    if 300 <= error.code < 400:
        said += ". Redirects are not followed, for they would carry the key along; give the address that it points to"
    return f"{said}."


def _reason(error: urllib.error.HTTPError) -> str:
    """The message in the body of an error, in the protocol's form; empty where there is none."""
    try:
        found = json.loads(error.read())["error"]
        text = str(found["message"] if isinstance(found, dict) else found)
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        return ""
    finally:
        error.close()
    token = os.environ.get(KEY)
    return " ".join((text.replace(token, "***") if token else text).split())[:REASON].rstrip(".: ")


def _asked_pause(error: urllib.error.HTTPError) -> float:
    """Seconds that the server asks to be left alone; 0 where it asks in no number of seconds."""
    asked = error.headers.get("Retry-After", "") if error.headers else ""
    return min(float(asked), LONGEST_PAUSE) if asked.isdecimal() else 0.0
