"""A condition over settings, as a user writes it: `model.linear_features > 512 and optimizer.name == 'sgd'`.

It is parsed by Python and evaluated by this module, which knows comparisons, and, or, not, plain arithmetic,
`len`, `min`, `max`, `sum` and positions in lists, and nothing else: never by `eval`.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from crackdet.core.errors import UserError

LONGEST = 1000  # characters; a deeper nesting than they allow would exhaust the stack
CONSTANTS: dict[str, Any] = {"true": True, "false": False, "null": None}
FUNCTIONS: dict[str, Callable[..., Any]] = {"len": len, "min": min, "max": max, "sum": sum}
COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}
ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


class _Absent(Exception):
    """The configuration has no such setting."""


class Expression:
    """A condition; a comparison with a setting that a configuration does not have is false.

    `sought` are the dotted keys in it, `found` those that some configuration had: the rest are mistakes.

    Raises:
        UserError: where the text is no condition.
    """

    def __init__(self, text: str, key: str = "sweep.exclude") -> None:
        self._text, self._key = text, key
        if len(text) > LONGEST:
            raise self._error(f"must have at most {LONGEST} characters")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise self._error("must be a condition such as model.linear_features > 512 and seed == 1") from None
        self.sought: set[str] = set()
        self.found: set[str] = set()
        self._check(self._tree)

    def holds(self, settings: Mapping[str, Any]) -> bool:
        """Whether it is true of these settings, given by their dotted keys.

        Raises:
            UserError: where values of different kinds are compared, or something is divided by zero.
        """
        self.found |= {key for key in self.sought if _known(key, settings)}
        try:
            return bool(self._value(self._tree, settings))
        except _Absent:
            return False
        except (TypeError, ValueError, ArithmeticError, IndexError) as error:
            raise self._error(f"cannot be decided ({error})") from None

    def _check(self, node: ast.expr) -> None:
        """Refuses whatever `_value` does not know, before there is anything to evaluate it on."""
        dotted = _dotted(node)
        if dotted is not None:
            if dotted not in CONSTANTS:
                self.sought.add(dotted)
            return
        parts: list[ast.expr]
        match node:
            case ast.Constant(value=bool() | int() | float() | str() | None):
                parts = []
            case ast.BoolOp():
                parts = node.values
            case ast.UnaryOp(op=ast.Not() | ast.USub()):
                parts = [node.operand]
            case ast.BinOp() if type(node.op) in ARITHMETIC:
                parts = [node.left, node.right]
            case ast.Compare() if all(type(op) in COMPARISONS for op in node.ops):
                parts = [node.left, *node.comparators]
            case ast.List() | ast.Tuple():
                parts = node.elts
            case ast.Subscript():
                parts = [node.value, node.slice]
            case ast.Call(func=ast.Name(id=name), keywords=[]) if name in FUNCTIONS:
                parts = node.args
            case _:
                raise self._error(
                    f"{ast.unparse(node)} is not understood; there are comparisons, and, or, not, in, + - * / // %, "
                    f"[position], {', '.join(FUNCTIONS)}, true, false, null, and dotted keys"
                )
        for part in parts:
            self._check(part)

    def _value(self, node: ast.expr, settings: Mapping[str, Any]) -> Any:
        dotted = _dotted(node)
        if dotted is not None:
            return CONSTANTS[dotted] if dotted in CONSTANTS else self._setting(dotted, settings)

        def value(part: ast.expr) -> Any:
            return self._value(part, settings)

        match node:
            case ast.Constant():
                return node.value
            case ast.BoolOp():
                decide = all if isinstance(node.op, ast.And) else any
                return decide(self._condition(part, settings) for part in node.values)
            case ast.UnaryOp(op=ast.Not()):
                return not self._condition(node.operand, settings)
            case ast.UnaryOp():
                return -value(node.operand)
            case ast.BinOp():
                left, right = value(node.left), value(node.right)
                if not all(
                    isinstance(side, int | float) for side in (left, right)
                ):  # a list may be made to fill memory
                    raise TypeError(f"{ast.unparse(node)}: arithmetic is for numbers")
                return ARITHMETIC[type(node.op)](left, right)
            case ast.Compare():
                return self._comparison(node, settings)
            case ast.List() | ast.Tuple():
                return [value(part) for part in node.elts]
            case ast.Subscript():
                return value(node.value)[value(node.slice)]
            case ast.Call(func=ast.Name(id=name)):
                return FUNCTIONS[name](*(value(part) for part in node.args))
        raise AssertionError(f"{ast.dump(node)} was not refused")

    def _condition(self, node: ast.expr, settings: Mapping[str, Any]) -> bool:
        try:
            return bool(self._value(node, settings))
        except _Absent:
            return False

    def _comparison(self, node: ast.Compare, settings: Mapping[str, Any]) -> bool:
        try:
            values = [self._value(part, settings) for part in (node.left, *node.comparators)]
        except _Absent:
            return False
        pairs = zip(node.ops, values[:-1], values[1:], strict=True)
        return all(COMPARISONS[type(op)](left, right) for op, left, right in pairs)

    def _setting(self, key: str, settings: Mapping[str, Any]) -> Any:
        known = _known(key, settings)
        if known is None:
            raise _Absent
        return settings[known]

    def _error(self, what: str) -> UserError:
        return UserError(f"{self._key}={self._text}: {what}")


def _known(key: str, settings: Mapping[str, Any]) -> str | None:
    """The setting that a key means: model == 'custom' says it as the command line does."""
    return next((known for known in (key, f"{key}.name") if known in settings), None)


def _dotted(node: ast.expr) -> str | None:
    """`model.conv_out` of a name or of attributes of a name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := _dotted(node.value)) is not None:
        return f"{before}.{node.attr}"
    return None
