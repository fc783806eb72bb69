/** @module What the tracker's routes know of a request beside the request itself. */
import type { RequestEnv } from "../../../lib/http/server.ts";

/** Hono's environment: `c.env` is what the listener says of the connection; a bare `app.request()` says nothing. */
export interface TrackerEnv {
  Bindings: Partial<RequestEnv> | undefined;
}
