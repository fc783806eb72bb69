/**
 * @module Few combinations in which each value of each axis meets each value of every other axis at least once.
 */
import { seededRandom, shuffle } from "../../sim/random.ts";

/** The axes by name, and what they may be. */
export type Axes = Readonly<Record<string, readonly string[]>>;

/** A value of each axis. */
export type Combination<A extends Axes> = { readonly [K in keyof A]: A[K][number] };

/** How often a greedy choice is tried with other ties before the best is taken. */
const TRIES = 20;

/** Every combination there is. */
export function allOf<A extends Axes>(axes: A): Combination<A>[] {
  let all: Record<string, string>[] = [{}];
  for (const [name, values] of Object.entries(axes))
    all = all.flatMap((one) => values.map((value) => ({ ...one, [name]: value })));
  return all as Combination<A>[];
}

/** A cover of all pairs: the same for the same seed. */
export function pairwise<A extends Axes>(axes: A, { seed = 1 }: { seed?: number } = {}): Combination<A>[] {
  const random = seededRandom(seed);
  const open = new Set(allOf(axes).flatMap((one) => pairsOf(one)));
  const chosen: Combination<A>[] = [];
  while (open.size > 0) {
    let best: { one: Combination<A>; gain: number } | undefined;
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const one = grow(axes, open, random);
      const gain = pairsOf(one).filter((pair) => open.has(pair)).length;
      if (!best || gain > best.gain) best = { one, gain };
    }
    chosen.push(best!.one);
    for (const pair of pairsOf(best!.one)) open.delete(pair);
  }
  return chosen;
}

/** Begins with a pair that is open and adds the values that close most. */
function grow<A extends Axes>(axes: A, open: ReadonlySet<string>, random: () => number): Combination<A> {
  const pairs = [...open];
  const one = Object.fromEntries(
    pairs[Math.floor(random() * pairs.length)]!.split(" ").map((part) => part.split("=") as [string, string]),
  );
  for (const name of shuffle(Object.keys(axes), random)) {
    if (name in one) continue;
    const gains = shuffle([...axes[name]!], random).map((value) => {
      const more = Object.entries(one).filter(([other, its]) => open.has(pairOf([name, value], [other, its])));
      return { value, gain: more.length };
    });
    one[name] = gains.reduce((best, next) => (next.gain > best.gain ? next : best)).value;
  }
  return Object.fromEntries(Object.keys(axes).map((name) => [name, one[name]])) as Combination<A>;
}

function pairsOf(one: Readonly<Record<string, string>>): string[] {
  const values = Object.entries(one);
  return values.flatMap((a, index) => values.slice(index + 1).map((b) => pairOf(a, b)));
}

function pairOf(a: readonly [string, string], b: readonly [string, string]): string {
  return [a.join("="), b.join("=")].sort().join(" ");
}
