/**
 * `eagle ca`: an authority for `proxyCfg.intercept`.
 * @module
 */
import { X509Certificate } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { UsageError } from "../../../lib/cli/flags.ts";
import { parseEndpoint } from "../../../lib/config/index.ts";
import { createAuthority } from "../../../lib/tls/certificate.ts";
import { command } from "./command.ts";
import { parsed } from "./values.ts";

const COMMAND = "eagle ca";
/** Docker Hub is one registry under several names. */
const HUB_HOSTS = ["docker.io", "index.docker.io", "registry-1.docker.io"];

const SPEC = {
  name: COMMAND,
  about:
    "Makes a certificate authority for proxyCfg.intercept: with it, proxies answer the HTTPS of the registries named there themselves, so that engines which use Eagle as HTTPS proxy pull peer to peer. Give key and certificate to the proxies, and let the engines trust the certificate alone.",
  flags: {
    host: {
      type: "string",
      value: "REGISTRY",
      multiple: true,
      about:
        "A registry it may sign for. Give all that proxyCfg.intercept names: without, its key could pose as any server to the engines.",
    },
    output: { type: "string", short: "o", value: "DIR", fallback: ".", about: "Where the two files go." },
    name: { type: "string", value: "TEXT", fallback: "Eagle interception", about: "What the authority is called." },
    days: { type: "string", value: "DAYS", fallback: "3650", about: "How long it holds." },
  },
  examples: ["eagle ca --host registry.example.com --output /etc/eagle", "eagle ca --host docker.io --host quay.io"],
} as const;

/** @returns 0 */
export const run = command(SPEC, async ({ values }) => {
  const days = daysValue(values.days);
  const hosts = [...new Set(values.host.flatMap(hostsOf))];
  const name = parsed(values.name, { command: COMMAND, flag: "--name" }, nameValue);
  const directory = resolve(values.output);
  const certFile = join(directory, "intercept-ca.crt");
  const keyFile = join(directory, "intercept-ca.key");
  const { cert, key } = createAuthority({ name, hosts, days });
  await mkdir(directory, { recursive: true });
  // The key first: a certificate without one is of no use, and neither file is ever written over.
  await create(keyFile, key, 0o600);
  await create(certFile, cert, 0o644);
  process.stdout.write(
    advice({ certFile, keyFile, registries: values.host, until: new X509Certificate(cert).validTo }),
  );
  return 0;
});

function hostsOf(registry: string): string[] {
  const url = parsed(registry, { command: COMMAND, flag: "--host" }, () =>
    parseEndpoint(registry, { scheme: "https" }),
  );
  const host = url.hostname.replace(/^\[|\]$/g, "");
  return HUB_HOSTS.includes(host) ? HUB_HOSTS : [host];
}

function nameValue(text: string): string {
  if (text === "" || text.length > 64 || /\p{Cc}/u.test(text)) throw new Error("write 1 to 64 characters");
  return text;
}

function daysValue(text: string): number {
  const days = Number(text);
  if (!/^[0-9]{1,5}$/.test(text) || days < 1 || days > 36_500) {
    throw new UsageError(`${COMMAND}: --days: ${JSON.stringify(text)} is not 1 to 36500 days\nTry: ${COMMAND} --help`);
  }
  return days;
}

async function create(file: string, text: string, mode: number): Promise<void> {
  try {
    await writeFile(file, text, { flag: "wx", mode });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw cause;
    throw new Error(`${file} is there already and stays as it is; move it away first, or choose another --output`, {
      cause,
    });
  }
}

function advice({
  certFile,
  keyFile,
  registries,
  until,
}: {
  certFile: string;
  keyFile: string;
  registries: readonly string[];
  until: string;
}): string {
  const names = registries.length > 0 ? registries : ["registry.example.com"];
  const [first] = names;
  return `Made ${certFile} (good until ${until})
and  ${keyFile} (keep it secret: who has it can pose as ${registries.length > 0 ? "these registries" : "any server"} to the engines)

In the proxy's configuration:

    proxyCfg:
      intercept: [${names.join(", ")}]
      interceptCertFile: ${certFile}
      interceptKeyFile: ${keyFile}

Let the engines of the host trust the certificate, whichever you use:

    docker      cp ${certFile} /etc/docker/certs.d/${first}/ca.crt
    podman      cp ${certFile} /etc/containers/certs.d/${first}/ca.crt
    all of it   cp ${certFile} /usr/local/share/ca-certificates/eagle.crt && update-ca-certificates

and send their HTTPS through the proxy: HTTPS_PROXY=http://127.0.0.1:43002 in the engine's environment.
`;
}
