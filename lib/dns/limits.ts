/** What a table of names may hold, by name, in two presets. */

/** Limits of one table. What is beyond is left out and counted: such a name does not resolve. */
export interface NameLimits {
  /** Devices. */
  readonly hosts: number;
  /** Extra records. */
  readonly records: number;
  /** Addresses of one name; at most 64, so that every answer fits into 4 KB. */
  readonly addresses: number;
  /** Zones that are answered for, and domains that are searched. */
  readonly zones: number;
}

/** For microcontrollers. */
export const NAME_LIMITS_SMALL: NameLimits = Object.freeze({ hosts: 300, records: 64, addresses: 8, zones: 80 });

/** For everything else. */
export const NAME_LIMITS_LARGE: NameLimits = Object.freeze({
  hosts: 20_000,
  records: 10_000,
  addresses: 64,
  zones: 1000,
});
