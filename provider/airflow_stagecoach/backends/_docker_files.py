"""Reading from a daemon in pieces: a daemon that stops answering in the middle is noticed.

The SDK takes the limit of time away from what it streams, so that a dead connection would be waited for
without end; and it gives an answer whole, however large it is.
"""

from __future__ import annotations

import contextlib
import re
import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from docker import APIClient
    from requests import Response

_LOOP = re.compile(r"too many (levels of )?(symbolic )?links", re.IGNORECASE)


@contextlib.contextmanager
def get(client: APIClient, path: str, query: Mapping[str, str]) -> Iterator[Response]:
    """An answer of the daemon, whose ``raw`` is read within the block, each time within the client's timeout.

    :param path: of the API, without its version
    :raises docker.errors.APIError: the daemon refuses
    """
    from docker.errors import create_api_error_from_http_exception
    from requests.exceptions import HTTPError

    url = f"{client.base_url}/v{client.api_version}{path}"
    headers = {"Accept-Encoding": "identity"}
    response = client.get(url, params=query, headers=headers, stream=True, timeout=client.timeout)
    with response:
        try:
            response.raise_for_status()
        except HTTPError as error:
            create_api_error_from_http_exception(error)
        yield response


def read_file(client: APIClient, container: str, path: str, limit: int) -> bytes | None:
    """The beginning of a file in a container, ``None`` where there is no such file.

    :param limit: so many bytes at most
    :raises docker.errors.APIError: the daemon refuses
    """
    from docker.errors import APIError, NotFound

    try:
        with (
            get(client, f"/containers/{container}/archive", {"path": path}) as response,
            tarfile.open(fileobj=response.raw, mode="r|") as archive,
        ):
            member = archive.next()
            # A link or a folder of that name is no file: somebody else has put it there.
            file = archive.extractfile(member) if member is not None and member.isreg() else None
            return None if file is None else file.read(limit)
    except NotFound:
        return None
    except APIError as error:
        # A link to itself is no file either.
        if _LOOP.search(str(error.explanation)):
            return None
        raise
