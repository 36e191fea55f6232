/** Spans of time as people write and read them: `90d` in a flag, `3 days ago` in a table. */

/** Units with their length in ms, longest first. A year is 365 days. */
const UNITS = /* @__PURE__ */ Object.freeze({
  y: 31_536_000_000,
  w: 604_800_000,
  d: 86_400_000,
  h: 3_600_000,
  m: 60_000,
  s: 1000,
});
const NAMES: readonly (readonly [name: string, ms: number])[] = /* @__PURE__ */ Object.freeze([
  ['year', UNITS.y],
  ['day', UNITS.d],
  ['hour', UNITS.h],
  ['minute', UNITS.m],
  ['second', UNITS.s],
] as const);
const SECOND_MS = 1000;
/** A span is told in the next smaller unit until it has twice as much of the larger one. */
const ENOUGH = 2;

/**
 * `90d`, `12h`, `1d12h` in ms: whole numbers with a unit each (y, w, d, h, m, s), from large to small. Undefined for
 * anything else, also a number alone, for a span of 0, and for more than 2^53 ms.
 */
export function parseDuration(text: string): number | undefined {
  if (!/^([0-9]{1,10}[ywdhms])+$/.test(text)) return undefined;
  let sum = 0;
  let last = Infinity;
  for (const [, digits, unit] of text.matchAll(/([0-9]+)([ywdhms])/g)) {
    const unitMs = UNITS[unit as keyof typeof UNITS];
    if (unitMs >= last) return undefined;
    last = unitMs;
    sum += Number(digits) * unitMs;
  }
  return sum > 0 && Number.isSafeInteger(sum) ? sum : undefined;
}

/** `90 days`, `1 hour`, `36 hours`, `0 seconds`: one unit, rounded. */
export function formatDuration(ms: number): string {
  for (const [i, [name, unitMs]] of NAMES.entries()) {
    const isSmallest = unitMs === SECOND_MS;
    const count = Math.round(ms / unitMs);
    if (!isSmallest && (count < 1 || (ms % unitMs !== 0 && ms < ENOUGH * unitMs))) continue;
    const [, largerMs = Infinity] = NAMES[i - 1] ?? [];
    const rounded = count * unitMs;
    if (rounded === largerMs) return formatDuration(rounded); // 3,595 seconds are an hour, not 60 minutes
    return `${count} ${name}${count === 1 ? '' : 's'}`;
  }
  return '0 seconds';
}

/** When something was or will be, seen from `nowMs`: `3 days ago`, `in 2 hours`, `now`; `never` for time 0. */
export function formatWhen(nowMs: number, atMs: number): string {
  if (atMs === 0) return 'never';
  const ms = Math.abs(atMs - nowMs);
  if (ms < SECOND_MS) return 'now';
  const span = formatDuration(Math.round(ms / SECOND_MS) * SECOND_MS);
  return atMs < nowMs ? `${span} ago` : `in ${span}`;
}

/** A moment to the minute in UTC: `2026-11-22 15:40 UTC`. */
export function formatMoment(atMs: number): string {
  return `${new Date(atMs).toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

/** `0.43 ms`, `12.5 ms`, `130 ms`. */
export function millisecondsText(ms: number): string {
  return `${ms < 10 ? ms.toFixed(2) : ms < 100 ? ms.toFixed(1) : ms.toFixed(0)} ms`;
}
