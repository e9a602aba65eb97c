"""Call values: function and arguments as an executor gets them, and its result as a value.

The host deserializes as little as it can: it may lack the modules for it.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from covalab.blobs import BlobStore
from covalab.core.assemble import hashable
from covalab.core.codec import decode, unwrap_pickle
from covalab.core.errors import STORAGE_ERRORS
from covalab.core.model import Digest, Value
from covalab.core.protocol import Argument, Batch
from covalab.core.transportable import TransportableObject
from covalab.worker.hook_runner import HookRunner, read_hooks


def call_serialized(function: TransportableObject, /, *args: TransportableObject, **kwargs: TransportableObject) -> Any:
    """Deserialize a function and its arguments, call it, serialize its value. Runs wherever the executor calls it.

    Parameters
    ----------
    function
        The serialized function. An electron's coroutine is run to its end.
    *args, **kwargs
        The serialized arguments.
    """
    return _called(function, args, kwargs, {})


def call_with_hooks(
    function: TransportableObject,
    hooks: bytes,
    packages: str,
    /,
    *args: TransportableObject,
    **kwargs: TransportableObject,
) -> Any:
    """Call a serialized function as `call_serialized` does, with hooks around it, in the same process.

    Parameters
    ----------
    function, *args, **kwargs
        As for `call_serialized`. The function comes first: plug-ins look there for the version that serialized it.
    hooks
        Encoded `core.hooks.Hooks`.
    packages
        The folder of installed packages.
    """
    hook_runner = HookRunner(read_hooks(hooks), packages)
    try:
        hook_runner.before()
        result = _called(function, args, kwargs, hook_runner.given)
        hook_runner.after()
    finally:
        hook_runner.leave()
    return result


def _called(
    function: TransportableObject,
    args: Sequence[TransportableObject],
    kwargs: Mapping[str, TransportableObject],
    given: Mapping[str, Any],
) -> TransportableObject:
    callee = function.get_deserialized()
    named = {name: argument.get_deserialized() for name, argument in kwargs.items()}
    result = callee(*(argument.get_deserialized() for argument in args), **{**named, **given})
    return TransportableObject(_awaited(result) if inspect.iscoroutine(result) else result)


def _awaited(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine to its end, in a thread if an event loop is running here: an executor may call from its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    ended: list[Any] = []

    def run() -> None:
        try:
            ended.extend((asyncio.run(coroutine), None))
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            ended.extend((None, error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if ended[1] is not None:
        raise ended[1]
    return ended[0]


def ready(batch: Batch, blobs: BlobStore) -> tuple[Callable[..., Any], list[Any], dict[str, Any]]:
    """Return the function of a batch's only task, ready to be called, and its serialized arguments.

    Raises
    ------
    BlobNotFound, BlobDamaged, DataFolderError
        If a value's file is gone or cannot be read.
    SerializationError
        If a collection's parts cannot be deserialized.
    """
    task = batch.tasks[0]
    code = _transportable(_code(batch, task.function, blobs), task.name)
    function = functools.partial(call_serialized, code)
    if task.hooks:
        function = functools.partial(call_with_hooks, code, bytes(_code(batch, task.hooks, blobs)), batch.packages)
    try:
        args = [_argument(argument, batch, blobs) for argument in task.args]
        kwargs = {name: _argument(argument, batch, blobs) for name, argument in task.kwargs.items()}
    except STORAGE_ERRORS as error:
        message = f"an input of electron {task.name!r} (node {task.node}): {error}"
        raise type(error)(message) from error
    return function, args, kwargs


def instance_of(batch: Batch, blobs: BlobStore) -> Any:
    """Return the executor instance that was sent with a batch."""
    assert batch.executor is not None
    return decode(_code(batch, batch.executor.instance, blobs), what=f"executor {batch.executor.executor!r}")


def value_of(result: Any, blobs: BlobStore, what: str) -> Value:
    """Return the result of an executor's `run` as a value, without deserializing it."""
    if not isinstance(result, TransportableObject):
        return blobs.serialize(result, what=what)
    return blobs.serialize_pickle(result.get_pickle(), text=result.object_string, what=what)


def _code(batch: Batch, digest: Digest, blobs: BlobStore) -> Any:
    return blobs.code(digest, batch.code)


def _transportable(data: Any, text: str) -> TransportableObject:
    pickle = unwrap_pickle(data)
    if pickle is None:  # its large buffers lie beside the pickle
        return TransportableObject(decode(data, what=text))
    return TransportableObject.from_pickle(pickle, text)


def _argument(argument: Argument, batch: Batch, blobs: BlobStore) -> TransportableObject:
    value = batch.shared[argument.shared] if argument.shared >= 0 else argument.value
    if value is None:
        return TransportableObject(_deserialized(argument, batch, blobs))
    assert value.data is not None or value.digest is not None
    return _transportable(blobs.content(value, "an argument"), value.text)


def _deserialized(argument: Argument, batch: Batch, blobs: BlobStore) -> Any:
    if argument.items is not None:
        return [_deserialized(item, batch, blobs) for item in argument.items]
    if argument.pairs is not None:
        keys, values = (_deserialized(side, batch, blobs) for side in argument.pairs)
        return {hashable(key): value for key, value in zip(keys, values, strict=True)}
    return _argument(argument, batch, blobs).get_deserialized()
