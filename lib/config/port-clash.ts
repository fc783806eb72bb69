/**
 * Two ports of one process cannot be the same.
 *
 * @module
 */
import type { z } from "zod";

/** A port to listen at and the section it stands in. */
export interface PortUse {
  readonly path: readonly [string, string];
  readonly port: number;
}

/** Refuses each port that an earlier key took already; 0 (any free port) never clashes. */
export function checkPorts(uses: readonly PortUse[], context: z.RefinementCtx): void {
  const taken = new Map<number, PortUse>();
  for (const use of uses) {
    const other = taken.get(use.port);
    if (other !== undefined) {
      const message = `${use.port} is the port of ${other.path.join(".")} too. Give each its own`;
      context.addIssue({ code: "custom", path: [...use.path], message });
    } else if (use.port !== 0) taken.set(use.port, use);
  }
}
