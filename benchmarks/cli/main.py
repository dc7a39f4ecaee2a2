"""The command line: from the words to a verb and its exit code.

Heavy imports, torch above all, happen inside the verbs, so that help, a mistyped word and a report need not wait for
them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from benchmarks import interrupt
from benchmarks.cli import flags
from benchmarks.cli.verbs import VERBS
from benchmarks.contract.errors import UserError, printable


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb; returns the exit code: 0 done, 1 something failed, 2 the input was wrong, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    verb = arguments[0] if arguments else "help"
    try:
        interrupt.set_orderly(True)
        return _main(verb, arguments)
    except KeyboardInterrupt:
        return interrupt.say(verb)
    except Exception:
        if interrupt.asked():  # of which somebody on the way has made another error
            return interrupt.say(verb)
        raise
    finally:
        interrupt.set_orderly(False)


def _main(verb: str, arguments: list[str]) -> int:
    try:
        if said := _said(verb, arguments[1:]):
            print(said)
            return 0
        options = _options(verb, arguments[1:])
        return VERBS[verb].function()(options)
    except ValueError as error:
        if interrupt.asked():
            raise
        if not isinstance(error, UserError):
            from mixers import MixerError

            if not isinstance(error, MixerError):
                raise
        print(f"token-mixers: {printable(error)}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(printable(f"token-mixers: {error.filename or 'a file'}: {error.strerror or error}"), file=sys.stderr)
        return 2


def _said(verb: str, words: list[str]) -> str | None:
    """What is only said, of the suite or of a verb."""
    if verb in ("version", "-V", "--version"):
        from benchmarks.cli.listing import version_line

        return version_line()
    if verb in ("help", "-h", "--help"):
        return flags.parser_of(words[0]).format_help().rstrip() if words else flags.overview()
    if {"-h", "--help"} & {*words}:
        return flags.parser_of(verb).format_help().rstrip()
    return None


def _options(verb: str, words: list[str]) -> argparse.Namespace:
    """What was typed, and what stands in the file of --config where nothing else was typed.

    Raises:
        UserError: something of it is not allowed.
    """
    options = flags.read(verb, words)
    if options.config is None:
        return options
    from benchmarks.cli.config import arguments_of

    return flags.read(verb, [*arguments_of(options.config, verb), *words])  # what is typed comes later, and so wins
