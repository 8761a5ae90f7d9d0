# SPDX-License-Identifier: GPL-2.0-or-later
"""The syntax of xl's domain files (xl.cfg(5)), as libxlu reads it: settings of strings and of lists.

Names are lower case; a string ends on its line and may have escapes; a list goes over lines; # begins comments;
a setting ends with its line or a semicolon. ``+=`` appends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_TOKEN: Final = re.compile(
    r"""
      (?P<blank>[ \t]+) | (?P<comment>\#[^\n]*) | (?P<newline>\n)
    | (?P<name>[a-z][_0-9a-z]*) | (?P<number>[0-9][0-9a-fx]*)
    | (?P<string>'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")
    | (?P<mark>\+=|[=,;\[\]])
    """,
    re.VERBOSE,
)
_ESCAPE: Final = re.compile(r"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPED: Final = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))


class XlSyntaxError(ValueError):
    """xl would not read the file."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Text:
    value: str
    line: int


@dataclass(frozen=True, slots=True)
class Setting:
    value: Text | Sequence[Text]
    """A list's nested lists are left out: ``vdispl`` has none."""
    line: int


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


def parse_xl(text: str) -> dict[str, Setting]:
    """The settings; of two with one name the last one, as xl takes it. Raises XlSyntaxError."""
    tokens = _Tokens(text)
    settings: dict[str, Setting] = {}
    while (token := tokens.next()).kind != "end":
        if token.kind == "newline" or token.text == ";":
            continue
        if token.kind != "name":
            raise XlSyntaxError(token.line, f"a setting's name is expected, not {token.text!r}")
        operation = tokens.next()
        if operation.text not in ("=", "+="):
            raise XlSyntaxError(operation.line, f"= is expected after {token.text}")
        setting = Setting(_value(tokens), token.line)
        before = settings.get(token.text)
        if operation.text == "+=" and before is not None:
            setting = _joined(before, setting)
        settings[token.text] = setting
        end = tokens.next()
        if end.kind not in ("newline", "end") and end.text != ";":
            raise XlSyntaxError(end.line, f"the line's end is expected, not {end.text!r}")
    return settings


class _Tokens:
    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._last_line = text.count("\n") + 1

    def next(self) -> _Token:
        return next(self._tokens, _Token("end", "the file's end", self._last_line))

    def next_in_list(self) -> _Token:
        """Line ends mean nothing there."""
        while (token := self.next()).kind == "newline":
            pass
        return token


def _tokens(text: str) -> Iterator[_Token]:
    at, line = 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            rest = text[at:].partition("\n")[0]
            raise XlSyntaxError(line, f"{rest[:40]!r} is no part of xl's syntax")
        kind = match.lastgroup or ""
        if kind not in ("blank", "comment"):
            yield _Token(kind, match[0], line)
        line += match[0].count("\n")
        at = match.end()


def _value(tokens: _Tokens) -> Text | Sequence[Text]:
    token = tokens.next()
    if token.text == "[" and token.kind == "mark":
        return _list(tokens, token.line)
    return _atom(token)


def _list(tokens: _Tokens, line: int) -> list[Text]:
    """After its ``[``."""
    items: list[Text] = []
    while True:
        token = tokens.next_in_list()
        if token.kind == "mark" and token.text == "]":
            return items
        if token.kind == "mark" and token.text == "[":
            _list(tokens, token.line)
        else:
            if token.kind == "end":
                raise XlSyntaxError(line, "this list has no end: ] is missing")
            items.append(_atom(token))
        token = tokens.next_in_list()
        if token.kind == "mark" and token.text == "]":
            return items
        if token.text != "," or token.kind != "mark":
            raise XlSyntaxError(token.line, f"a comma or ] is expected, not {token.text!r}")


def _atom(token: _Token) -> Text:
    if token.kind == "number":
        return Text(token.text, token.line)
    if token.kind == "string":
        return Text(_ESCAPE.sub(_unescaped, token.text[1:-1]), token.line)
    raise XlSyntaxError(token.line, f"a value is expected, not {token.text!r}")


def _unescaped(match: re.Match[str]) -> str:
    text = match[1]
    if text[0] == "x" and len(text) > 1:
        return chr(int(text[1:], 16))
    if text[0] in "01234567":
        return chr(int(text, 8) & 0xFF)
    return _ESCAPED.get(text, text)


def _joined(first: Setting, second: Setting) -> Setting:
    one, other = first.value, second.value
    if isinstance(one, Text) and isinstance(other, Text):
        return Setting(Text(one.value + other.value, one.line), first.line)
    if isinstance(one, Text) or isinstance(other, Text):
        raise XlSyntaxError(second.line, "+= joins a string and a list")
    return Setting([*one, *other], first.line)
