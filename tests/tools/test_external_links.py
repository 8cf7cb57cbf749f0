"""The list of links that lead out of the book is what the pages hold, and the check notices a dead one."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from tool_files import tool

links = tool("external_links")


def test_the_list_is_what_the_pages_link_to():
    if not (links.HTML / "index.html").exists():
        pytest.skip("the book is not built: make book")
    stored = links.LIST.read_text("utf-8").split()
    assert stored == links.external_links(), "run `python tools/external_links.py --write`"


class Pages(BaseHTTPRequestHandler):
    """/good answers, /moved leads there, /no-head answers GET only, everything else is missing."""

    def do_HEAD(self):
        code = {"/good": 200, "/moved": 302, "/no-head": 405}.get(self.path, 404)
        self.send_response(code)
        if code == 302:
            self.send_header("Location", "/good")
        self.end_headers()

    def do_GET(self):
        self.send_response(200 if self.path == "/no-head" else 404)
        self.end_headers()

    def log_message(self, *args):
        pass


def test_dead_links_are_named(capsys, monkeypatch, tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        alive = [f"{address}/{name}" for name in ("good", "moved", "no-head")]
        assert links.broken(alive) == {}
        monkeypatch.setattr(links, "LIST", tmp_path / "links.txt")
        links.LIST.write_text("\n".join([*alive, f"{address}/gone"]), "utf-8")
        assert links.main([]) == 1
        server.shutdown()
    assert capsys.readouterr().out == f"404 Not Found: {address}/gone\n4 links, 1 broken\n"
    assert links.broken([f"{address}/good"]) == {f"{address}/good": "ConnectionError"}
