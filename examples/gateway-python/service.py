"""A service that charges cards and knows nothing of keys: whoever asks twice is charged twice.

    python3 service.py --listen 127.0.0.1:9000 --ledger charges.jsonl
"""

import argparse
import base64
import hmac
import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PASSWORDS = {"alice": "a1", "bob": "b1"}  # yours are elsewhere, and hashed
MAX_BODY = 64 << 10


class Ledger:
    """A book of charges in a file, a line each. A line is on disk when charge returns."""

    def __init__(self, path):
        self.lock = threading.Lock()
        self.file = open(path, "a+b")
        self.file.seek(0)
        text = self.file.read()
        whole = text.rfind(b"\n") + 1  # an entry that a crash has cut off never was
        self.file.truncate(whole)
        self.entries = [json.loads(line) for line in text[:whole].splitlines()]

    def charge(self, customer, amount):
        with self.lock:
            entry = {"number": len(self.entries) + 1, "customer": customer, "amount": amount}
            self.file.write(json.dumps(entry).encode() + b"\n")
            self.file.flush()
            os.fsync(self.file.fileno())
            self.entries.append(entry)
            return entry

    def charges(self, customer):
        with self.lock:
            return [entry for entry in self.entries if entry["customer"] == customer]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds; the gateway gives its connections up earlier

    def do_GET(self):
        if customer := self.authenticated():
            if self.path == "/charges":
                self.reply(200, self.server.ledger.charges(customer))
            else:
                self.reply(404, {"error": "there is only /charges"})

    def do_POST(self):
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            length = -1
        if not 0 <= length <= MAX_BODY:
            self.close_connection = True  # the body was not read
            return self.reply(413, {"error": f"send a body of at most {MAX_BODY} bytes, with its length"})
        body = self.rfile.read(length)
        if not (customer := self.authenticated()):
            return
        if self.path != "/charges":
            return self.reply(404, {"error": "there is only /charges"})
        try:
            amount = json.loads(body)["amount"]
        except (ValueError, KeyError, TypeError):
            amount = None
        if type(amount) is not int or amount <= 0:
            return self.reply(400, {"error": "amount must be a positive number of cents"})
        self.reply(201, self.server.ledger.charge(customer, amount))

    def authenticated(self):
        """Returns who it is, or answers 401 and returns None."""
        scheme, _, credentials = self.headers.get("Authorization", "").partition(" ")
        try:
            user, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
        except ValueError:
            user, password = "", ""
        known = PASSWORDS.get(user, "")
        if scheme.lower() == "basic" and known and hmac.compare_digest(known.encode(), password.encode()):
            return user
        self.reply(401, {"error": "who are you?"}, {"WWW-Authenticate": 'Basic realm="charges"'})
        return None

    def reply(self, status, value, fields=()):
        body = json.dumps(value).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, field in dict(fields).items():
            self.send_header(name, field)
        self.end_headers()
        self.wfile.write(body)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", default="127.0.0.1:9000")
    parser.add_argument("--ledger", default="charges.jsonl")
    args = parser.parse_args()
    host, port = args.listen.rsplit(":", 1)
    server = ThreadingHTTPServer((host, int(port)), Handler)
    server.daemon_threads = False  # what is under way is finished
    server.ledger = Ledger(args.ledger)
    for sig in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sig, lambda *_: threading.Thread(target=server.shutdown).start())
    print("the service is on http://%s:%d" % server.server_address[:2], flush=True)
    server.serve_forever()
    server.server_close()


if __name__ == "__main__":
    main()
