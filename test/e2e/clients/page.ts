/**
 * @module Writes docs/clients.md from the matrix that clients.test.ts proves. After a change:
 * `node test/e2e/clients/page.ts > docs/clients.md`.
 */
import { ACCESSES, type Access, CLIENTS, type Outcome, WAYS, type Way } from "./matrix.ts";

const INTRO = `# Clients

<!-- Written by test/e2e/clients/page.ts; edits here are lost. -->

Every cell of these tables is a test with the real client and a real registry (test/e2e/clients.test.ts,
test/e2e/tls-registry.test.ts): the image is pulled and compared byte by byte, and where the registry wants credentials,
a pull without them is refused with the registry's own challenge. The versions are those of Debian 12 (dockerd 20.10,
containerd 1.6, podman 4.3, skopeo 1.9), and crane 0.22.

\`eagle setup docker|containerd|podman\` writes the configuration of the mirror; \`eagle doctor\` looks whether it is right.

`;

const HEADS: Readonly<Record<Way, string>> = {
  mirror: "## As registry mirror",
  "http-proxy": "## As HTTP proxy, registries without TLS",
};

const COLUMNS: Readonly<Record<Access, string>> = {
  anonymous: "anonymous",
  basic: "user and password (Basic)",
  token: "token server (Bearer)",
};

const CELLS: Readonly<Record<Outcome, string>> = {
  pulls: "pulls",
  "own credentials": "with the proxy's credentials ¹",
};

const END = `
¹ dockerd sends mirrors no credentials. Give the proxy its own: \`registries.docker.io.username\` and \`passwordFile\`. All
pulls of that host are then in this name. Without them the registry's refusal is passed on, and dockerd asks Docker Hub
itself.

² podman and skopeo keep credentials by host, and a mirror is another host than the registry: what \`podman login docker.io\`
or \`--creds\` gives is not sent to it. \`podman login --tls-verify=false 127.0.0.1:43002\` with the registry's own user and
password does it.

## As HTTPS proxy

\`HTTPS_PROXY=http://127.0.0.1:43002\` in the client's environment sends its HTTPS through the proxy, by CONNECT.
dockerd, containerd, podman and skopeo pull both ways:

| | not intercepted | intercepted |
|---|---|---|
| whose certificate the client sees | the registry's | one that Eagle's authority signed for the registry's name |
| blobs | from the registry, unread and unshared | peer to peer |
| configuration | \`proxyCfg.origins\`, \`connectPorts\` | also \`proxyCfg.intercept\`, \`interceptCertFile\`, \`interceptKeyFile\` |
| on the client's host | nothing | the authority's certificate among the trusted ones |
| a client that does not trust the authority | | is refused by its own check, and the proxy's log says so |

\`eagle ca --host registry.example.com\` makes the authority. Bound to hosts as in this example, its key is good for their
names alone; keep it as safe as the key of a server. Node and Deno do the same here; inside an intercepted connection
HTTP/1.1 is spoken, which all clients offer.

What else to know:

- CONNECT opens nothing but the hosts among \`origin\`, \`origins\` and \`registries\`, for clients of \`allowClients\`. A token
  server with another name (\`auth.docker.io\`), or a host that a registry redirects blobs to, has to be among \`origins\`
  unless the registry is intercepted (the proxy follows redirects itself), or in \`NO_PROXY\`.
- Go's clients, which all of these are, never send \`localhost\`, 127.0.0.0/8 and ::1 through a proxy.
- containerd (CRI) and dockerd read the variables of their own environment:
  \`systemctl edit docker\`, then \`[Service]\` and \`Environment=HTTPS_PROXY=http://127.0.0.1:43002\`.

## After damaged bytes

When a registry served damaged bytes, containerd may keep the layer that it refused ("unexpected commit digest"), through
Eagle as without it, and refuse it again in the next pull without asking for it anew, until its own garbage collection has
removed it, mostly seconds later. \`ctr leases create --id collect && ctr leases delete --sync collect\` removes it at once.
`;

/** The page in Markdown. */
export function renderPage(): string {
  const tables = WAYS.map((way) => {
    const head = `| | how | ${ACCESSES.map((access) => COLUMNS[access]).join(" | ")} |\n|---|---|${ACCESSES.map(() => "---|").join("")}\n`;
    const rows = CLIENTS.map(({ name, ways }) => {
      const { about, outcomes } = ways[way];
      return `| ${name} | ${about} | ${ACCESSES.map((access) => CELLS[outcomes[access]]).join(" | ")} |\n`;
    });
    return `${HEADS[way]}\n\n${head}${rows.join("")}`;
  });
  return `${INTRO}${tables.join("\n")}${END}`;
}

if (import.meta.main) process.stdout.write(renderPage());
