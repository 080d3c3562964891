// The list of checks.

export const checks = new Map();

let group = "";

/** All checks from now on are those of a file. */
export function enter(file) {
  group = file;
}

/**
 * Adds a check. `behaviours` are the numbers of those that it holds in place; the
 * page on parity reads them off the source.
 */
export function check(name, behaviours, action) {
  checks.set(`${group}::${name}`, action);
}
