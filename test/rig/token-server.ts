/**
 * @module A token server for Distribution's token authentication (docs: "Token Authentication Specification"), in the
 * process of the test.
 */
import { createPrivateKey, randomUUID, sign } from "node:crypto";
import { readFile } from "node:fs/promises";
import http, { type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import type { Rig } from "./rig.ts";

/** What a token allows. */
export interface TokenAccess {
  type: string;
  name: string;
  actions: string[];
}

/** How the server decides. */
export interface TokenServerOptions {
  /** User names and passwords. */
  users: Record<string, string>;
  /** Which of the asked actions are given. `user` is undefined for an anonymous caller. */
  allow: (user: string | undefined, access: TokenAccess) => string[];
  /** Seconds a token lives. @default 300 */
  ttl?: number;
  /** The host that the realm names; it has to lead to 127.0.0.1. @default "127.0.0.1" */
  realmHost?: string;
}

/** One request the server answered. */
export interface TokenRequest {
  user: string | undefined;
  scopes: string[];
  status: number;
}

/** A running token server; the rig closes it. */
export interface TokenServer {
  realm: URL;
  service: string;
  issuer: string;
  certificateFile: string;
  requests: TokenRequest[];
  /** An Authorization header with a token made here, without asking the server. */
  bearer(user: string, access: TokenAccess[]): string;
  close(): Promise<void>;
}

const service = "registry.rig";
const issuer = "rig";

/** Starts a token server with a key of its own. Needs the tool `openssl` for the certificate. */
export async function startTokenServer(rig: Rig, options: TokenServerOptions): Promise<TokenServer> {
  const { users, allow, ttl = 300, realmHost = "127.0.0.1" } = options;
  const keyFile = rig.path("token-key.pem");
  const certificateFile = rig.path("token-cert.pem");
  const request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=rig", "-days", "2"];
  await rig.processes.run("openssl", [...request, "-keyout", keyFile, "-out", certificateFile]);
  const key = createPrivateKey(await readFile(keyFile));
  const certificate = (await readFile(certificateFile, "utf8")).replace(/-----[^-]+-----|\s/g, "");

  const makeToken = (user: string, access: TokenAccess[]): string => {
    const now = Math.floor(Date.now() / 1000);
    const header = { typ: "JWT", alg: "RS256", x5c: [certificate] };
    const times = { exp: now + ttl, nbf: now - 10, iat: now };
    const claims = { iss: issuer, sub: user, aud: service, ...times, jti: randomUUID(), access };
    const body = `${base64url(header)}.${base64url(claims)}`;
    return `${body}.${sign("RSA-SHA256", Buffer.from(body), key).toString("base64url")}`;
  };

  const requests: TokenRequest[] = [];
  const server = http.createServer(async (request, response) => {
    // By GET with Basic, or by POST with a form as in OAuth 2, which containerd does.
    const form = request.method === "POST" ? await readForm(request) : undefined;
    const query = form ?? new URL(request.url ?? "/", "http://token.rig").searchParams;
    const scopes = query
      .getAll("scope")
      .flatMap((scope) => scope.split(" "))
      .filter(Boolean);
    const credentials = form ? formCredentials(form) : basicCredentials(request);
    if (credentials !== undefined && users[credentials.user] !== credentials.password) {
      requests.push({ user: credentials.user, scopes, status: 401 });
      response.writeHead(401, { "www-authenticate": 'Basic realm="rig"' }).end();
      return;
    }
    const user = credentials?.user;
    requests.push({ user, scopes, status: 200 });
    const access = scopes.map(parseScope).map((asked) => ({ ...asked, actions: allow(user, asked) }));
    const token = makeToken(user ?? "", access);
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ token, access_token: token, expires_in: ttl, issued_at: new Date().toISOString() }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return rig.use({
    realm: new URL(`http://${realmHost}:${port}/token`),
    service,
    issuer,
    certificateFile,
    requests,
    bearer: (user, access) => `Bearer ${makeToken(user, access)}`,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  });
}

/** Splits `repository:library/app:pull,push`. */
function parseScope(scope: string): TokenAccess {
  const [type = "", ...rest] = scope.split(":");
  const actions = (rest.pop() ?? "").split(",");
  return { type, name: rest.join(":"), actions };
}

function basicCredentials(request: IncomingMessage): { user: string; password: string } | undefined {
  const encoded = /^Basic (.+)$/i.exec(request.headers.authorization ?? "")?.[1];
  if (encoded === undefined) return undefined;
  const [user = "", ...password] = Buffer.from(encoded, "base64").toString("utf8").split(":");
  return { user, password: password.join(":") };
}

async function readForm(request: IncomingMessage): Promise<URLSearchParams> {
  let text = "";
  for await (const chunk of request) text += String(chunk);
  return new URLSearchParams(text);
}

function formCredentials(form: URLSearchParams): { user: string; password: string } | undefined {
  const user = form.get("username");
  return user === null ? undefined : { user, password: form.get("password") ?? "" };
}

function base64url(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}
