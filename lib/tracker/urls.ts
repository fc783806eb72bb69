/** @module Where the routes of a tracker are, given the address its operator wrote down. */

const HOLDINGS_PATH = "/p2p/v1/holdings";

/**
 * The announce URL of a tracker. `http://host:6969` means `http://host:6969/announce`; a path that was given is kept,
 * because other trackers put announce elsewhere (a passkey, for instance).
 */
export function announceUrl(tracker: URL): URL {
  return tracker.pathname === "/" || tracker.pathname === "" ? new URL("/announce", tracker) : new URL(tracker);
}

/** The holdings route beside the announce route of the same tracker. */
export function holdingsUrl(tracker: URL): URL {
  const url = announceUrl(tracker);
  url.pathname = url.pathname.replace(/\/announce\/?$/, "") + HOLDINGS_PATH;
  url.search = "";
  return url;
}
