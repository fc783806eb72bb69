/**
 * @module
 * The one error of the MetaInfo service, and its way over the wire and back.
 */
import { Code, ConnectError } from "@connectrpc/connect";

const wireCodes = {
  invalid_argument: Code.InvalidArgument,
  not_found: Code.NotFound,
  unauthenticated: Code.Unauthenticated,
  permission_denied: Code.PermissionDenied,
  unavailable: Code.Unavailable,
  deadline_exceeded: Code.DeadlineExceeded,
  resource_exhausted: Code.ResourceExhausted,
  failed_precondition: Code.FailedPrecondition,
  internal: Code.Internal,
} as const;

/** Why no metainfo came. The words are those of gRPC. */
export type MetaInfoErrorCode = keyof typeof wireCodes;

const codesByWire = new Map<Code, MetaInfoErrorCode>(
  (Object.keys(wireCodes) as MetaInfoErrorCode[]).map((code) => [wireCodes[code], code]),
);

/** Codes that every seeder would give alike: the question is answered, and asking elsewhere is no use. */
const finalCodes: ReadonlySet<MetaInfoErrorCode> = new Set([
  "invalid_argument",
  "not_found",
  "unauthenticated",
  "permission_denied",
  "resource_exhausted",
  "failed_precondition",
]);

/** Response metadata (RFC 9110 section 11.6.1) that carries {@link MetaInfoError.challenge}. */
const CHALLENGE_HEADER = "www-authenticate";

/** A failed MetaInfo call. */
export class MetaInfoError extends Error {
  readonly code: MetaInfoErrorCode;
  /** A seeder said so: else none did, as far as is known. */
  readonly spoken: boolean;
  /** `WWW-Authenticate` of the origin, where the origin refused the caller. */
  readonly challenge?: string;

  /**
   * @param code one of the closed list
   * @param message what happened, to which blob or host; no secrets: it travels to the asker
   */
  constructor(
    code: MetaInfoErrorCode,
    message: string,
    options: { challenge?: string; spoken?: boolean; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "MetaInfoError";
    this.code = code;
    this.spoken = options.spoken ?? false;
    if (options.challenge !== undefined) this.challenge = options.challenge;
  }
}

/** A failure seen from the client's side. */
export interface SeederFailure {
  error: MetaInfoError;
  /** The seeder itself said so (a gRPC status came): it lives, whatever became of the question. */
  spoken: boolean;
  /** No other seeder would answer otherwise. */
  final: boolean;
}

/** A service's error as the wire carries it. Anything but a `MetaInfoError` is told as a bare "internal": its text may hold what is not the asker's. */
export function toConnectError(reason: unknown): ConnectError {
  if (reason instanceof ConnectError) return reason;
  if (!(reason instanceof MetaInfoError)) {
    return new ConnectError("internal error", Code.Internal, undefined, undefined, reason);
  }
  const metadata = new Headers();
  const challenge = reason.challenge === undefined ? "" : headerValue(reason.challenge);
  if (challenge !== "") metadata.set(CHALLENGE_HEADER, challenge);
  return new ConnectError(reason.message, wireCodes[reason.code], metadata, undefined, reason);
}

/**
 * What a failed call to a seeder means.
 * @param reason whatever the transport threw
 * @param seeder names the seeder in the message
 */
export function fromConnectError(reason: unknown, seeder: string): SeederFailure {
  if (reason instanceof MetaInfoError) return { error: reason, spoken: false, final: false };
  const wire = ConnectError.from(reason);
  // Without a gRPC status nobody spoke: the connection broke, or something else listens at that address.
  const spoken = wire.metadata.has("grpc-status");
  if (!spoken) {
    const error = new MetaInfoError("unavailable", `seeder ${seeder}: ${wire.rawMessage}`, { cause: reason });
    return { error, spoken: false, final: false };
  }
  const code = codesByWire.get(wire.code) ?? "internal";
  const challenge = wire.metadata.get(CHALLENGE_HEADER) ?? undefined;
  const error = new MetaInfoError(code, wire.rawMessage, {
    cause: reason,
    spoken: true,
    ...(challenge && { challenge }),
  });
  return { error, spoken: true, final: finalCodes.has(code) };
}

/** The printable part of an origin's header: what came from outside must not be able to end the header or fail the reply. */
function headerValue(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, "").trim();
}
