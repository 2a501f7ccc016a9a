"""The command line: the same engines without a window.

Owns the entry point and the promise that scripts rely on: exit status 0 on success, 2 for wrong usage or input, 1 for
anything else; errors are one sentence on standard error; with ``--json`` standard output is one JSON object.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer
from typer.exceptions import Abort, TyperException

from voxelsmith.cli import (
    cmf,
    convert,
    demo,
    evaluate,
    fewshot,
    invert,
    jacobian,
    register,
    segment,
    train,
    tumour,
    tvunet,
    warp,
    weights,
)
from voxelsmith.core.errors import VoxelsmithError
from voxelsmith.core.progress import Cancelled

# What typer returns for Ctrl+C.
_INTERRUPTED = 130
_STOPPED = "Stopped; nothing was written."

app = typer.Typer(
    name="voxelsmith",
    help="Annotation-assisted segmentation of 3-D medical and biological volumes.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("segment")(segment.segment)
app.command("tumour")(tumour.tumour)
app.command("register")(register.register)
app.command("warp")(warp.warp)
app.command("invert")(invert.invert)
app.command("jacobian")(jacobian.jacobian)
app.command("evaluate")(evaluate.evaluate)
app.command("convert")(convert.convert)
app.command("demo")(demo.demo)
app.add_typer(fewshot.app, name="fewshot")
train.app.command("tvunet")(tvunet.tvunet)
train.app.command("cmf")(cmf.cmf)
train.app.command("diffusion")(tvunet.diffusion)
app.command("predict")(tvunet.predict)
app.add_typer(train.app, name="train")
app.add_typer(weights.app, name="weights")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status (standard arguments if none are given)."""
    try:
        status = app(args=None if arguments is None else list(arguments), standalone_mode=False)
    except TyperException as error:
        return _fail(f"{error.format_message()} See voxelsmith --help.", 2)
    except VoxelsmithError as error:
        return _fail(str(error), 2)
    except (KeyboardInterrupt, Abort, Cancelled):
        return _fail(_STOPPED, 1)
    except MemoryError:
        return _fail("Memory ran out; close other programs or work on a smaller region.", 1)
    except Exception as error:
        return _fail(f"Unexpected {type(error).__name__}: {error}", 1)
    if status == _INTERRUPTED:
        return _fail(_STOPPED, 1)
    return status if isinstance(status, int) else 0


def _fail(sentence: str, status: int) -> int:
    if sentence:
        print(f"voxelsmith: {' '.join(sentence.split())}", file=sys.stderr)
    return status
