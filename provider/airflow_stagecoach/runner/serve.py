"""A runner as a process: its server, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from typing import TYPE_CHECKING

from airflow_stagecoach.runner.settings import RunnerError, require_safe_listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import fastapi
    import uvicorn

    from airflow_stagecoach.runner.jobs import Jobs
    from airflow_stagecoach.runner.settings import Settings

log = logging.getLogger(__name__)

#: Seconds between two looks whether a draining runner may end.
_DRAIN_LOOK = 0.5


def serve(
    settings: Settings,
    host: str,
    port: int,
    *,
    certificate: str | None = None,
    key: str | None = None,
    allow_plain: bool = False,
) -> None:
    """Serve until SIGTERM or SIGINT, or until the runner is drained. Jobs that run go on without it.

    :param host: address to listen on
    :param certificate: path of a PEM file, with ``key`` the path of its key: then it is HTTPS
    :param allow_plain: listen without a certificate on other addresses than this machine's own, too
    :raises RunnerError: it cannot be started
    """
    if not sys.platform.startswith("linux"):
        raise RunnerError("the runner needs Linux")
    require_safe_listening(host, certificate, key, allow_plain)
    try:
        import uvicorn

        from airflow_stagecoach.runner.app import make_app
    except ImportError as error:
        raise RunnerError(
            f"the runner needs {error.name}: pip install 'airflow-provider-stagecoach[runner]'"
        ) from None
    from airflow_stagecoach.runner.jobs import Jobs

    # Whatever jobs write is theirs alone, also where they do not care.
    os.umask(0o077)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        jobs = Jobs(settings)
    except OSError as error:
        raise RunnerError(f"the folder {settings.folder} cannot be used: {error}") from None
    try:
        app = make_app(jobs)
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            ssl_certfile=certificate,
            ssl_keyfile=key,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            # A request is short; one that hangs must not hold the end of the runner.
            timeout_graceful_shutdown=5,
        )
        server = uvicorn.Server(config)
        app.router.lifespan_context = _ends_when_drained(server, jobs)
        log.info("Serving %s jobs at a time, labels: %s", settings.jobs, ", ".join(sorted(settings.labels)))
        if settings.containers is not None:
            log.info("Jobs run in containers: %s", jobs.engine())
        try:
            server.run()
        except SystemExit:
            raise RunnerError(f"cannot listen on {host}:{port}; see the line above") from None
    finally:
        jobs.close()


def _ends_when_drained(
    server: uvicorn.Server, jobs: Jobs
) -> Callable[[fastapi.FastAPI], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def lifespan(app: fastapi.FastAPI) -> AsyncIterator[None]:
        async def watch() -> None:
            while not jobs.drained:
                await asyncio.sleep(_DRAIN_LOOK)
            log.info("Drained: no job is left")
            server.should_exit = True

        task = asyncio.create_task(watch())
        yield
        task.cancel()

    return lifespan
