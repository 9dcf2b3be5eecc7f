"""A server of the chat-completions protocol around a transformers folder: greedy, one answer at a time, tokens counted.

In float32 on a processor, most of which only emulate bfloat16 (four times slower on the one that this was tried on), and in bfloat16 on a
GPU.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


class Server(ThreadingHTTPServer):
    model: Any
    tokenizer: Any
    name: str
    key: str
    longest: int
    lock: threading.Lock
    answered: int

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """The reply to a request: the text, and the tokens of prompt and completion."""
        text = self.tokenizer.apply_chat_template(body["messages"], add_generation_prompt=True, tokenize=False)
        ids = self.tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"].to(self.model.device)
        with self.lock, torch.no_grad():
            out = self.model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=min(body["max_tokens"], self.longest)
            )[0, ids.shape[1] :]
            self.answered += 1
        said = self.tokenizer.decode(out, skip_special_tokens=True)
        usage = {"prompt_tokens": ids.shape[1], "completion_tokens": len(out), "total_tokens": ids.shape[1] + len(out)}
        return {
            "object": "chat.completion",
            "model": self.name,
            "choices": [{"message": {"role": "assistant", "content": said}}],
            "usage": usage,
        }


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.allowed():
            self.reply(200, {"object": "list", "data": [{"id": self.server.name, "object": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.allowed():
            return
        if body["model"] != self.server.name:
            self.reply(404, {"error": {"message": f"the model {body['model']} does not exist"}})
        else:
            self.reply(200, self.server.complete(body))

    def allowed(self) -> bool:
        """Whether the request brings the key, where one is wanted; it is answered where it does not."""
        given = self.headers.get("Authorization", "")
        if self.server.key and given != f"Bearer {self.server.key}":
            self.reply(401, {"error": {"message": f"Incorrect API key provided: {given.removeprefix('Bearer ')}"}})
            return False
        return True

    def reply(self, status: int, value: Any) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(folder: Path, *, key: str = "", longest: int = 64) -> Iterator[tuple[str, Server]]:
    """The address of a server of the model in a folder, and the server; ``longest`` caps an answer's tokens."""
    server = Server(("127.0.0.1", 0), Handler)
    device, dtype = ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=dtype)
    server.model = model.to(device).eval()
    server.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    server.name, server.key, server.longest, server.lock, server.answered = folder.resolve().name, key, longest, threading.Lock(), 0
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
