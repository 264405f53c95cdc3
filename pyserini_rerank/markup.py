"""HTML for notebooks, light and dark.

Styles are inline, since several front ends drop `<style>`. Text has the notebook's own colour. The backgrounds are
coloured and half transparent, so that the text stays readable in light and dark notebooks.
"""

import html

#: The colours of rising documents, falling documents, query terms and relevant documents. Colour-blind people can tell
#: them apart, too.
UP, DOWN, TERM, RELEVANT = (42, 122, 185), (224, 130, 20), (235, 195, 0), (0, 158, 115)


def tinted(text: str, colour: tuple[int, int, int], strength: float = 1.0, *, style: str = "", title: str = "") -> str:
    """Give HTML of text on a tinted background. The text and the title are escaped.

    Parameters
    ----------
    strength : float
        From 0 to 1.
    """
    background = f"background-color:rgba({','.join(map(str, colour))},{0.45 * strength:.2f});border-radius:.2em;{style}"
    title = f' title="{html.escape(title)}"' if title else ""
    return f'<span style="{background}"{title}>{html.escape(text)}</span>'


def element(name: str, inner: str, style: str = "", attributes: str = "") -> str:
    """Put HTML into an element."""
    style = f' style="{style}"' if style else ""
    return f"<{name}{style}{attributes}>{inner}</{name}>"
