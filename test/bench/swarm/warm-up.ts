/**
 * @module What hosts of Eagle pull before the clock starts, so that they are hosts that run for a while: their code is
 * compiled, their connections are made. One blob after the other, so that it needs little memory however much it is.
 */
import { renameSync, rmSync } from "node:fs";
import type { Rig } from "../../rig/rig.ts";
import { makeBlobFile } from "../blob-files.ts";
import { type Arena, originFile } from "./contender.ts";
import type { Eagle } from "./eagle.ts";

/** Bytes of one blob; all of a warm-up are equal. */
const most = 64 * 1024 * 1024;
/** Blobs of a warm-up that a host keeps beside those that are measured, which are never evicted for it. */
const kept = 2;

/**
 * What a host may keep so that older blobs of a warm-up go in time, while those that are measured fit with room to spare.
 * @param measured - bytes of these.
 * @returns bytes.
 */
export function limitFor(measured: number): number {
  return measured + kept * most;
}

/**
 * All hosts pull other blobs, which come from the origin by way of the seeder, and remove them.
 * @param bytes - of all blobs together; 0 is none.
 */
export async function warmUp(eagle: Eagle, arena: Pick<Arena, "rig" | "hosts">, bytes: number): Promise<void> {
  const count = Math.ceil(bytes / most);
  const digests: { digest: string }[] = [];
  for (let index = 0; index < count; index++) {
    digests.push(await pullOne(eagle, arena, { size: Math.ceil(bytes / count), seed: `warm-up ${index}` }));
  }
  // What is measured makes room for nothing.
  await eagle.drop(digests);
}

async function pullOne(
  eagle: Eagle,
  { rig, hosts }: { rig: Rig; hosts: Arena["hosts"] },
  spec: { size: number; seed: string },
): Promise<{ digest: string }> {
  const blob = makeBlobFile(rig.dir, spec);
  const offered = originFile(rig, blob);
  renameSync(blob.path, offered);
  const pulls = await Promise.all(hosts.map((host) => eagle.arm(host, [blob])));
  for (const pull of pulls) pull.go();
  await Promise.all(pulls.map(({ done }) => done));
  rmSync(offered);
  return blob;
}
