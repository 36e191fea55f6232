/** What a packet filter may hold, by name, in two presets. */

/** Limits of one packet filter. What is beyond is left out, and thereby denied, and counted. */
export interface FilterLimits {
  /** Rules. */
  readonly rules: number;
  /** Addresses, prefixes and ranges of all rules together. */
  readonly ranges: number;
  /** Pieces (8 to 16 bytes each) of the tables that the rules are compiled into. */
  readonly pieces: number;
  /** Flows that are remembered so that replies may pass; a power of two, at least 32. 52 bytes for each that lives. */
  readonly flows: number;
}

/** For microcontrollers. */
export const FILTER_LIMITS_SMALL: FilterLimits = Object.freeze({
  rules: 128,
  ranges: 2048,
  pieces: 8192,
  flows: 64,
});

/** For everything else. */
export const FILTER_LIMITS_LARGE: FilterLimits = Object.freeze({
  rules: 20_000,
  ranges: 500_000,
  pieces: 2_000_000,
  flows: 4096,
});
