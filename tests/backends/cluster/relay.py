"""Passes connections on from one network to another: from the machine's loopback to the cluster's.

    python relay.py DESCRIPTOR HOST PORT

The descriptor is that of a listening socket, which stays in the network where it was made; the process itself runs
in the network that the connections go to.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys


async def serve(listener: socket.socket, host: str, port: int) -> None:
    """Pass on every connection, until the process is ended."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(writer):
            there, back = await asyncio.open_connection(host, port)
            with contextlib.closing(back):
                await asyncio.gather(_pump(reader, back), _pump(there, writer))

    server = await asyncio.start_server(connected, sock=listener)
    await server.serve_forever()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 18):
        writer.write(data)
        await writer.drain()
    with contextlib.suppress(OSError):
        writer.write_eof()


if __name__ == "__main__":
    asyncio.run(serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2], int(sys.argv[3])))
