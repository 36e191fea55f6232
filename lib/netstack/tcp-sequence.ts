/**
 * Sequence number arithmetic (RFC 9293 §3.4): int32 values on a circle of 2^32, compared by the sign of a difference.
 */

/** Whether `a` lies before `b`; meaningful while they are less than 2^31 apart. */
export function seqBefore(a: number, b: number): boolean {
  return ((a - b) | 0) < 0;
}

/** Whether `a` lies after `b`; meaningful while they are less than 2^31 apart. */
export function seqAfter(a: number, b: number): boolean {
  return ((a - b) | 0) > 0;
}

/** The later one of two. */
export function seqMax(a: number, b: number): number {
  return ((a - b) | 0) > 0 ? a : b;
}

/** The earlier one of two. */
export function seqMin(a: number, b: number): number {
  return ((a - b) | 0) < 0 ? a : b;
}
