"""Tags of dispatches: words by which a person finds them again."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from covalab.client import connect
from covalab.core.errors import GraphError
from covalab.core.model import Tag
from covalab.core.requests import TagsRequest
from covalab.sdk.ids import checked_id


def checked_tags(where: str, tags: str | Iterable[str]) -> list[str]:
    """Return tags as a list, each once; one text is one tag.

    Raises
    ------
    GraphError
        If one of them cannot be a tag.
    """
    given = [tags] if isinstance(tags, str) else list(tags)
    try:
        return list(dict.fromkeys(msgspec.convert(given, list[Tag])))
    except msgspec.ValidationError:
        message = f"{where}: a tag is a word of up to 64 characters, without spaces and commas; got {given!r}"
        raise GraphError(message) from None


def tag(dispatch_id: str, *tags: str, remove: str | Iterable[str] = ()) -> list[str]:
    """Add tags to a dispatch, and remove some; it may run or have ended. Not in Covalent.

    Parameters
    ----------
    dispatch_id : str
        The dispatch.
    *tags : str
        Tags to add: words without spaces and commas.
    remove : str or iterable of str
        Tags to remove.

    Returns
    -------
    list of str
        The tags that it has now.

    Raises
    ------
    GraphError
        If one of them cannot be a tag.
    MissingLatticeRecordError
        If there is no such dispatch.

    Examples
    --------
    >>> import covalab as ct
    >>> ct.tag(run, "paper", remove="draft")  # doctest: +SKIP
    ['paper']
    """
    wanted = checked_id(dispatch_id)
    change = TagsRequest(checked_tags("tag", tags), [remove] if isinstance(remove, str) else list(remove))
    return list(connect().tag(wanted, change).tags)
