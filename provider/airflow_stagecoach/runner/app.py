"""The HTTP face of a runner. Everything but ``/health`` wants the token.

======  ======================  ================================================================
PUT     /jobs/NAME              take a job in: an archive, and what it is in ``Stagecoach-Job``
GET     /jobs?key=KEY           the jobs of a task, or all
GET     /jobs/NAME              one job
GET     /jobs/NAME/log?from=N   whole lines of output; ``Stagecoach-Position``: where the next begin
GET     /jobs/NAME/result       the result document
POST    /jobs/NAME/stop         ask it to end
DELETE  /jobs/NAME              remove it, stopping it first
GET     /legs                   the scratch folders that jobs share
DELETE  /legs/KEY               remove one
GET     /runner                 what this runner is and does
POST    /drain                  take no new jobs, end when these are done
GET     /health, /metrics       for whoever watches the runner
======  ======================  ================================================================
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
from typing import TYPE_CHECKING, Any

import fastapi
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response

from airflow_stagecoach import __version__
from airflow_stagecoach.runner.jobs import KEY, NAME, Refused
from airflow_stagecoach.runner.metrics import metrics
from airflow_stagecoach.runner.shipment import BadShipment
from airflow_stagecoach.runner.store import QUEUED, RUNNING, Order

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_stagecoach.runner.jobs import Jobs
    from airflow_stagecoach.runner.store import Job

#: Header of a new job: JSON with ``key``; ``labels``, ``image``, ``owner`` and ``leg`` (``key``, ``keep``) if
#: need be.
JOB_HEADER = "Stagecoach-Job"

#: Header of an answer with output: where the next lines begin, in bytes.
POSITION_HEADER = "Stagecoach-Position"


def make_app(jobs: Jobs) -> fastapi.FastAPI:
    """The application that serves these jobs."""
    app = fastapi.FastAPI(title="Stagecoach runner", openapi_url=None)
    guarded = fastapi.APIRouter(dependencies=[fastapi.Depends(_token_check(jobs.settings.tokens))])
    limit = jobs.settings.largest_request

    def known(name: str) -> Job:
        job = jobs.get(_checked(name))
        if job is None:
            raise fastapi.HTTPException(404, f"there is no job {name} here")
        return job

    @app.get("/health")
    def health() -> dict[str, Any]:
        return {
            "status": "draining" if jobs.draining else "ok",
            "version": __version__,
            "isolation": jobs.settings.isolation,
        }

    @guarded.get("/metrics")
    def show_metrics() -> Response:
        return PlainTextResponse(metrics(jobs), media_type="text/plain; version=0.0.4")

    @guarded.get("/runner")
    def runner() -> dict[str, Any]:
        settings = jobs.settings
        return {
            "version": __version__,
            "labels": sorted(settings.labels),
            "jobs": settings.jobs,
            "queue": settings.queue,
            "max_minutes": settings.longest_run / 60,
            "draining": jobs.draining,
            "isolation": settings.isolation,
            "image": None if settings.containers is None else settings.containers.image,
            "allowed_images": [] if settings.containers is None else list(settings.containers.allowed),
            "engine": jobs.engine(),
            "now": time.time(),  # the moments of jobs are this clock's, not that of who asks
        }

    @guarded.post("/drain")
    def drain() -> dict[str, Any]:
        jobs.drain()
        return {"draining": True}

    @guarded.put("/jobs/{name}")
    async def put(name: str, request: fastapi.Request) -> Response:
        order = _order(_checked(name), request.headers.get(JOB_HEADER, ""))
        try:
            try:
                there = await run_in_threadpool(jobs.admit, order)
            except Refused:
                # Who still sends would not hear the answer.
                await _read(request, limit, None)
                raise
            if there is not None:
                await _read(request, limit, None)
                return JSONResponse(_shown(there))
            archive = await run_in_threadpool(jobs.incoming)
            try:
                with open(archive, "wb") as file:
                    await _read(request, limit, file.write)
                job, new = await run_in_threadpool(jobs.accept, order, archive)
            finally:
                os.unlink(archive)
        except Refused as error:
            headers = {"Retry-After": str(error.retry_after)} if error.retry_after else None
            raise fastapi.HTTPException(error.status, str(error), headers) from None
        except BadShipment as error:
            raise fastapi.HTTPException(400, str(error)) from None
        return JSONResponse(_shown(job), status_code=201 if new else 200)

    @guarded.get("/jobs")
    def find(key: str | None = None) -> dict[str, Any]:
        found = jobs.all() if key is None else jobs.of_key(key)
        return {"jobs": [_shown(job) for job in found]}

    @guarded.get("/jobs/{name}")
    def show(name: str) -> dict[str, Any]:
        return _shown(known(name))

    @guarded.get("/jobs/{name}/log")
    def output(name: str, start: int = fastapi.Query(0, alias="from", ge=0)) -> Response:
        known(name)
        data, position = jobs.output(name, start)
        headers = {POSITION_HEADER: str(position)}
        return Response(data, media_type="application/octet-stream", headers=headers)

    @guarded.get("/jobs/{name}/result")
    def result(name: str) -> Response:
        path = jobs.result(known(name))
        if path is None:
            raise fastapi.HTTPException(404, f"{name} has no result")
        return FileResponse(path, media_type="application/json")

    @guarded.post("/jobs/{name}/stop")
    def stop(name: str) -> Response:
        known(name)
        job = jobs.stop(name)
        return JSONResponse(_shown(job) if job is not None else {}, status_code=202)

    @guarded.delete("/jobs/{name}")
    def delete(name: str) -> Response:
        return Response(status_code=204 if jobs.delete(_checked(name)) else 202)

    @guarded.get("/legs")
    def legs() -> dict[str, Any]:
        return {
            "legs": [
                {"key": leg.key, "owner": json.loads(leg.owner), "keep": bool(leg.keep)}
                for leg in jobs.legs()
            ]
        }

    @guarded.delete("/legs/{key}")
    def delete_leg(key: str) -> Response:
        if not KEY.fullmatch(key):
            raise fastapi.HTTPException(422, "the key of a leg is small letters and digits")
        jobs.delete_leg(key)
        return Response(status_code=204)

    app.include_router(guarded)
    return app


def _token_check(tokens: tuple[str, ...]) -> Callable[[fastapi.Request], None]:
    # Of equal length, so that a comparison takes the same time whatever was sent.
    accepted = [_digest(token.encode()) for token in tokens]

    def check(request: fastapi.Request) -> None:
        scheme, _, sent = request.headers.get("Authorization", "").partition(" ")
        given = _digest(sent.strip().encode("utf-8", "replace"))
        matches = [hmac.compare_digest(given, one) for one in accepted]
        if scheme.lower() != "bearer" or not any(matches):
            raise fastapi.HTTPException(401, "the token is missing or wrong", {"WWW-Authenticate": "Bearer"})

    return check


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise fastapi.HTTPException(
            422, "the name of a job is small letters, digits and hyphens, at most 63, a letter first"
        )
    return name


def _order(name: str, header: str) -> Order:
    """A new job from what its header says."""
    try:
        said = json.loads(header)
        key, labels, owner, leg = said["key"], said.get("labels", []), said.get("owner", {}), said.get("leg")
        image = said.get("image")
        fits = isinstance(key, str) and 0 < len(key) <= 256 and isinstance(owner, dict)
        fits = fits and isinstance(labels, list) and all(isinstance(label, str) for label in labels)
        fits = fits and (image is None or (isinstance(image, str) and 0 < len(image) <= 512))
        if not fits or (leg is not None and not KEY.fullmatch(leg["key"])):
            raise ValueError
        shared = None if leg is None else leg["key"]
        keep = leg is not None and leg.get("keep") is True
    except (ValueError, TypeError, KeyError, AttributeError):
        raise fastapi.HTTPException(
            422, f'the header {JOB_HEADER} must hold JSON such as {{"key": "3f2a", "labels": ["gpu"]}}'
        ) from None
    return Order(name, key, frozenset(labels), json.dumps(owner), shared, keep, image)


async def _read(request: fastapi.Request, limit: int, write: Callable[[bytes], object] | None) -> None:
    """Read a request to its end.

    :param limit: in bytes
    :param write: gets it piece by piece; ``None`` throws it away
    """
    too_long = fastapi.HTTPException(413, f"a request may have {limit / 1e6:g} MB at most")
    length = request.headers.get("Content-Length", "")
    if length.isdigit() and int(length) > limit:
        raise too_long
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise too_long
        if write is not None:
            write(chunk)


def _shown(job: Job) -> dict[str, Any]:
    """A job as answers have it; moments are seconds since the epoch."""
    return {
        "name": job.name,
        "key": job.key,
        "state": job.state,
        "stopping": job.stopping is not None and job.state in (QUEUED, RUNNING),
        "exit_code": job.exit_code,
        "reason": job.reason,
        "message": job.message,
        "queued": job.queued,
        "started": job.started,
        "ended": job.ended,
        "image": job.image,
        "owner": json.loads(job.owner),
    }
