/**
 * @module A warm hit on loopback: the proxy's registry port against nginx with the same file.
 */

import { freePort } from "../../rig/ports.ts";
import { hexOf } from "../blob-files.ts";
import { startNginx } from "../nginx.ts";
import { figure, median } from "../statistics.ts";
import { formatTable } from "../table.ts";
import { timedCurl } from "../timed-curl.ts";
import { watchIdle } from "../usage.ts";
import { type Bench, blobUrl, startParts, stopParts, watchProcesses } from "./bench.ts";

interface WarmRun {
  seconds: number;
  /** Of the server, seconds. */
  cpu: number;
  idle: number;
}

/** Runs both in turn. @returns a table of medians. */
export async function benchWarm(bench: Bench): Promise<string> {
  const { rig, blob, runs } = bench;
  const parts = await startParts(bench, "warm");
  const url = blobUrl(bench, parts.proxy.url);
  await timedCurl(rig.processes, ["-o", "/dev/null", url]);
  const listen = `127.0.0.1:${await freePort()}`;
  const root = `${parts.proxy.directory}/data`;
  const nginx = startNginx(rig, { listen, root, name: "nginx-warm" }, (command, words) =>
    rig.processes.start(command, words),
  );
  await nginx.listening(Number(listen.split(":")[1]));
  const measured: Record<"nginx" | "eagle", WarmRun[]> = { nginx: [], eagle: [] };
  const servers = {
    nginx: { process: nginx, url: `http://${listen}/${hexOf(blob)}.layer` },
    eagle: { process: parts.proxy.process, url },
  };
  // One more than counts: the first warms the code up, as a running host's is.
  for (let run = -1; run < runs; run++) {
    for (const name of ["nginx", "eagle"] as const) {
      const cpu = watchProcesses({ server: servers[name].process });
      const idle = watchIdle();
      const { seconds, size } = await timedCurl(rig.processes, ["-o", "/dev/null", servers[name].url]);
      if (size !== blob.size) throw new Error(`${name} sent ${size} bytes of ${blob.size}`);
      if (run >= 0) measured[name].push({ seconds, cpu: cpu().server, idle: idle() });
    }
  }
  await stopParts(parts);
  return report(bench, measured);
}

function report({ blob }: Bench, measured: Record<"nginx" | "eagle", WarmRun[]>): string {
  const gb = blob.size / 1e9;
  const middle = (name: "nginx" | "eagle", of: keyof WarmRun) => median(measured[name].map((run) => run[of]));
  const rows = (["nginx", "eagle"] as const).map((name) => [
    name,
    figure(blob.size / 1e6 / middle(name, "seconds"), 0),
    figure(middle("nginx", "seconds") / middle(name, "seconds")),
    figure(middle(name, "cpu") / gb),
    figure(middle(name, "cpu") / middle("nginx", "cpu")),
    figure(middle(name, "idle") * 100, 0),
  ]);
  return formatTable(["server", "MB/s", "x nginx's rate", "CPU s/GB", "x nginx's CPU", "idle %"], rows);
}
