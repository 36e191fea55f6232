/**
 * What an auth key is worth now. Only who shows the whole text learns why a key is refused: for anybody else every key
 * is unknown.
 */
import type { Core } from './core.ts';
import type { AuthKeyRecord } from './model.ts';
import { idOfSecret, isSecret } from './secrets.ts';

/** State of an auth key. */
export type AuthKeyState = 'valid' | 'used' | 'expired' | 'revoked';

/** What devices are told of a key that is refused: shown to people as it is. */
const REFUSALS: Readonly<Record<Exclude<AuthKeyState, 'valid'>, string>> = Object.freeze({
  used: 'auth key already used: it was made for one device',
  expired: 'auth key expired',
  revoked: 'auth key revoked',
});

/** State of a key at this time. */
export function stateOfKey(key: AuthKeyRecord, unixMs: number): AuthKeyState {
  if (key.revokedMs > 0) return 'revoked'; // CHECK: coordinator-key-revoked
  if (!key.isReusable && key.uses > 0) return 'used'; // CHECK: coordinator-key-used
  if (key.expiresMs > 0 && key.expiresMs <= unixMs) return 'expired'; // CHECK: coordinator-key-expired
  return 'valid';
}

/** The key that a text is, of whatever state; undefined for a text that is none. */
export function findAuthKey(core: Core, text: string): AuthKeyRecord | undefined {
  const id = idOfSecret('auth', text);
  const tailnet = id === undefined ? undefined : core.state.keyTailnets.get(id);
  const key = tailnet === undefined ? undefined : core.state.tailnets.get(tailnet)?.keys.get(id!);
  if (key === undefined) return undefined;
  if (!isSecret(core.suite, text, key.hash)) return undefined; // CHECK: coordinator-key-hash
  return key;
}

/** Why a key is refused, for the device; `key` is undefined for an unknown one. */
export function refusalOf(key: AuthKeyRecord | undefined, unixMs: number): string {
  const state = key === undefined ? undefined : stateOfKey(key, unixMs);
  return state === undefined || state === 'valid' ? 'auth key not valid' : REFUSALS[state];
}
