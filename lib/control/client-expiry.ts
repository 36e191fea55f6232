/**
 * When a node key is replaced: after two thirds of the life that it has left when its expiry is first heard of, less up
 * to a twentieth, so that a fleet does not come at once. An attempt that led nowhere is repeated by the same rule.
 *
 * The wall clock is the coordinator's, as soon as it has said it: expiry is its time, and a device may have none.
 */
import { fraction } from './client-retry.ts';

/** Not more often than this. */
export const MIN_ROTATION_MS = 600_000;
const ROTATE_AT = 2 / 3;
const SPREAD = 1 / 20;

/** See the top of the file. */
export class ExpiryClock {
  /** When the key expires and when to replace it, ms since 1970; Infinity: never. */
  expiresUnixMs = Infinity;
  rotatesUnixMs = Infinity;
  readonly #random: (out: Uint8Array) => void;
  /** Wall clock less monotonic clock. */
  #offsetMs: number;
  #isFromCoordinator = false;
  #controlTimeMs = 0;

  constructor(random: (out: Uint8Array) => void, nowMs: number, unixMs: number) {
    this.#random = random;
    this.#offsetMs = unixMs - nowMs;
  }

  /** The wall clock at `nowMs`. */
  unixMs(nowMs: number): number {
    return nowMs + this.#offsetMs;
  }

  /** What the device's own clock says. */
  setClock(nowMs: number, unixMs: number): void {
    if (!this.#isFromCoordinator) this.#offsetMs = unixMs - nowMs;
  }

  /** What the coordinator has said last, 0 for nothing; only a new statement counts. */
  setControlTime(nowMs: number, controlTimeMs: number): void {
    if (controlTimeMs === 0 || controlTimeMs === this.#controlTimeMs) return;
    this.#controlTimeMs = controlTimeMs;
    this.#isFromCoordinator = true;
    this.#offsetMs = controlTimeMs - nowMs;
  }

  /** The key expires then (seconds since 1970; 0: never). `isNewKey`: it is another key than before. */
  setExpiry(nowMs: number, seconds: number, isNewKey: boolean): void {
    const expiresUnixMs = seconds === 0 ? Infinity : seconds * 1000;
    if (expiresUnixMs === this.expiresUnixMs && !isNewKey) return;
    this.expiresUnixMs = expiresUnixMs;
    this.plan(nowMs);
  }

  /** Works out anew when to replace the key. */
  plan(nowMs: number): void {
    const unixMs = this.unixMs(nowMs);
    const leftMs = this.expiresUnixMs - unixMs;
    const share = ROTATE_AT * (1 - SPREAD * fraction(this.#random));
    this.rotatesUnixMs = unixMs + Math.max(MIN_ROTATION_MS, Math.round(leftMs * share));
  }

  isExpired(nowMs: number): boolean {
    return this.unixMs(nowMs) >= this.expiresUnixMs;
  }

  isRotationDue(nowMs: number): boolean {
    return this.unixMs(nowMs) >= this.rotatesUnixMs;
  }

  /** The monotonic time of a wall clock time. */
  dueMs(unixMs: number): number {
    return unixMs - this.#offsetMs;
  }
}
