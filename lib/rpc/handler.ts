/**
 * @module
 * Serves a MetaInfoService by gRPC, gRPC-Web and Connect (JSON and binary, POST and GET) on whatever Node-style server it is put into.
 */
import { constants } from "node:http2";
import { Code, ConnectError, createContextKey, createContextValues, type HandlerContext } from "@connectrpc/connect";
import { compressionGzip, connectNodeAdapter } from "@connectrpc/connect-node";
import { ClusterAuth } from "../cluster/cluster-auth.ts";
import { isPartNodeRequest } from "../cluster/received.ts";
import type { NodeHandler } from "../http/server.ts";
import type { Logger } from "../log/log.ts";
import { MetaInfoError, toConnectError } from "./errors.ts";
import { toMessage } from "./events.ts";
import { MetaInfo, type MetaInfoRequest } from "./gen/metainfo/metainfo_pb.ts";
import {
  AUTHORIZATION_HEADER,
  MAX_REPLY_BYTES,
  MAX_REQUEST_BYTES,
  type MetaInfoQuery,
  type MetaInfoService,
} from "./meta-info.ts";
import { withSignOfLife } from "./sign-of-life.ts";

type NodeRequest = Parameters<NodeHandler>[0];

/** Options of {@link metaInfoHandler}. */
export interface MetaInfoHandlerOptions {
  /** A stream silent for so long at its start gets one `progress` of 0 bytes. Less than the clients' deadline. @default 1000 */
  signOfLifeMs?: number;
  /** A request message must have arrived in this time. @default 10000 */
  requestTimeoutMs?: number;
  /** Aborted at shutdown: every call's signal is then aborted. */
  signal?: AbortSignal;
  /** Hears of errors that are no `MetaInfoError`: defects. */
  log?: Logger;
  /** Tells calls of the cluster's own parts. @default everybody is a stranger */
  cluster?: ClusterAuth;
}

/** Larger than most messages: piece hashes do not compress, so only JSON of big ones is worth the time. */
const COMPRESS_MIN_BYTES = 64 * 1024;

/** Told by the call once its request message is complete. */
const arrivedKey = createContextKey<() => void>(() => {}, { description: "request message has arrived" });

/** Whether a part of this cluster calls. */
const partKey = createContextKey<boolean>(false, { description: "a part of this cluster calls" });

/**
 * Makes the request listener of a service. It takes the paths `/metainfo.MetaInfo/*` of the service's methods and calls `next` for
 * all others. Request messages are at most 64 KiB, replies at most 64 MiB.
 */
export function metaInfoHandler(
  service: MetaInfoService,
  {
    signOfLifeMs = 1000,
    requestTimeoutMs = 10_000,
    signal,
    log,
    cluster = new ClusterAuth(),
  }: MetaInfoHandlerOptions = {},
): NodeHandler {
  const arrivals = new WeakMap<NodeRequest, () => void>();

  function failure(reason: unknown, context: HandlerContext): ConnectError {
    if (context.signal.aborted) return ConnectError.from(context.signal.reason, Code.Canceled);
    const error = toConnectError(reason);
    // What is wrong with a blob or its origin is an answer, and no fault of the service.
    if (error.code === Code.Internal && !(reason instanceof MetaInfoError))
      log?.error("MetaInfo call failed", { method: context.method.name, error: reason });
    return error;
  }

  const adapter = connectNodeAdapter({
    readMaxBytes: MAX_REQUEST_BYTES,
    writeMaxBytes: MAX_REPLY_BYTES,
    acceptCompression: [compressionGzip],
    compressMinBytes: COMPRESS_MIN_BYTES,
    ...(signal && { shutdownSignal: signal }),
    contextValues: (req) =>
      createContextValues()
        .set(arrivedKey, arrivals.get(req) ?? (() => {}))
        .set(partKey, isPartNodeRequest(cluster, req)),
    routes(router) {
      router.service(MetaInfo, {
        async getMetaInfo(request, context) {
          context.values.get(arrivedKey)();
          try {
            return { metainfo: await service.getMetaInfo(queryOf(request, context)) };
          } catch (reason) {
            throw failure(reason, context);
          }
        },
        async *streamMetaInfo(request, context) {
          context.values.get(arrivedKey)();
          try {
            const events = service.streamMetaInfo(queryOf(request, context));
            const lively = withSignOfLife(events, { afterMs: signOfLifeMs, signal: context.signal });
            for await (const event of lively) yield toMessage(event);
          } catch (reason) {
            throw failure(reason, context);
          }
        },
      });
    },
  });
  const paths = new Set(MetaInfo.methods.map((method) => `/${MetaInfo.typeName}/${method.name}`));

  return function handleMetaInfo(req, res, next) {
    if (!paths.has(req.url?.split("?", 1)[0] ?? "")) {
      next();
      return;
    }
    const timer = setTimeout(() => hangUp(req), requestTimeoutMs);
    arrivals.set(req, () => clearTimeout(timer));
    res.once("close", () => clearTimeout(timer));
    // An asker that breaks off shows in its call's signal; unheard, the error would end the process.
    req.on("error", () => {});
    res.on("error", () => {});
    try {
      adapter(req, res);
    } catch {
      // A request without a usable Host or :authority.
      res.statusCode = 400;
      res.end();
    }
  };
}

function queryOf(request: MetaInfoRequest, context: HandlerContext): MetaInfoQuery {
  const authorization = context.requestHeader.get(AUTHORIZATION_HEADER);
  return {
    url: request.url,
    signal: context.signal,
    ...(authorization !== null && { authorization }),
    ...(context.values.get(partKey) && { isPart: true }),
  };
}

function hangUp(req: NodeRequest): void {
  if ("stream" in req) req.stream.close(constants.NGHTTP2_CANCEL);
  else req.socket.destroy();
}
