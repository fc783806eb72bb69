/**
 * A question that is asked once more when nobody answers: a connection that has died in silence then costs a part of the
 * time there is and not all of it.
 * @module
 */

import { afterPatience } from "./patience.ts";

/**
 * The first answer of one question, or of two when the first has none after `afterMs`. The other is given up.
 * @param ask Its signal aborts when its answer is not wanted, or not wanted any more.
 * @throws What the question throws: at once where it fails before `afterMs`, else the first one's error where both fail.
 */
export async function hedged<T>(
  ask: (signal: AbortSignal) => Promise<T>,
  { afterMs, signal }: { afterMs: number; signal: AbortSignal },
): Promise<T> {
  const asked: AbortController[] = [];
  const attempt = async () => {
    const own = new AbortController();
    asked.push(own);
    const answer = await ask(AbortSignal.any([signal, own.signal]));
    for (const other of asked) if (other !== own) other.abort();
    return answer;
  };
  const first = attempt();
  const late = Promise.withResolvers<"late">();
  const end = afterPatience(afterMs, () => late.resolve("late"));
  try {
    const answer = await Promise.race([first.then((value) => ({ value })), late.promise]);
    if (answer !== "late") return answer.value;
    return await Promise.any([first, attempt()]).catch(() => first);
  } finally {
    end();
  }
}
