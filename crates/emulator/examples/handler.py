"""A function in Python, as it runs in a container image: an HTTP server with /init and /invoke, and no packages."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def handle(event, request_id):
    """Your code."""
    print("counting", len(event), "fields for", request_id)
    return {"fields": sorted(event)}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/init":
            print("initialized", self.headers["X-CFF-Func-Name"])
            self.answer(200, None)
        elif self.path == "/invoke":
            self.answer(200, handle(json.loads(body), self.headers["X-CFF-Request-Id"]))
        else:
            self.answer(404, {"errorMessage": f"no path {self.path}"})

    def answer(self, status, result):
        body = json.dumps(result).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """No line for each request."""


if __name__ == "__main__":
    # FunctionGraph expects port 8000.
    ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8000"))), Handler).serve_forever()
