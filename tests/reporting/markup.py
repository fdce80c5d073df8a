"""HTML as a strict reader sees it."""

from html import parser

VOID = frozenset({"meta", "link", "br", "hr", "img", "input"})


class Reader(parser.HTMLParser):
    """Keeps tags, attributes and texts; raises where a tag isn't closed as it was opened.

    Attributes:
        elements: (tag, attributes) of each.
        texts: tag -> the texts that stand in such an element, however deep.
    """

    def __init__(self) -> None:
        super().__init__()
        self._open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}

    def handle_starttag(self, tag, attrs):
        assert len(attrs) == len(dict(attrs)), f"an attribute twice in {tag}"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert "svg" in self._open, f"{tag} is closed at once outside a drawing"
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open and self._open[-1] == tag, f"</{tag}> inside {self._open}"
        self._open.pop()

    def handle_data(self, data):
        for tag in set(self._open):
            self.texts.setdefault(tag, []).append(data)

    def close(self):
        super().close()
        assert not self._open, f"never closed: {self._open}"


def read(text: str) -> Reader:
    """Reads a whole page."""
    reader = Reader()
    reader.feed(text)
    reader.close()
    return reader
