"""A bot in Python: it repeats what a person says. REPLY_SECRET is the reply_secret of the secret."""

import hashlib
import hmac
import json
import os
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

SECRET = os.environ["REPLY_SECRET"].encode()


def is_genuine(header, body):
    """Whether the backend has signed this body, within the last five minutes."""
    signed = dict(part.partition("=")[::2] for part in header.split(","))
    at = signed.get("t", "")
    if not at.isdigit() or abs(time.time() - int(at)) > 300:
        return False
    expected = hmac.new(SECRET, at.encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, signed.get("v1", ""))


def decide(turn):
    text = turn["events"][-1]["text"]
    if text is None:
        return {}
    count = (turn["conversation"]["state"] or {"count": 0})["count"] + 1
    return {"say": [f"{count}: you said {text}"], "state": {"count": count}}


class Bot(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not is_genuine(self.headers.get("X-Messenger-Signature-256", ""), body):
            return self.send_error(401)
        answer = json.dumps(decide(json.loads(body))).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        """Says nothing: what people write belongs into no log."""


HTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9100"))), Bot).serve_forever()
