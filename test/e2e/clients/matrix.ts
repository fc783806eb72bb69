/**
 * @module Which container clients pull what through Eagle, in which way: what clients.test.ts proves, and what
 * docs/clients.md says.
 */

/** How a client is sent to the proxy. */
export type Way = "mirror" | "http-proxy";

/** What the registry asks for. */
export type Access = "anonymous" | "basic" | "token";

/**
 * `pulls`: with the credentials that the registry wants, and is refused without them. `own credentials`: the client sends
 * none this way, so the proxy's own (`registries.<host>.username`) are used, and without those it is refused.
 */
export type Outcome = "pulls" | "own credentials";

/** A client. */
export interface Client {
  readonly name: string;
  /** Programs it needs. */
  readonly tools: readonly string[];
  /** What the ways are for this client. */
  readonly ways: Readonly<
    Record<Way, { readonly about: string; readonly outcomes: Readonly<Record<Access, Outcome>> }>
  >;
}

const all = { anonymous: "pulls", basic: "pulls", token: "pulls" } as const;

export const CLIENTS: readonly Client[] = [
  {
    name: "dockerd",
    tools: ["dockerd"],
    ways: {
      mirror: {
        about: "`registry-mirrors`; Docker Hub's images only",
        outcomes: { anonymous: "pulls", basic: "own credentials", token: "own credentials" },
      },
      "http-proxy": { about: "`HTTP_PROXY`, the registry among `insecure-registries`", outcomes: all },
    },
  },
  {
    name: "containerd",
    tools: ["containerd", "ctr"],
    ways: {
      mirror: { about: "`hosts.toml`", outcomes: all },
      "http-proxy": { about: "`HTTP_PROXY`, plain HTTP", outcomes: all },
    },
  },
  {
    name: "podman",
    tools: ["podman"],
    ways: {
      mirror: { about: "`registries.conf`; `podman login` at the proxy's address ²", outcomes: all },
      "http-proxy": { about: "`HTTP_PROXY`, the registry `insecure`", outcomes: all },
    },
  },
  {
    name: "skopeo",
    tools: ["skopeo"],
    ways: {
      mirror: { about: "`registries.conf`; `skopeo login` at the proxy's address ²", outcomes: all },
      "http-proxy": { about: "`HTTP_PROXY`, the registry `insecure`", outcomes: all },
    },
  },
  {
    name: "crane",
    tools: [],
    ways: {
      mirror: { about: "knows no mirrors: the proxy's address in place of the registry's", outcomes: all },
      "http-proxy": { about: "`HTTP_PROXY`, `--insecure`", outcomes: all },
    },
  },
];

export const WAYS: readonly Way[] = ["mirror", "http-proxy"];
export const ACCESSES: readonly Access[] = ["anonymous", "basic", "token"];
