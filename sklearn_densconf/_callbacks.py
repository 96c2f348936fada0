"""Callbacks of scikit-learn 1.9, where it has them. A leaf.

An estimator that does not support them gets a warning in every pipeline whose callbacks reach it,
and one that supports them has to say when its fit begins and ends: else a progress bar waits.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

Part = TypeVar("Part")

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # before scikit-learn 1.9: nothing can be set, and nobody is told

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Takes the place of scikit-learn's."""

    def with_callbacks(method: Callable[..., Any]) -> Callable[..., Any]:
        """Take the place of scikit-learn's."""
        return method


def begin_fit(estimator: Any, max_subtasks: int | None = 0) -> Any:
    """Tell callbacks that a fit begins; return its context, or None where there are no callbacks.

    To be called in a method under ``with_callbacks``, once.
    """
    if not hasattr(estimator, "_init_callback_context"):
        return None
    context = estimator._init_callback_context(max_subtasks=max_subtasks)
    return context.call_on_fit_task_begin(estimator=estimator)


def end_fit(estimator: Any, context: Any) -> None:
    """Tell callbacks that a fit has ended."""
    if context is not None:
        context.call_on_fit_task_end(estimator=estimator)


def as_one_task(fit: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a ``fit`` without steps of its own: callbacks are told of begin and end."""

    @with_callbacks
    @functools.wraps(fit)
    def told(self: Any, *args: Any, **kwargs: Any) -> Any:
        context = begin_fit(self)
        result = fit(self, *args, **kwargs)
        end_fit(self, context)
        return result

    return told


def told_batches(estimator: Any, context: Any, plan: list[Part]) -> Iterator[Part]:
    """Yield the parts of a plan, a task of the fit; each ends when the next one is asked for."""
    whole = context.subcontext(task_name="features", max_subtasks=len(plan))
    whole.call_on_fit_task_begin(estimator=estimator)
    for part in plan:
        batch = whole.subcontext(task_name="batch").call_on_fit_task_begin(estimator=estimator)
        yield part
        batch.call_on_fit_task_end(estimator=estimator)
    whole.call_on_fit_task_end(estimator=estimator)
