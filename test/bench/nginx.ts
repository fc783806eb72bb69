/**
 * @module nginx as a server of files, in one process so that its CPU time is easily read.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import type { Process } from "../rig/processes.ts";
import type { Rig } from "../rig/rig.ts";

/** Where and what it serves. */
export interface NginxOptions {
  /** `host:port` */
  listen: string;
  /** Directory that `/` stands for. */
  root: string;
  name?: string;
}

/**
 * Starts nginx with sendfile.
 * @param start - starts the command, on the host where it should run.
 */
export function startNginx(
  rig: Rig,
  { listen, root, name = "nginx" }: NginxOptions,
  start: (command: string, args: readonly string[]) => Process,
): Process {
  const directory = rig.path(name);
  mkdirSync(directory, { recursive: true });
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  const config = `
    daemon off; master_process off; pid ${directory}/pid; error_log stderr warn;
    events { worker_connections 1024; }
    http {
      access_log off; sendfile on; tcp_nopush on; default_type application/octet-stream;
      ${temporary.map((kind) => `${kind}_temp_path ${directory}/${kind};`).join(" ")}
      server { listen ${listen}; root ${root}; location = /v2/ { default_type application/json; return 200 "{}"; } }
    }`;
  const file = `${directory}/nginx.conf`;
  writeFileSync(file, config);
  return start("nginx", ["-p", directory, "-e", "stderr", "-c", file]);
}
