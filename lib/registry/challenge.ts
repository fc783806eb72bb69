/**
 * WWW-Authenticate challenges (RFC 9110, section 11.6.1).
 * @module
 */

/** One challenge of a WWW-Authenticate header. */
export interface Challenge {
  /** Lower case: `basic`, `bearer`. */
  readonly scheme: string;
  /** Names in lower case; the first of a repeated name counts. */
  readonly params: ReadonlyMap<string, string>;
}

const maxHeaderLength = 8192;
const maxChallenges = 8;
const maxParams = 32;

const space = /[ \t]*/y;
const separators = /[ \t,]*/y;
const token = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y;
const equals = /[ \t]*=[ \t]*/y;
const token68 = /[A-Za-z0-9\-._~+/]+=*(?=[ \t]*(?:,|$))/y;
// Not only tokens: registries send realm URLs without quotes.
const bareValue = /[^\s",]+/y;
const quotedValue = /"((?:[^"\\]|\\.)*)"/y;

/**
 * Reads a WWW-Authenticate header; several header lines joined by commas are fine. What can not be read ends the list:
 * challenges before it stand. Work is linear in the header, which is cut at 8 KiB.
 */
export function parseChallenges(header: string): Challenge[] {
  const text = header.slice(0, maxHeaderLength);
  const challenges: { scheme: string; params: Map<string, string> }[] = [];
  let position = 0;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = position;
    const match = pattern.exec(text);
    if (match !== null) position = pattern.lastIndex;
    return match;
  };

  while (position < text.length) {
    take(separators);
    const name = take(token)?.[0];
    if (name === undefined) break;
    const current = challenges.at(-1);
    if (take(equals) !== null) {
      // name = value: a parameter of the challenge that was begun last.
      const quoted = take(quotedValue);
      const value = quoted === null ? take(bareValue)?.[0] : quoted[1]?.replace(/\\(.)/g, "$1");
      if (current === undefined || value === undefined || current.params.size >= maxParams) break;
      const key = name.toLowerCase();
      if (!current.params.has(key)) current.params.set(key, value);
      continue;
    }
    if (challenges.length >= maxChallenges) break;
    challenges.push({ scheme: name.toLowerCase(), params: new Map() });
    take(space);
    take(token68);
  }
  return challenges;
}
