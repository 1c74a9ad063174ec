"""The server's routes: two a model, the page, and what operators ask for."""

from __future__ import annotations

import asyncio
import importlib.resources
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
import torch
from fastapi import FastAPI
from fastapi import Request as HttpRequest
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException

import plait
from plait.config import registry
from plait.model import Model
from plait.types import BadCell, PlaitError, UsageError
from plait.web.answers import HERE, Answered, ManyAnswered, Problem
from plait.web.batching import Batcher, Full, Job
from plait.web.guards import KEY_HEADER, App, Guards, Refused
from plait.web.schema import Request, Schema, Wanted, make_schema
from plait.web.settings import Settings
from plait.web.watch import Metrics

log = logging.getLogger("plait.web")

PAGE = importlib.resources.files("plait") / "web" / "page"
KINDS = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
STATUSES = {
    401: "a key is needed", 403: "a page of another site asks", 413: "the request is too large",
    415: "neither JSON nor a form", 422: "the request or a file in it can't be used",
    429: "too many records wait", 503: "the answer took too long",
}  # fmt: skip
HUNG = 60  # seconds beyond the time-out: no batch takes so long
CHECKING = 4  # threads that look at files' headers
LARGE = 1_000_000  # bytes of a body that is taken apart beside the event loop


class Server:
    """Models behind an ASGI app; ``app`` is what an ASGI server runs."""

    def __init__(self, models: Mapping[str, Model], settings: Settings) -> None:
        self.models, self.settings = models, settings
        self.schemas = {name: make_schema(name, model, settings) for name, model in models.items()}
        self.batcher = Batcher(
            models, settings.waiting, settings.batch, settings.gather, _workers(models), self._count
        )
        self.metrics = Metrics(lambda: self.batcher.waiting)
        self._checking = anyio.CapacityLimiter(CHECKING)
        self._describe: dict[str, Any] = {}
        self.app: App = Guards(self._routes(), settings, self.metrics)

    def _count(self, model: str, records: int, seconds: float) -> None:
        self.metrics.batch(model, records, seconds)

    def _routes(self) -> FastAPI:
        app = FastAPI(
            title="plait", version=plait.__version__, docs_url=None, redoc_url=None,
            openapi_url=None, lifespan=self._lifespan, redirect_slashes=False,
        )  # fmt: skip
        app.add_exception_handler(Exception, _unexpected)
        app.add_exception_handler(PlaitError, _told)
        app.add_exception_handler(HTTPException, _http_error)
        for name, schema in self.schemas.items():
            self._add(app, name, "predict", schema.one, Answered)
            self._add(app, name, "batch", schema.many, ManyAnswered)
        app.get("/models", summary="What is served, and what each model takes")(self._list)
        app.get("/health", summary="Whether the server answers")(self._health)
        app.get("/metrics", summary="For Prometheus", response_class=Response)(self._metrics)
        app.get("/openapi.json", include_in_schema=False)(lambda: JSONResponse(self._openapi(app)))
        for path, body, kind in page_files():
            app.get(path, include_in_schema=False)(_file(body, kind))
        return app

    @asynccontextmanager
    async def _lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        self.batcher.start()
        yield
        await anyio.to_thread.run_sync(self.batcher.stop)

    def _add(
        self,
        app: FastAPI,
        name: str,
        what: str,
        body: type[Wanted],
        answer: type[Answered] | type[ManyAnswered],
    ) -> None:
        """The route of one record or of several, which takes JSON or a form."""
        schema, single = self.schemas[name], answer is Answered

        async def handle(request: HttpRequest) -> Response:
            asked = await self._understand(request, schema, body)
            results = await self._answer(name, asked)
            if not single:
                found = [r if isinstance(r, Answered) else Problem(error=str(r)) for r in results]
                return _json(ManyAnswered(results=found))
            (result,) = results
            return _json(result) if isinstance(result, Answered) else _refusal(result)

        about = self.models[name].recipe.about
        app.post(
            f"/models/{name}/{what}",
            summary=f"{name}: one record" if single else f"{name}: several records",
            description=about,
            response_model=answer,
            responses={code: {"model": Problem, "description": d} for code, d in STATUSES.items()},
            operation_id=f"{name}-{what}",
        )(handle)

    async def _understand(
        self, request: HttpRequest, schema: Schema, body: type[Wanted]
    ) -> Request:
        """The request's body, checked, and the sizes that its files claim."""
        raw, kind = await request.body(), request.headers.get("content-type", "")
        if len(raw) < LARGE:
            asked = schema.read(body, kind, raw)
        else:
            asked = await anyio.to_thread.run_sync(schema.read, body, kind, raw)
        self.models[schema.name].decoding_options(**asked.options)  # raises UsageError
        return asked

    async def _answer(self, name: str, asked: Request) -> list[Answered | PlaitError]:
        """Each record's answers, or what is wrong with it.

        Raises:
            Full: too many records wait.
            Refused: it takes too long.
        """
        bad = await anyio.to_thread.run_sync(
            lambda: [self._check(name, record) for record in asked.records],
            limiter=self._checking,
        )
        options = tuple(sorted(asked.options.items()))
        jobs = {
            row: Job(name, record, options, asked.shares, asked.explain)
            for row, record in enumerate(asked.records)
            if bad[row] is None
        }
        self.batcher.submit(list(jobs.values()))
        waiting = [asyncio.wrap_future(job.result) for job in jobs.values()]
        try:
            with anyio.fail_after(self.settings.timeout):
                found = iter(await asyncio.gather(*waiting, return_exceptions=True))
        except TimeoutError:
            raise Refused(
                503, "the answer took too long", hint="try again, or ask for fewer beams"
            ) from None
        finally:
            self.batcher.forget(jobs.values())
        return [_outcome(bad[row] or next(found)) for row in range(len(asked.records))]

    def _check(self, name: str, record: Mapping[str, Any]) -> BadCell | None:
        """What is wrong with a record by the headers of its files; None where nothing is."""
        for key, cell in record.items():
            try:
                self.settings.check(self.models[name].parts.modalities[key].media_info(cell, HERE))
            except BadCell as error:
                return BadCell(f"{key}: {error}")
        return None

    def _list(self) -> JSONResponse:
        """What a page needs to offer every model."""
        if not self._describe:
            self._describe = {
                "version": plait.__version__,
                "limits": {"request_bytes": self.settings.request_bytes,
                           "seconds": self.settings.seconds, "records": self.settings.records},
                "models": [self._about(name) for name in self.models],
            }  # fmt: skip
        return JSONResponse(self._describe)

    def _about(self, name: str) -> dict[str, Any]:
        model, schema = self.models[name], self.schemas[name]
        cells = schema.inputs.model_json_schema()["properties"]
        return {
            "name": name,
            "about": model.recipe.about,
            "inputs": [
                {"name": key, "modality": spec.modality, "column": schema.columns[key],
                 "schema": cells[key], "form": _form(spec.modality)}
                for key, spec in model.recipe.inputs.items()
            ],
            "outputs": list(model.recipe.outputs),
            "options": schema.options.model_json_schema()["properties"],
        }  # fmt: skip

    def _health(self) -> JSONResponse:
        """503 where records are not answered any more."""
        ails = self.batcher.ails(HUNG + self.settings.timeout)
        status = {"status": ails or "ok", "waiting": self.batcher.waiting}
        return JSONResponse(status, 503 if ails else 200)

    def _metrics(self) -> Response:
        return Response(self.metrics.text(), media_type="text/plain; version=0.0.4")

    def _openapi(self, app: FastAPI) -> dict[str, Any]:
        """FastAPI's own, with the requests' schemas and the key added."""
        if app.openapi_schema is None:
            found = get_openapi(title="plait", version=plait.__version__, routes=app.routes)
            self._add_bodies(found)
            if self.settings.keys:
                key = {"type": "apiKey", "in": "header", "name": KEY_HEADER}
                found["components"]["securitySchemes"] = {"key": key}
                found["security"] = [{"key": []}]
            app.openapi_schema = found
        return app.openapi_schema

    def _add_bodies(self, api: dict[str, Any]) -> None:
        """What every model's routes take, to an OpenAPI document."""
        bodies: dict[str, type[BaseModel]] = {}
        for name, schema in self.schemas.items():
            bodies |= {f"/models/{name}/predict": schema.one, f"/models/{name}/batch": schema.many}
        references, own = models_json_schema(
            [(body, "validation") for body in bodies.values()],
            ref_template="#/components/schemas/{model}",
        )
        api["components"]["schemas"].update(own["$defs"])
        for path, body in bodies.items():
            reference = {"schema": references[body, "validation"]}
            content = {"application/json": reference, "multipart/form-data": reference}
            api["paths"][path]["post"]["requestBody"] = {"required": True, "content": content}


