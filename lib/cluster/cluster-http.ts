/**
 * An HTTP client for requests to other parts: signs each one, and shows this part's certificate.
 * @module
 */
import type { HttpClient, HttpRequestInit, HttpResponse } from "../http/client.ts";
import type { ClusterAuth } from "./cluster-auth.ts";

/** See the module. */
export class ClusterHttp {
  readonly #http: Pick<HttpClient, "request">;
  readonly #cluster: ClusterAuth;
  readonly #asPart: boolean;

  /**
   * @param http Stays its owner's to close.
   * @param options.asPart false: requests ask for what anyone may have.
   */
  constructor(http: Pick<HttpClient, "request">, cluster: ClusterAuth, { asPart = true }: { asPart?: boolean } = {}) {
    this.#http = http;
    this.#cluster = cluster;
    this.#asPart = asPart;
  }

  /** As `HttpClient.request`. @throws HttpClientError */
  async request(url: URL, init: HttpRequestInit = {}): Promise<HttpResponse> {
    const { method = "GET", headers } = init;
    const { ca, own } = this.#cluster.tls;
    return await this.#http.request(url, {
      ...init,
      headers: { ...headers, ...this.#cluster.headers(method, url, { asPart: this.#asPart }) },
      ...(url.protocol === "https:" && ca !== undefined ? { ca } : {}),
      ...(url.protocol === "https:" && own !== undefined ? { certificate: own } : {}),
    });
  }

  /** Does nothing: the client it was given is another's. */
  async close(): Promise<void> {}
}
