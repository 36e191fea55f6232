/**
 * Checks of what callers configure. A caller's mistake throws TypeError or RangeError at once, before anything changes.
 */
import { parseAddress, type Prefix } from '../base/address.ts';
import { expectPrefix } from './allowed-ips.ts';
import { REJECT_AFTER_MESSAGES, REKEY_AFTER_MESSAGES, type TunnelLimits } from './constants.ts';
import type { PeerChanges, TunnelOptions } from './types.ts';

const KEY_BYTES = 32;
/** What the 16-bit number of seconds in a configuration file can say. */
const MIN_KEEPALIVE_MS = 1_000;
const MAX_KEEPALIVE_MS = 65_535_000;

/** Throws unless `bytes` is a Uint8Array of 32. */
export function expectKey(name: string, bytes: unknown): void {
  if (!(bytes instanceof Uint8Array)) throw new TypeError(`"${name}" expected a Uint8Array, got ${typeof bytes}`);
  if (bytes.length !== KEY_BYTES) throw new RangeError(`"${name}" expected ${KEY_BYTES} bytes, got ${bytes.length}`);
}

/** Throws unless every change that is present can be made. */
export function expectChanges(changes: PeerChanges): void {
  const { presharedKey, endpoint, allowedIPs, persistentKeepaliveMs } = changes;
  if (presharedKey !== undefined) expectKey('presharedKey', presharedKey);
  if (endpoint !== undefined) expectEndpoint(endpoint);
  if (allowedIPs !== undefined) expectPrefixes(allowedIPs);
  if (persistentKeepaliveMs !== undefined) expectKeepalive(persistentKeepaliveMs);
}

function expectEndpoint(endpoint: { address: string; port: number }): void {
  const { address, port } = endpoint;
  const zone = typeof address === 'string' ? address.indexOf('%') : -1;
  if (typeof address !== 'string' || parseAddress(zone < 0 ? address : address.slice(0, zone)) === undefined)
    throw new TypeError(`"endpoint" expected an IP address, got ${String(address)}`);
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw new RangeError(`"endpoint" expected a port of 1 to 65535, got ${port}`);
}

function expectPrefixes(prefixes: readonly Prefix[]): void {
  if (!Array.isArray(prefixes)) throw new TypeError(`"allowedIPs" expected an array, got ${typeof prefixes}`);
  for (const prefix of prefixes) {
    if (!(prefix?.bytes instanceof Uint8Array)) throw new TypeError('"allowedIPs" expected prefixes {bytes, bits}');
    expectPrefix(prefix);
  }
}

function expectKeepalive(ms: number): void {
  if (ms !== 0 && !(Number.isInteger(ms) && ms >= MIN_KEEPALIVE_MS && ms <= MAX_KEEPALIVE_MS))
    throw new RangeError(`"persistentKeepaliveMs" expected 0 or ${MIN_KEEPALIVE_MS} to ${MAX_KEEPALIVE_MS}, got ${ms}`);
}

/** Throws unless the clocks, the MTU and the limits of a tunnel make sense. */
export function expectTunnelOptions(options: TunnelOptions, limits: TunnelLimits): void {
  const { nowMs, unixMs, mtu = 0 } = options;
  if (!Number.isFinite(nowMs)) throw new RangeError(`"nowMs" expected a finite number, got ${nowMs}`);
  if (!Number.isFinite(unixMs)) throw new RangeError(`"unixMs" expected a finite number, got ${unixMs}`);
  if (!Number.isInteger(mtu) || mtu < 0 || mtu > 65_535)
    throw new RangeError(`"mtu" expected 0 (any) to 65535, got ${mtu}`);
  for (const [name, value] of Object.entries(limits))
    if (!Number.isFinite(value) || value < 0)
      throw new RangeError(`"${name}" expected a number of 0 or more, got ${value}`);
  if (limits.sources < 1) throw new RangeError('"sources" expected 1 or more');
  if (limits.rejectAfterMessages > REJECT_AFTER_MESSAGES)
    throw new RangeError(`"rejectAfterMessages" expected at most ${REJECT_AFTER_MESSAGES}`);
  if (limits.rekeyAfterMessages > REKEY_AFTER_MESSAGES)
    throw new RangeError(`"rekeyAfterMessages" expected at most ${REKEY_AFTER_MESSAGES}`);
}
