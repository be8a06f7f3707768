"""Certificates for a daemon, and no others: imports the SDK, so it is imported where it is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from docker import TLSConfig
from requests.adapters import HTTPAdapter

if TYPE_CHECKING:
    from docker import APIClient
    from requests import PreparedRequest, Response


class Certificates(TLSConfig):
    """As the SDK has them, but they hold where ``REQUESTS_CA_BUNDLE`` or ``CURL_CA_BUNDLE`` is set as well.

    These are for the public web; requests prefers them to what its own session was told.
    """

    def configure_client(self, client: APIClient) -> None:
        super().configure_client(client)
        client.mount("https://", _Adapter(client.verify, client.cert))


class _Adapter(HTTPAdapter):
    def __init__(self, verify: Any, certificate: Any) -> None:
        super().__init__()
        self._verify, self._certificate = verify, certificate

    def send(self, request: PreparedRequest, *args: Any, **options: Any) -> Response:
        options.update(verify=self._verify, cert=self._certificate)
        return super().send(request, *args, **options)
