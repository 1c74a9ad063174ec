"""The server's routes: two for each model, the page, and those for operators."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from fastapi import FastAPI
from fastapi import Request as HttpRequest
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException

import plait
from plait.model import Model
from plait.types import BadCell, PlaitError, UsageError, column_text
from plait.web.batching import Batcher
from plait.web.guards import KEY_HEADER, Guards, Refused
from plait.web.schema import ROOT, Answers, BatchAnswers, Job, Problem, RequestBase, Schema
from plait.web.settings import Settings
from plait.web.watch import Metrics

log = logging.getLogger("plait.web")

PAGE = Path(__file__).parent / "page"
STATUSES = {
    401: "a key is needed", 403: "the request comes from a page of another site",
    413: "the request is too large", 415: "the request is neither JSON nor a form",
    422: "the request, or a file in it, can't be used", 429: "too many records are waiting",
    503: "the answer took too long",
}  # fmt: skip
HUNG = 60  # seconds beyond the time-out after which a batch counts as hung
CHECKERS = 4  # threads that look at the headers of files
LARGE = 1_000_000  # bytes of a body that is parsed in a thread, not in the event loop


class Server:
    """Models behind an ASGI app; ``app`` is what an ASGI server runs."""

    def __init__(self, models: Mapping[str, Model], settings: Settings) -> None:
        self.models, self.settings = models, settings
        self.schemas = {name: Schema(name, model, settings) for name, model in models.items()}
        self.metrics = Metrics(lambda: self.batcher.waiting)
        self.batcher = Batcher(models, settings, _workers(models), self.metrics.batch)
        self._checkers = anyio.CapacityLimiter(CHECKERS)
        self.api = self._routes()
        self.app = Guards(self.api, settings, self.metrics)

    def _routes(self) -> FastAPI:
        app = FastAPI(
            title="plait", version=plait.__version__, docs_url=None, redoc_url=None,
            openapi_url=None, lifespan=self._lifespan, redirect_slashes=False,
        )  # fmt: skip
        for kind in (Exception, PlaitError, HTTPException):
            app.add_exception_handler(kind, _failed)
        for name, schema in self.schemas.items():
            self._add(app, name, "predict", schema.one, Answers)
            self._add(app, name, "batch", schema.many, BatchAnswers)
        app.get("/models", summary="The models and what each one takes")(self._list)
        app.get("/health", summary="Whether the server answers")(self._health)
        metrics: Any = {"summary": "Metrics for Prometheus", "response_class": Response}
        app.get("/metrics", **metrics)(self._metrics)
        for path, respond in {
            "/openapi.json": lambda: JSONResponse(self._openapi),
            "/": lambda: FileResponse(PAGE / "index.html"),
            "/docs": lambda: FileResponse(PAGE / "docs.html"),
        }.items():
            app.get(path, include_in_schema=False, response_model=None)(respond)
        app.mount("/page", StaticFiles(directory=PAGE))
        return app

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        self.batcher.start()
        yield
        await anyio.to_thread.run_sync(self.batcher.stop)

    def _add(
        self, app: FastAPI, name: str, verb: str, body: type[RequestBase], answer: type[BaseModel]
    ) -> None:
        """Add the route for one record or for several; it takes JSON or a form."""
        single = answer is Answers

        async def handle(http: HttpRequest) -> Response:
            raw, content_type = await http.body(), http.headers.get("content-type", "")
            read = partial(self.schemas[name].read, body, content_type, raw)
            jobs = read() if len(raw) < LARGE else await anyio.to_thread.run_sync(read)
            results = await self._answer(jobs)
            if single and isinstance(results[0], PlaitError):
                return _refusal(results[0])
            found = [r if isinstance(r, Answers) else Problem(error=str(r)) for r in results]
            text = (found[0] if single else BatchAnswers(results=found)).model_dump_json()
            return Response(text, media_type="application/json")

        app.post(
            f"/models/{name}/{verb}",
            summary=f"{name}: one record" if single else f"{name}: several records",
            description=self.models[name].recipe.about,
            response_model=answer,
            responses={code: {"model": Problem, "description": d} for code, d in STATUSES.items()},
            operation_id=f"{name}-{verb}",
        )(handle)

    async def _answer(self, jobs: Sequence[Job]) -> list[Answers | PlaitError]:
        """Each record's answers, or what is wrong with it. Raises Refused if too many records wait,
        or it takes too long."""
        errors = await anyio.to_thread.run_sync(
            lambda: list(map(self._check, jobs)), limiter=self._checkers
        )
        jobs = [job for job, error in zip(jobs, errors, strict=True) if error is None]
        self.batcher.submit(jobs)
        futures = [asyncio.wrap_future(job.result) for job in jobs]
        try:
            with anyio.fail_after(self.settings.timeout):
                results = iter(await asyncio.gather(*futures))
        except TimeoutError:
            raise Refused(
                503, "the answer took too long", hint="try again, or ask for fewer beams"
            ) from None
        finally:
            self.batcher.withdraw(jobs)
        return [error or next(results) for error in errors]

    def _check(self, job: Job) -> BadCell | None:
        """What the headers of a record's files say against it, if anything."""
        modalities = self.models[job.model].parts.modalities
        for key, cell in job.record.items():
            try:
                self.settings.check_size(modalities[key].media_info(cell, ROOT))
            except BadCell as error:
                return BadCell(f"{key}: {error}")
        return None

    def _list(self) -> JSONResponse:
        return JSONResponse(self._listing)

    @cached_property
    def _listing(self) -> dict[str, Any]:
        """All that a page needs to offer every model."""
        models = []
        for name, model in self.models.items():
            schema, inputs = self.schemas[name], model.recipe.inputs
            cells = schema.inputs.model_json_schema()["properties"]
            models.append({
                "name": name,
                "about": model.recipe.about,
                "inputs": [
                    {"name": key, "modality": spec.modality,
                     "column": column_text(spec.column or key), "schema": cells[key]}
                    for key, spec in inputs.items()
                ],
                "outputs": list(model.recipe.outputs),
                "options": schema.options.model_json_schema()["properties"],
            })  # fmt: skip
        limits = {"request_bytes": self.settings.request_bytes, "seconds": self.settings.seconds,
                  "records": self.settings.records}  # fmt: skip
        return {"version": plait.__version__, "limits": limits, "models": models}

    def _health(self) -> JSONResponse:
        """503 if records are no longer being answered."""
        trouble = self.batcher.trouble(HUNG + self.settings.timeout)
        status = {"status": trouble or "ok", "waiting": self.batcher.waiting}
        return JSONResponse(status, 503 if trouble else 200)

    def _metrics(self) -> Response:
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")

    @cached_property
    def _openapi(self) -> dict[str, Any]:
        """FastAPI's own document, with the requests' schemas and the key."""
        api = get_openapi(title="plait", version=plait.__version__, routes=self.api.routes)
        bodies: dict[str, type[BaseModel]] = {}
        for name, schema in self.schemas.items():
            bodies |= {f"/models/{name}/predict": schema.one, f"/models/{name}/batch": schema.many}
        references, schemas = models_json_schema(
            [(body, "validation") for body in bodies.values()],
            ref_template="#/components/schemas/{model}",
        )
        api["components"]["schemas"].update(schemas["$defs"])
        for path, body in bodies.items():
            reference = {"schema": references[body, "validation"]}
            content = {"application/json": reference, "multipart/form-data": reference}
            api["paths"][path]["post"]["requestBody"] = {"required": True, "content": content}
        if self.settings.keys:
            key = {"type": "apiKey", "in": "header", "name": KEY_HEADER}
            api["components"]["securitySchemes"] = {"key": key}
            api["security"] = [{"key": []}]
        return api


def _workers(models: Mapping[str, Model]) -> int:
    """Threads that answer: one for each processor, but a single one for another device."""
    return min(
        model.engine.workers if model.engine.device == "cpu" else 1 for model in models.values()
    )


def _refusal(error: PlaitError) -> Response:
    """Never raise a kept error again: its frames would hold on to it and to the request."""
    if isinstance(error, Refused):
        status = error.status
    else:
        status = 422 if isinstance(error, (UsageError, BadCell)) else 503
    return JSONResponse({"error": str(error)}, status)


async def _failed(request: HttpRequest, error: Exception) -> Response:
    if isinstance(error, PlaitError):
        return _refusal(error)
    if isinstance(error, HTTPException):
        what = {"error": str(error.detail).lower()}
        return JSONResponse(what, error.status_code, error.headers)
    log.error("failed", exc_info=error)
    return JSONResponse({"error": "the server failed at this request"}, 500)
