"""The conditions of `sweep.exclude`, such as `model.linear_features > 512 and optimizer.name == 'sgd'`.

Python parses the text. Each permitted node becomes a function of the settings, and all others are rejected before
anything is evaluated. `eval` is not used.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

from crackdet.core.errors import UserError

Settings = Mapping[str, Any]  # by dotted key
Evaluate = Callable[[Settings], Any]

MAX_LENGTH = 1000  # characters
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


class _MissingSetting(Exception):
    """The configuration does not have a setting."""


class Expression:
    """A condition on settings. A comparison with a setting that a configuration does not have is false.

    Attributes:
        keys: The dotted keys in the expression.
        found_keys: Those that at least one configuration had; the others are mistyped.

    Raises:
        UserError: If the text is not a condition.
    """

    def __init__(self, text: str, option: str = "sweep.exclude") -> None:
        self._text, self._option = text, option
        self.keys: set[str] = set()
        self.found_keys: set[str] = set()
        if len(text) > MAX_LENGTH:
            raise self._error(f"must have at most {MAX_LENGTH} characters")
        try:
            self._evaluate = self._compile_condition(ast.parse(text.strip(), mode="eval").body)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise self._error("must be a condition such as model.linear_features > 512 and seed == 1") from None

    def evaluate(self, settings: Settings) -> bool:
        """Return whether the condition holds.

        Raises:
            UserError: If values of different types are compared, or a number is divided by zero.
        """
        self.found_keys |= {key for key in self.keys if _full_key(key, settings)}
        try:
            return bool(self._evaluate(settings))
        except (TypeError, ValueError, ArithmeticError, IndexError, RecursionError) as error:
            raise self._error(f"cannot be evaluated ({error})") from None

    def _compile(self, node: ast.expr) -> Evaluate:
        """Return a function that evaluates the node; raise UserError if the node is not permitted."""
        match node:
            case ast.Name() | ast.Attribute() if all(map(str.isidentifier, ast.unparse(node).split("."))):
                return self._compile_key(ast.unparse(node))
            case ast.Constant(value=bool() | int() | float() | str() | None as constant):
                return lambda _: constant
            case ast.BoolOp(op=op, values=values):
                combine = all if isinstance(op, ast.And) else any
                conditions = [self._compile_condition(value) for value in values]
                return lambda settings: combine(condition(settings) for condition in conditions)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                negated = self._compile_condition(operand)
                return lambda settings: not negated(settings)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                number = self._compile(operand)
                return lambda settings: -number(settings)
            case ast.BinOp() if type(node.op) in ARITHMETIC:
                return self._compile_arithmetic(node)
            case ast.Compare() if all(type(op) in COMPARISONS for op in node.ops):
                return self._compile_comparison(node)
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                items = [self._compile(element) for element in elements]
                return lambda settings: [item(settings) for item in items]
            case ast.Subscript(value=value, slice=position):
                sequence, index = self._compile(value), self._compile(position)
                return lambda settings: sequence(settings)[index(settings)]
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
                arguments = [self._compile(argument) for argument in args]
                return lambda settings: FUNCTIONS[name](*(argument(settings) for argument in arguments))
        raise self._error(
            f"{ast.unparse(node)} is not supported; supported are comparisons, and, or, not, in, + - * / // %, "
            f"[position], {', '.join(FUNCTIONS)}, true, false, null, and dotted keys"
        )

    def _compile_condition(self, node: ast.expr) -> Evaluate:
        return _false_if_missing(self._compile(node))

    def _compile_key(self, key: str) -> Evaluate:
        if key in CONSTANTS:
            return lambda _: CONSTANTS[key]
        self.keys.add(key)

        def evaluate(settings: Settings) -> Any:
            full_key = _full_key(key, settings)
            if full_key is None:
                raise _MissingSetting
            return settings[full_key]

        return evaluate

    def _compile_arithmetic(self, node: ast.BinOp) -> Evaluate:
        left, right = self._compile(node.left), self._compile(node.right)

        def evaluate(settings: Settings) -> Any:
            operands = left(settings), right(settings)
            if not all(isinstance(operand, int | float) for operand in operands):  # a repeated list may fill memory
                raise TypeError(f"{ast.unparse(node)}: arithmetic is for numbers")
            return ARITHMETIC[type(node.op)](*operands)

        return evaluate

    def _compile_comparison(self, node: ast.Compare) -> Evaluate:
        operands = [self._compile(operand) for operand in (node.left, *node.comparators)]
        operators = [COMPARISONS[type(op)] for op in node.ops]

        def evaluate(settings: Settings) -> bool:
            values = [operand(settings) for operand in operands]
            pairs = zip(operators, values[:-1], values[1:], strict=True)
            return all(compare(left, right) for compare, left, right in pairs)

        return _false_if_missing(evaluate)

    def _error(self, message: str) -> UserError:
        return UserError(f"{self._option}={self._text}: {message}")


def _full_key(key: str, settings: Settings) -> str | None:
    """Return the key of the setting: `model` may stand for `model.name`, as on the command line."""
    return next((candidate for candidate in (key, f"{key}.name") if candidate in settings), None)


def _false_if_missing(condition: Evaluate) -> Evaluate:
    """Return the condition, but false for configurations that do not have one of its settings."""

    def evaluate(settings: Settings) -> bool:
        try:
            return bool(condition(settings))
        except _MissingSetting:
            return False

    return evaluate
