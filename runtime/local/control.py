"""`/_local/`: look into the endpoint, set faults, start over. JSON over HTTP, for tests in any language."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from aiohttp import web

from runtime.local.faults import BadFault, Faults, parse_fault
from runtime.local.service import BadControl, Service
from runtime.local.state import LocalState

_ROOT: Final = "/_local"


class Control:
    """The handlers. Each service has its part of what is shown and reset, and may have calls of its own."""

    def __init__(self, *, state: LocalState, faults: Faults, services: Mapping[str, Service]) -> None:
        self._state = state
        self._faults = faults
        self._services = services
        self._operations = {name: service.operations for name, service in services.items()}

    def routes(self) -> list[web.RouteDef]:
        handlers: list[tuple[str, str, Callable[[web.Request], Awaitable[web.StreamResponse]]]] = [
            ("GET", "", self._show),
            ("GET", "/", self._show),
            ("DELETE", "", self._reset),
            ("DELETE", "/", self._reset),
            ("GET", "/health", self._health),
            ("GET", "/faults", self._list_faults),
            ("POST", "/faults", self._add_fault),
            ("DELETE", "/faults", self._clear_faults),
            ("DELETE", "/faults/{id}", self._remove_fault),
            ("POST", "/{service}/{call}", self._call),
            ("*", "/{rest:.*}", self._unknown),
        ]
        return [web.route(method, _ROOT + path, handler) for method, path, handler in handlers]

    async def _health(self, _request: web.Request) -> web.Response:
        return _json({"status": "ok", "services": sorted(self._services)})

    async def _unknown(self, request: web.Request) -> web.Response:
        return _json({"error": f"there is no {request.method} {request.path}"}, status=404)

    async def _show(self, _request: web.Request) -> web.Response:
        shown: dict[str, Any] = {"seed": self._state.seed}
        for service in self._services.values():
            shown |= service.inspect()
        shown["requests"] = dict(sorted(self._state.requests.items()))
        return _json({**shown, "faults": [fault.as_json() for fault in self._faults.every()]})

    async def _reset(self, _request: web.Request) -> web.Response:
        """Everything the services hold is gone, and counts and faults with it."""
        for service in self._services.values():
            service.reset()
        self._faults.clear()
        return _json({})

    async def _call(self, request: web.Request) -> web.Response:
        """A control call of one service: `POST /_local/kinesis/trim`."""
        service = self._services.get(request.match_info["service"])
        call = None if service is None else service.controls.get(request.match_info["call"])
        if call is None:
            return await self._unknown(request)
        try:
            return _json(call(msgspec.json.decode(await request.read() or b"{}", type=dict[str, Any])))
        except msgspec.ValidationError:
            return _json({"error": "the body is not a JSON object"}, status=400)
        except msgspec.DecodeError as error:
            return _json({"error": f"the body is not JSON: {error}"}, status=400)
        except BadControl as error:
            return _json({"error": str(error)}, status=400)

    async def _list_faults(self, _request: web.Request) -> web.Response:
        return _json({"faults": [fault.as_json() for fault in self._faults.every()]})

    async def _add_fault(self, request: web.Request) -> web.Response:
        try:
            fault = parse_fault(msgspec.json.decode(await request.read()), services=self._operations)
        except msgspec.DecodeError as error:
            return _json({"error": f"the body is not JSON: {error}"}, status=400)
        except BadFault as error:
            return _json({"error": str(error)}, status=400)
        return _json(self._faults.add(fault).as_json(), status=201)

    async def _clear_faults(self, _request: web.Request) -> web.Response:
        self._faults.clear()
        return _json({})

    async def _remove_fault(self, request: web.Request) -> web.Response:
        fault_id = request.match_info["id"]
        if not self._faults.remove(fault_id):
            return _json({"error": f"there is no fault {fault_id!r}"}, status=404)
        return _json({})


def _json(content: dict[str, Any], *, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(content), status=status, content_type="application/json")
