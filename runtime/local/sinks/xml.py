"""What answers in XML have in common."""


def to_xml(name: str, content: object, namespace: str = "") -> str:
    """An element: of a dict one element per key, of a list under a key one element each, of anything else its text."""
    opened = f'{name} xmlns="{namespace}"' if namespace else name
    return f"<{opened}>{_inside(content)}</{name}>"


def _inside(content: object) -> str:
    if isinstance(content, dict):
        return "".join(
            to_xml(name, one) for name, part in content.items() for one in (part if isinstance(part, list) else [part])
        )
    if isinstance(content, bool):
        return str(content).lower()
    return _escaped(str(content))


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
