/**
 * Chooses how turns are settled by what the bucket can do.
 * @module
 */
import type { Logger } from "../../log/log.ts";
import type { ObjectStore } from "../../storage/index.ts";
import type { Claims, ClaimsInit } from "./claims.ts";
import { LeaseClaims } from "./lease-claims.ts";
import { RendezvousClaims } from "./rendezvous-claims.ts";

/** @throws StorageError when the bucket cannot be used */
export async function openClaims(init: ClaimsInit & { objects: ObjectStore; log: Logger }): Promise<Claims> {
  const { objects, instance, log, self } = init;
  const key = `leases/probe/${instance}`;
  const created = await objects.create(key, Buffer.from("1"));
  if (created) await objects.delete(key);
  const how = created === undefined ? "rendezvous hashing: the bucket has no conditional writes" : "leases";
  log.info("shares a bucket with other seeders", { self: self.href, how });
  return created === undefined ? new RendezvousClaims(init) : new LeaseClaims(init);
}
