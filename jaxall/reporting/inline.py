"""Drawings made fit to stand inside a page."""

from xml.etree import ElementTree


def embed(svg: str, name: str, label: str) -> str:
    """An SVG that `canvas.save` wrote, made fit to stand in HTML beside others.

    It takes the width that it is given; ids are its own, so that no two drawings share one; nothing
    in it names an address.

    Args:
        svg: the file's text.
        name: of letters, digits and hyphens; its ids begin with it.
        label: read out to those who can't see it.
    """
    root = ElementTree.fromstring(svg)
    references = set()
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for key in list(element.attrib):
            element.attrib[key.rpartition("}")[2]] = element.attrib.pop(key)
        href, clip = element.get("href", ""), element.get("clip-path", "")
        if href.startswith("#"):
            references.add(href[1:])
            element.set("href", f"#{name}-{href[1:]}")
        if clip.startswith("url(#"):
            references.add(clip[5:-1])
            element.set("clip-path", f"url(#{name}-{clip[5:-1]})")
    for element in list(root.iter()):
        own = element.attrib.pop("id", None)
        if own in references:
            element.set("id", f"{name}-{own}")
        for child in [one for one in element if one.tag in ("metadata", "style")]:
            element.remove(child)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib |= {"role": "img", "aria-label": label}
    return ElementTree.tostring(root, encoding="unicode")
