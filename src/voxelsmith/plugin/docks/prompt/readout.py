"""Readout: what the dock shows of a running session.

Owns the translation of a session's state into what the view can show; it changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voxelsmith.plugin.docks.prompt.engines import tools_for
from voxelsmith.plugin.docks.prompt.prompt_layers import TOOLS
from voxelsmith.plugin.docks.prompt.prompting import Prompting
from voxelsmith.segment.session import USUAL_THRESHOLD

if TYPE_CHECKING:
    from voxelsmith.plugin.docks.prompt.view import PromptDock


def show(view: PromptDock, live: Prompting, has_mask: bool) -> None:
    """Show a session; ``has_mask`` says whether a mask to start from is chosen."""
    session, tools = live.session, tools_for(live.session.engine)
    possible = {
        "run": bool(live.prompts),
        "undo": session.can_undo,
        "redo": session.can_redo,
        "reset": bool(live.prompts),
        "accept": live.acceptable,
        "mask": has_mask and "mask" in tools,
    }
    view.set_possible(frozenset(action for action, can in possible.items() if can))
    view.set_tools(tools)
    view.set_word(live.word)
    view.set_status(live.status)
    view.set_threshold(session.threshold(), live.why_no_threshold)
    view.set_maker(live.made_by)
    view.set_accepted(live.rows())
    depth = live.depth
    if depth is None:
        view.set_depth(None)
    else:
        thick = (depth.last - depth.first + 1) * depth.thickness
        title = f"Box depth along {'ijk'[depth.axis]}: slices {depth.first} to {depth.last}, {thick:.4g} mm"
        view.set_depth(title, depth.first, depth.last, depth.count)


def clear(view: PromptDock) -> None:
    """Show that there is no session."""
    view.set_depth(None)
    view.set_tools(frozenset(TOOLS))
    view.set_word("")
    view.set_accepted([])
    view.set_maker("")
    view.set_threshold(USUAL_THRESHOLD, "There is no session yet; choose an image and press Start")