def _workers(models: Mapping[str, Model]) -> int:
    """Threads that answer: one a processor, and one alone where another device computes."""
    elsewhere = any(model.device.type != "cpu" for model in models.values())
    return 1 if elsewhere else torch.get_num_threads()


def page_files() -> Sequence[tuple[str, bytes, str]]:
    """Path, content and kind of every file of the page: read once, so that no path that a client
    names is ever looked up."""
    found = []
    for file in PAGE.iterdir():
        kind = KINDS[file.name.rpartition(".")[2]]
        path = {"index.html": "/", "docs.html": "/docs"}.get(file.name, f"/page/{file.name}")
        found.append((path, file.read_bytes(), kind))
    return found


def _file(body: bytes, kind: str) -> Callable[[], Awaitable[Response]]:
    async def send() -> Response:
        return Response(body, media_type=kind)

    return send


def _json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")


def _outcome(found: Any) -> Answered | PlaitError:
    """A record's own error stays; any other fails the whole request."""
    if isinstance(found, BaseException) and not isinstance(found, PlaitError):
        raise found
    assert isinstance(found, (Answered, PlaitError))
    return found


def _status(error: PlaitError) -> int:
    if isinstance(error, Refused):
        return error.status
    if isinstance(error, Full):
        return 429
    return 422 if isinstance(error, (UsageError, BadCell)) else 503


async def _told(request: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, PlaitError)
    return _refusal(error)


def _refusal(error: PlaitError) -> Response:
    """Never raised again from where it is kept: its frames would hold it, and the request."""
    return JSONResponse({"error": str(error)}, _status(error))


async def _http_error(request: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": str(error.detail).lower()}, error.status_code, error.headers)


async def _unexpected(request: HttpRequest, error: Exception) -> Response:
    log.error("failed", exc_info=error)
    return JSONResponse({"error": "the server failed at this request"}, 500)


def _form(modality: str) -> dict[str, str]:
    """How the page asks for a cell."""
    facts = registry.modality(modality).facts
    return {"widget": facts.widget, "accept": facts.accept, "noun": facts.noun}
